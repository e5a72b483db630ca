//! The search of a library with half a million symbols.
//!
//! Enters: the library that GPU_AGENT_SYMBOLS_FILE names, for example PyTorch's libtorch_cpu.so, or one made here with as
//! many symbols. Leaves: times and memory, each with its bar. Patterns are 150, half of them globs of demangled names; most
//! are of other libraries, as those of all bundled probes are.
//!
//! `cargo bench -p gpu-agent --bench symbols`

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot go on must say so at once"
)]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use gpu_agent::symbols::{Cache, Image, Pattern};
use rustix::fs::{Advice, fadvise};
use rustix::time::{ClockId, clock_gettime};

/// Runs of which the median is shown.
const RUNS: usize = 9;
/// Symbols of the library that is made here: as many as libtorch_cpu.so has.
const SYMBOLS: u32 = 533_000;

#[rustfmt::skip]
/// Operators of PyTorch with an entry point each.
const OPERATORS: [&str; 25] = [
    "scaled_dot_product_attention", "_scaled_dot_product_flash_attention", "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention", "_flash_attention_forward", "_efficient_attention_forward", "addmm", "mm",
    "bmm", "linear", "matmul", "softmax_int", "layer_norm", "native_layer_norm", "rms_norm", "embedding", "index_put_",
    "index_select", "copy_", "cat", "gelu", "silu", "topk", "multinomial", "argmax",
];

#[rustfmt::skip]
/// What engines call their entry points.
const FUNCTIONS: [&str; 25] = [
    "llama_decode", "llama_encode", "llama_process", "llama_model_load_from_file", "llama_init_from_model",
    "llama_sampler_sample", "ggml_backend_tensor_set", "ggml_backend_tensor_get", "ggml_compute_forward_set_rows",
    "ggml_compute_forward_flash_attn_ext", "reshape_and_cache", "paged_attention_v1_f16", "paged_attention_v2_f16",
    "gather_kv_cache", "concat_and_cache_mla", "copy_blocks_f16", "update_kv_scales_f16", "cudaLaunchKernel",
    "cudaLaunchKernelExC", "cudaMallocAsync", "cudaMemcpyAsync", "cudaGraphLaunch", "cuLaunchKernel", "cuMemAlloc_v2",
    "cuModuleLoadData",
];

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let given = std::env::var_os("GPU_AGENT_SYMBOLS_FILE").map(PathBuf::from);
    let path = given.unwrap_or_else(|| generate(folder.path()));
    let patterns = patterns();
    println!("{}, {} patterns", path.file_name().unwrap().display(), patterns.len());
    let before = memory("VmRSS:");
    let from_disk = {
        fadvise(File::open(&path).unwrap(), 0, None, Advice::DontNeed).unwrap();
        time(|| search(&path, &Cache::disabled(), &patterns))
    };
    let cold = median(|| search(&path, &Cache::at(tempfile::tempdir().unwrap().path()), &patterns));
    let peak = memory("VmHWM:");
    let place = folder.path().join("cache");
    let found = search(&path, &Cache::at(&place), &patterns);
    let cache = Cache::at(&place);
    let cached = median(|| search(&path, &cache, &patterns));
    assert_eq!(cache.stats().hits, RUNS as u64);
    let after = memory("VmRSS:");
    assert!(found > 0);
    println!("{found} functions found");
    println!("cold, file not in memory   {from_disk}");
    println!("cold, file in memory       {cold}   bar 1500 ms");
    println!("from the cache on disk     {cached}   bar 20 ms");
    println!("memory: before {before:.1} MiB, peak {peak:.1} MiB (bar 150), after {after:.1} MiB (bar 64)");
}

fn search(path: &Path, cache: &Cache, patterns: &[Pattern]) -> usize {
    let image = Image::open(path, path.to_str().unwrap()).unwrap();
    let answers = image.lookup(cache, patterns).unwrap();
    answers.iter().flatten().map(Vec::len).sum()
}

fn patterns() -> Vec<Pattern> {
    let globs = OPERATORS.iter().flat_map(|name| {
        [
            format!("at::_ops::{name}::call"),
            format!("at::native::{name}*cuda*"),
            format!("*engine*::{name}(at::Tensor*)"),
        ]
    });
    let names =
        FUNCTIONS.iter().flat_map(|name| [(*name).to_owned(), format!("{name}_ptsz"), format!("__{name}")]);
    globs.map(Pattern::Demangled).chain(names.map(Pattern::Exact)).collect()
}

