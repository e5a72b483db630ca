//! What CUDA the process has: driver, runtime, the libcuptis that the shim could use, who else uses CUPTI, CUDA graphs.
//!
//! Enters: mapped files, the environment. Leaves: lines. Refuses: to read more of a file than its headers and symbols.

use std::path::Path;

use super::environment::Environment;
use crate::doctor::Line;
use crate::inject::cupti::{Candidate, Cuda};
use crate::symbols::process::Mapped;
use crate::symbols::{Cache, Image, Pattern, has_section};

/// Where nvcc puts the code for GPUs, which libcudart registers.
const GPU_CODE: &str = ".nv_fatbin";
/// Most files whose headers are looked at.
const MOST_FILES: usize = 512;
/// Most copies of libcupti that are named.
const MOST_NAMED: usize = 5;

/// `versions` are those of libcupti and of the driver, as the shim has read them; 0 where it has not.
pub(super) fn driver(cuda: &Cuda, (_, newest): (u32, u32)) -> Line {
    let Some(path) = &cuda.driver else {
        return Line::no(
            "CUDA driver",
            "libcuda.so is not mapped: the process has not used CUDA so far",
            "name the process that does the GPU work, not its launcher; or attach with --wait",
        );
    };
    let mut reason = cuda
        .driver_version()
        .map_or_else(|| path.display().to_string(), |version| format!("libcuda {version}"));
    if newest != 0 {
        reason.push_str(&format!(", knows CUDA up to {}", release(newest)));
    }
    Line::ok("CUDA driver", reason)
}

/// 12040 → 12.4
fn release(number: u32) -> String {
    format!("{}.{}", number / 1000, number % 1000 / 10)
}

pub(super) fn runtime(cuda: &Cuda, executable: &Path, files: &[Mapped]) -> Line {
    if let [first, ..] = cuda.runtimes.as_slice() {
        return Line::ok("CUDA runtime", format!("dynamic: {}", first.display()));
    }
    let with_code = files.iter().take(MOST_FILES).find(|file| has_section(&file.path, GPU_CODE));
    let reason = match with_code {
        Some(file) => {
            format!("static: {} has code for GPUs ({GPU_CODE}), and no libcudart is mapped", file.shown)
        }
        None if defines_runtime(executable) => "static: the executable has cudaLaunchKernel in it".to_owned(),
        None if cuda.driver.is_some() => {
            "none that can be seen: the program uses the driver's API".to_owned()
        }
        None => "none".to_owned(),
    };
    Line::ok("CUDA runtime", reason)
}

/// Whether libcudart's functions are in the executable, by a symbol table that was left in it.
fn defines_runtime(executable: &Path) -> bool {
    let found = Image::open(executable, "the executable")
        .and_then(|image| image.lookup(&Cache::disabled(), &[Pattern::Exact("cudaLaunchKernel".to_owned())]));
    found.is_ok_and(|answers| answers.iter().flatten().any(|symbols| !symbols.is_empty()))
}

pub(super) fn major(cuda: &Cuda, (cupti, newest): (u32, u32)) -> Line {
    let reason = match cuda.major() {
        Some(major) => format!("{major}, by the libraries that are mapped"),
        None if cuda.driver.is_none() => "none".to_owned(),
        None if newest != 0 => {
            format!("{} at most: the driver's; CUPTI has API version {cupti}", newest / 1000)
        }
        None => "not to be seen from outside: no library with a version in its name is mapped".to_owned(),
    };
    Line::ok("CUDA major", reason)
}

