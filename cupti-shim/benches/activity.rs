//! From a completed buffer of CUPTI to the ring, against its stated baseline, in interleaved rounds.
//!
//! Enters: nothing. Leaves: one line a measurement, with the median of the rounds. Refuses: to fail on a slow machine;
//! the bar is printed, and the reader judges.
//!
//! Timed is all that the shim does with a completed buffer: the outlet, CUPTI's iterator (a stand-in with the strides
//! of 12.9, called through the function pointer as the real one is), the view, the name, the ring record, the counters.
//! The baseline is what no shim can do without: 96 bytes copied and one atomic store, for each record.
#![allow(unsafe_code, clippy::unwrap_used, reason = "a benchmark that stands in for CUPTI")]

use std::ffi::{CString, c_void};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use cupti_sys::{ActivityKind, ApiVersion, Cupti, RecordSizes, Status};
use gpu_agent_cupti::activity::{Copier, Source};
use gpu_agent_cupti::buffer_pool::{BUFFER_BYTES, Pool};
use gpu_agent_cupti::graphs::GRAPHS;
use gpu_agent_cupti::outlet::{Limits, Outlet};
use gpu_agent_ring::writer::Identity;
use gpu_agent_ring::{Geometry, ShimControl, Writer};

const ROUNDS: usize = 1201;
/// Rounds before those that count: once around the ring, so that its pages are there.
const WARM_UP: usize = SLOTS / RECORDS + 1;
const BAR_NS: f64 = 60.0;
const KERNEL_BYTES: usize = 208;
const RECORDS: usize = BUFFER_BYTES / KERNEL_BYTES;
const SLOTS: usize = 1 << 16;

static POOL: Pool = Pool::new();

fn main() {
    for names in [1, 200] {
        measure(names);
    }
}

fn measure(names: usize) {
    let names: Vec<CString> = (0..names).map(kernel_name).collect();
    let records: Vec<u8> = (0..RECORDS).flat_map(|number| kernel(number, &names)).collect();
    let geometry = Geometry { slots: SLOTS as u32, ..Geometry::default() };
    let outlet = Outlet::new(Copier::new(Writer::create(geometry, Identity::default()).unwrap()));
    outlet.write(|copier| copier.populate());
    let control = ShimControl::create(1).unwrap();
    let version = ApiVersion::V12_9;
    let source = Source {
        graphs: &GRAPHS,
        // SAFETY: the one function that is looked up has the signature of its name.
        cupti: unsafe {
            Cupti::from_lookup(|name| match name.to_bytes() {
                b"cuptiActivityGetNextRecord" => next_record as *mut c_void,
                _ => std::ptr::null_mut(),
            })
        },
        version,
        sizes: RecordSizes::for_version(version).unwrap(),
        driver_version: 12_090,
    };
    let limits = Limits { budget_ppm: 0, overdue_ns: u64::MAX };
    let mut slots = vec![[0u8; 96]; SLOTS];
    let published = AtomicU64::new(0);

    let (mut shim, mut baseline) = (vec![], vec![]);
    let mut number = 0;
    for _ in 0..WARM_UP + ROUNDS {
        let memory = POOL.take(false).unwrap().memory;
        // SAFETY: a buffer of BUFFER_BYTES that was just taken; `records` is no longer than that.
        unsafe { memory.as_ptr().copy_from_nonoverlapping(records.as_ptr(), records.len()) };
        assert!(POOL.complete(memory.as_ptr(), records.len()));
        let started = Instant::now();
        assert!(outlet.drain(&POOL, black_box(&source), &control, limits, usize::MAX));
        shim.push(started.elapsed().as_nanos() as f64 / RECORDS as f64);

        let started = Instant::now();
        for record in records.chunks_exact(KERNEL_BYTES) {
            number += 1;
            if let (Some(slot), Some(bytes)) = (slots.get_mut(number % SLOTS), record.first_chunk::<96>()) {
                *slot = *black_box(bytes);
                black_box(&*slot);
            }
            published.store(number as u64, Ordering::Release);
        }
        baseline.push(started.elapsed().as_nanos() as f64 / RECORDS as f64);
    }
    let emitted = outlet.write(|copier| copier.written()).unwrap();
    assert_eq!(emitted, ((WARM_UP + ROUNDS) * RECORDS) as u64);
    let first = median(shim.iter().copied().take(WARM_UP).collect());
    let [shim, baseline] = [shim, baseline].map(|rounds| median(rounds.into_iter().skip(WARM_UP).collect()));
    let verdict = if shim <= BAR_NS { "met" } else { "MISSED" };
    println!(
        "kernel record, CUPTI to ring, {} name(s): {shim:.1} ns (bar {BAR_NS:.0} ns: {verdict}), baseline (96-byte memcpy + \
         one atomic): {baseline:.1} ns, ratio {:.1}; first time around the ring: {first:.1} ns",
        names.len(),
        shim / baseline,
    );
}

/// A name as long as those of vLLM's kernels.
fn kernel_name(number: usize) -> CString {
    CString::new(format!(
        "_ZN4vllm25paged_attention_v2_kernelI13__nv_bfloat16S1_Li{number}ELi16ELi128EEEvPT_"
    ))
    .unwrap()
}

/// A `CUpti_ActivityKernel9`.
fn kernel(number: usize, names: &[CString]) -> [u8; KERNEL_BYTES] {
    let mut bytes = [0; KERNEL_BYTES];
    let mut put = |offset: usize, value: &[u8]| {
        bytes.get_mut(offset..offset + value.len()).unwrap().copy_from_slice(value);
    };
    let name = names.get(number % names.len()).unwrap();
    put(0, &ActivityKind::CONCURRENT_KERNEL.0.to_le_bytes());
    put(16, &(1_000_000 + number as u64).to_le_bytes());
    put(24, &(1_000_500 + number as u64).to_le_bytes());
    put(52, &64u32.to_le_bytes());
    put(64, &128u32.to_le_bytes());
    put(92, &(number as u32).to_le_bytes());
    put(104, &(name.as_ptr().expose_provenance() as u64).to_le_bytes());
    bytes
}

/// As NVIDIA's: reads the kind at the present record, and steps over as many bytes as its struct has.
unsafe extern "C" fn next_record(buffer: *mut u8, valid_bytes: usize, record: *mut *mut u8) -> Status {
    // SAFETY: the caller passes a live out-pointer, and in it null or a record of the buffer.
    let current = unsafe { *record };
    let next = if current.is_null() {
        buffer
    } else {
        // SAFETY: a record begins with its kind.
        let kind = unsafe { current.cast::<u32>().read() };
        let Some(&stride) = STRIDES.get(kind as usize) else { return Status::INVALID_KIND };
        current.wrapping_add(black_box(stride))
    };
    if next.addr() - buffer.addr() >= valid_bytes {
        return Status::MAX_LIMIT_REACHED;
    }
    // SAFETY: as above.
    unsafe { *record = next };
    Status::SUCCESS
}

/// Bytes of the kinds up to 10 in CUPTI 12.9; 0 where the benchmark makes none.
const STRIDES: [usize; 11] = [0, 96, 88, 208, 40, 40, 0, 0, 184, 32, 208];

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
