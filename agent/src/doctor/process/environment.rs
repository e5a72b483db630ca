//! The few variables of a process's environment that say something about CUDA and CUPTI in it.
//!
//! Enters: a pid. Leaves: their values. Refuses: any other variable, which may be secret.

use std::fs::File;
use std::io::Read;

use crate::event::Pid;

const NAMES: [&str; 4] =
    ["CUDA_INJECTION64_PATH", "NVTX_INJECTION64_PATH", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"];
/// Longest environment that is looked through.
const MAX_BYTES: u64 = 4 << 20;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Environment(Vec<(&'static str, String)>);

impl Environment {
    /// That of `pid` when its program began; empty where it may not be read.
    pub(super) fn of(pid: Pid) -> Self {
        let mut bytes = Vec::new();
        if let Ok(file) = File::open(format!("/proc/{pid}/environ")) {
            // What was read until an error counts.
            let _ = file.take(MAX_BYTES).read_to_end(&mut bytes);
        }
        Self::parse(&bytes)
    }

    pub(super) fn parse(bytes: &[u8]) -> Self {
        let wanted = |variable: &[u8]| {
            let variable = String::from_utf8_lossy(variable);
            let (name, value) = variable.split_once('=')?;
            let name = NAMES.iter().find(|wanted| **wanted == name)?;
            Some((*name, value.to_owned()))
        };
        Self(bytes.split(|&byte| byte == 0).filter_map(wanted).collect())
    }

    /// A library that CUDA or NVTX is told to load and that is not ours: the variable and the path.
    pub(super) fn injected(&self) -> Option<(&'static str, &str)> {
        let is_other = |path: &str| !path.is_empty() && !path.contains("gpu_agent");
        let mut all = self.0.iter().map(|(name, path)| (*name, path.as_str()));
        all.find(|(name, path)| name.ends_with("_PATH") && is_other(path))
    }

    /// Whether the process is told to use an instance of a divided GPU.
    pub(super) fn names_mig(&self) -> bool {
        self.0.iter().any(|(name, value)| name.ends_with("_DEVICES") && value.contains("MIG-"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_variables_are_not_taken() {
        let environment = Environment::parse(b"AWS_SECRET_ACCESS_KEY=x\0CUDA_INJECTION64_PATH=/x\0A\0");
        assert_eq!(environment.0, [("CUDA_INJECTION64_PATH", "/x".to_owned())]);
    }

    #[test]
    fn another_injected_library_and_an_instance_are_seen() {
        let of = |text: &str| Environment::parse(text.as_bytes());
        assert_eq!(of("NVTX_INJECTION64_PATH=/a.so").injected(), Some(("NVTX_INJECTION64_PATH", "/a.so")));
        assert_eq!(of("CUDA_INJECTION64_PATH=/x/libgpu_agent_cupti.so").injected(), None);
        assert!(of("CUDA_VISIBLE_DEVICES=MIG-7f0d").names_mig());
        assert!(!of("CUDA_VISIBLE_DEVICES=0,1").names_mig());
    }
}