/// Which libcupti the shim would use, and which others there are.
pub(super) fn cupti(cuda: &Cuda, candidates: &[Candidate]) -> Line {
    let [Candidate { path, place, .. }, others @ ..] = candidates else {
        let reason =
            "no libcupti is loaded, beside its CUDA libraries, in its Python environment, or in a toolkit";
        let fix = format!(
            "install the CUPTI that belongs to its CUDA (pip install nvidia-cuda-cupti-cu{}), name one in GPU_AGENT_CUPTI when it starts, or, where it has no shim yet, attach with --cupti-dir",
            cuda.major().unwrap_or(12)
        );
        return match &cuda.driver {
            Some(_) => Line::no("CUPTI", reason, fix),
            None => Line::degraded("CUPTI", reason, fix),
        };
    };
    let mut reason = format!("{} ({place}) would be tried first", path.display());
    for Candidate { path, place, .. } in others.iter().take(MOST_NAMED) {
        reason.push_str(&format!("; then {} ({place})", path.display()));
    }
    if let more @ 1.. = others.len().saturating_sub(MOST_NAMED) {
        reason.push_str(&format!("; then {more} more"));
    }
    Line::ok("CUPTI", reason)
}

pub(super) fn owner(cuda: &Cuda, environment: &Environment) -> Line {
    match (cuda.owners.as_slice(), environment.injected()) {
        ([], None) => Line::ok("CUPTI's owner", "no other profiler is mapped"),
        ([owner, ..], _) => Line::no(
            "CUPTI's owner",
            format!("{owner} is in the process, and CUPTI has one owner"),
            "wait until it has ended, or run the process without it",
        ),
        ([], Some((name, path))) => Line::degraded(
            "CUPTI's owner",
            format!("{name} is {path}: that library may own CUPTI"),
            "start the process without that variable",
        ),
    }
}