/// Makes a library: headers, one page of code, and a table of C++ names as long as PyTorch's, 140 bytes on average.
fn generate(folder: &Path) -> PathBuf {
    let path = folder.join("generated.so");
    let mut strings = vec![0];
    let mut symbols = vec![0; 24];
    for number in 0..SYMBOLS {
        let operator = OPERATORS[number as usize % OPERATORS.len()];
        let owner = format!("overload_{number}");
        let name = strings.len() as u32;
        // The first of each operator is its entry point.
        if (number as usize) < OPERATORS.len() {
            write!(strings, "_ZN2at4_ops{}{operator}4callE", operator.len()).unwrap();
        } else {
            write!(strings, "_ZN2at6native{}{owner}{}{operator}E", owner.len(), operator.len()).unwrap();
        }
        strings.extend_from_slice(
            b"RKNS_6TensorES4_S4_RKSt8optionalIS2_EdbS5_IdEN3c108ArrayRefIlEERKSt6vectorIS2_SaIS2_EE\0",
        );
        symbols.extend_from_slice(&name.to_le_bytes());
        // A global function of section 1, in the page of code.
        symbols.extend_from_slice(&[0x12, 0, 1, 0]);
        symbols.extend_from_slice(&u64::from(0x1000 + number % 0x1000).to_le_bytes());
        symbols.extend_from_slice(&1_u64.to_le_bytes());
    }
    let mut out = BufWriter::new(File::create(&path).unwrap());
    let numbers =
        |numbers: &[u64]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    let section = |kind: u64, offset: u64, size: u64, link: u64| {
        numbers(&[kind << 32, 0, 0, offset, size, link, 8, 24])
    };
    let machine: u16 = if cfg!(target_arch = "x86_64") { 62 } else { 183 };
    let tables = 0x2000 + (symbols.len() + strings.len()) as u64;
    // ELF header: identification; type, machine, version; entry, program headers, section headers; sizes and counts.
    out.write_all(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0").unwrap();
    out.write_all(&[&machine.to_le_bytes()[..], &[1, 0, 0, 0], &numbers(&[0, 64, tables])].concat()).unwrap();
    out.write_all(&[0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 3, 0, 0, 0]).unwrap();
    // One segment, readable and executable.
    out.write_all(&numbers(&[1 | 5 << 32, 0x1000, 0x1000, 0x1000, 0x1000, 0x1000, 0x1000])).unwrap();
    out.write_all(&vec![0xC3; 0x2000 - 64 - 56]).unwrap();
    out.write_all(&symbols).unwrap();
    out.write_all(&strings).unwrap();
    out.write_all(&section(0, 0, 0, 0)).unwrap();
    out.write_all(&section(2, 0x2000, symbols.len() as u64, 2)).unwrap();
    out.write_all(&section(3, 0x2000 + symbols.len() as u64, strings.len() as u64, 0)).unwrap();
    out.into_inner().unwrap();
    path
}

/// How long something took, and how much of a processor: on a busy machine the first says little.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
struct Took {
    wall_ms: f64,
    cpu_ms: f64,
}

impl std::fmt::Display for Took {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{:>8.2} ms, {:>8.2} ms of a processor", self.wall_ms, self.cpu_ms)
    }
}

fn time<T>(run: impl FnOnce() -> T) -> Took {
    let now = |clock| {
        let time = clock_gettime(clock);
        time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
    };
    let (wall, cpu) = (now(ClockId::Monotonic), now(ClockId::ProcessCPUTime));
    std::hint::black_box(run());
    Took { wall_ms: now(ClockId::Monotonic) - wall, cpu_ms: now(ClockId::ProcessCPUTime) - cpu }
}

fn median<T>(mut run: impl FnMut() -> T) -> Took {
    let mut times: Vec<Took> = (0..RUNS).map(|_| time(&mut run)).collect();
    times.sort_by(|one, other| one.wall_ms.total_cmp(&other.wall_ms));
    times[RUNS / 2]
}

/// A line of `/proc/self/status`, MiB.
fn memory(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}