/// What becomes of CUDA graphs that were captured before the attachment; nothing where CUDA is not loaded yet.
pub(super) fn graphs(cuda: &Cuda, chosen: Option<&Candidate>) -> Option<Line> {
    const UNSEEN: &str = "whether any were captured before cannot be seen from outside";
    cuda.driver.as_ref()?;
    Some(match chosen.map(|chosen| chosen.is_before_12_6) {
        Some(Some(true)) => Line::no(
            "CUDA graphs",
            format!(
                "{UNSEEN}, and with a libcupti before 12.6 their replay may crash the process once CUPTI is on (pytorch#75504, #112507)"
            ),
            "start it with `gpu-agent run`, update its CUDA, or, if it has no CUDA graphs, attach with --inject force",
        ),
        Some(None) => Line::degraded(
            "CUDA graphs",
            format!(
                "{UNSEEN}, nor which release its libcupti is: before 12.6 their replay may crash the process; from 12.6 on their kernels are seen, and classed by name"
            ),
            "if it has a CUDA before 12.6 and uses CUDA graphs, start it with `gpu-agent run`",
        ),
        Some(Some(false)) | None => Line::degraded(
            "CUDA graphs",
            format!(
                "{UNSEEN}; their kernels are seen, but not which operation launched them: they are classed by name"
            ),
            "attach before the engine warms up, or start it with `gpu-agent run`",
        ),
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::doctor::Verdict;

    fn candidate(is_before_12_6: Option<bool>) -> Candidate {
        Candidate { path: "/x/libcupti.so.12".into(), place: "in a toolkit", is_before_12_6 }
    }

    fn with_driver() -> Cuda {
        Cuda { driver: Some("/usr/lib/libcuda.so.535.161.08".into()), ..Cuda::default() }
    }

    /// An executable made of this C, with or without its symbols.
    fn executable(source: &str, flags: &[&str]) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let (text, program) = (folder.path().join("x.c"), folder.path().join("program"));
        std::fs::write(&text, source).unwrap();
        let made = Command::new("cc").args(flags).arg("-o").arg(&program).arg(&text).status().unwrap();
        assert!(made.success());
        (folder, program)
    }

    fn file(path: &Path) -> Mapped {
        let text = format!("1000-2000 r-xp 00000000 00:01 7 {}\n", path.display());
        let mut files = Vec::new();
        crate::maps::for_each(text.as_bytes(), |mapping| {
            files.push(Mapped {
                path: path.to_owned(),
                shown: String::from_utf8_lossy(mapping.path).into(),
                root: "/".into(),
                load_bias: 0,
                ranges: Vec::new(),
                device: mapping.device,
                inode: mapping.inode,
                is_deleted: false,
                is_memfd: false,
                has_start: true,
            });
        })
        .unwrap();
        files.remove(0)
    }

    #[test]
    fn a_static_runtime_is_known_by_the_code_for_gpus_even_in_a_stripped_program() {
        let source = "__attribute__((section(\".nv_fatbin\"), used)) static int code = 1; int main(void) { return 0; }";
        let (_folder, program) = executable(source, &["-s"]);
        let line = runtime(&with_driver(), &program, &[file(&program)]);
        assert!(line.reason.starts_with("static: ") && line.reason.contains(".nv_fatbin"), "{line:?}");
    }

    #[test]
    fn a_static_runtime_is_known_by_its_functions_and_a_driver_program_has_none() {
        let (_folder, program) =
            executable("int cudaLaunchKernel(void) { return 0; } int main(void) { return 0; }", &[]);
        assert!(runtime(&with_driver(), &program, &[file(&program)]).reason.contains("cudaLaunchKernel"));
        let (_folder, program) = executable("int main(void) { return 0; }", &[]);
        let line = runtime(&with_driver(), &program, &[file(&program)]);
        assert!(line.reason.contains("the driver's API"), "{line:?}");
    }

    #[test]
    fn a_dynamic_runtime_and_the_major_are_read_off_its_name() {
        let cuda = Cuda { runtimes: vec!["/env/libcudart.so.12".into()], ..with_driver() };
        assert_eq!(runtime(&cuda, Path::new("/nowhere"), &[]).reason, "dynamic: /env/libcudart.so.12");
        assert!(major(&cuda, (0, 0)).reason.starts_with("12,"));
        assert!(major(&with_driver(), (26, 12_040)).reason.starts_with("12 at most"));
        assert_eq!(driver(&with_driver(), (26, 12_040)).reason, "libcuda 535.161.08, knows CUDA up to 12.4");
    }

    #[test]
    fn graphs_captured_before_are_a_matter_of_the_libcupti_that_would_be_chosen() {
        let verdict = |chosen: Option<Candidate>| graphs(&with_driver(), chosen.as_ref()).unwrap().verdict;
        assert_eq!(verdict(Some(candidate(Some(true)))), Verdict::No);
        assert_eq!(verdict(Some(candidate(None))), Verdict::Degraded);
        assert_eq!(verdict(Some(candidate(Some(false)))), Verdict::Degraded);
        assert_eq!(graphs(&Cuda::default(), None), None, "there are none yet");
    }

    #[test]
    fn all_copies_of_libcupti_are_named_in_their_order() {
        let second = Candidate { path: "/y/libcupti.so.13".into(), place: "loaded", is_before_12_6: None };
        let line = cupti(&with_driver(), &[candidate(None), second]);
        assert_eq!(
            line.reason,
            "/x/libcupti.so.12 (in a toolkit) would be tried first; then /y/libcupti.so.13 (loaded)"
        );
        let none = cupti(&with_driver(), &[]);
        assert_eq!(none.verdict, Verdict::No);
        assert!(none.fix.contains("--cupti-dir") && none.fix.contains("GPU_AGENT_CUPTI"), "{none:?}");
        assert_eq!(cupti(&Cuda::default(), &[]).verdict, Verdict::Degraded, "it may still load one");
    }

    #[test]
    fn another_owner_of_cupti_is_named() {
        let nsys = Cuda { owners: vec!["Nsight Systems"], ..Cuda::default() };
        assert_eq!(owner(&nsys, &Environment::default()).verdict, Verdict::No);
        let injected = Environment::parse(b"CUDA_INJECTION64_PATH=/opt/other.so");
        assert_eq!(owner(&Cuda::default(), &injected).verdict, Verdict::Degraded);
        let ours = Environment::parse(b"CUDA_INJECTION64_PATH=/x/libgpu_agent_cupti.so");
        assert_eq!(owner(&Cuda::default(), &ours).verdict, Verdict::Ok);
    }
}
