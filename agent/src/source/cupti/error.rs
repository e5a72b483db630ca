//! Why a process cannot be attached to, in words that say what to do.
//!
//! Enters and leaves: nothing; one error type. Refuses: messages without a way out.

use std::io;

use gpu_agent_ring::{LeaseError, OpenError};

use crate::capability::Capabilities;
use crate::event::Pid;
use crate::identity::{IdentityError, Process};

/// Why a target cannot be attached to.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// There is no such process, or it cannot be looked at.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The process may not be looked into.
    #[error(
        "process {pid} belongs to user {uid}, and this agent may not read its {what}: {source}; run the agent as that user or as root{}",
        way_out(missing)
    )]
    Denied {
        /// The process.
        pid: Pid,
        /// Its user.
        uid: u32,
        /// What was asked for.
        what: &'static str,
        /// Capabilities that this agent lacks; empty if it has all that could help.
        missing: &'static str,
        /// The refusal.
        source: io::Error,
    },
    /// The shim keeps no descriptors any more.
    #[error(
        "the shim's descriptors in process {pid} were closed by an agent that opens its memory through /proc/{pid}/map_files, which this agent may not: {source}; run the agent as root, or give it {}",
        if missing.is_empty() { "CAP_CHECKPOINT_RESTORE outside of user namespaces" } else { missing }
    )]
    NoDescriptors {
        /// The process.
        pid: Pid,
        /// Capabilities that this agent lacks; empty if it has all that could help.
        missing: &'static str,
        /// The refusal.
        source: io::Error,
    },
    /// `/proc` failed in another way.
    #[error("cannot read {path}: {source}")]
    Proc {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// No CUDA driver is loaded.
    #[error(
        "process {pid} ({executable}) has not loaded CUDA (libcuda.so is not mapped): is this the process that does the GPU work, and not its parent or launcher?"
    )]
    NoCuda {
        /// The process.
        pid: Pid,
        /// Its executable.
        executable: String,
    },
    /// CUDA, but no shim.
    #[error(
        "process {pid} ({executable}) uses CUDA but does not have the gpu-agent shim; attach with --inject auto, start it with `gpu-agent run -- CMD`, or set LD_PRELOAD and CUDA_INJECTION64_PATH to libgpu_agent_cupti.so before it starts"
    )]
    NoShim {
        /// The process.
        pid: Pid,
        /// Its executable.
        executable: String,
    },
    /// The shim is there, but CUDA was not initialised.
    #[error(
        "process {pid} ({executable}) has the gpu-agent shim but has not initialised CUDA yet; try again once it uses the GPU"
    )]
    NotYet {
        /// The process.
        pid: Pid,
        /// Its executable.
        executable: String,
    },
    /// The pid changed hands.
    #[error(
        "pid {pid} was reused: the process that had it ended while the agent opened its ring; look up the pid again"
    )]
    Reused {
        /// The pid.
        pid: Pid,
    },
    /// The deadlines of a lease cannot be agreed on.
    #[error(
        "process {pid} is in another time namespace, whose CLOCK_MONOTONIC is not the agent's; run the agent in the same one"
    )]
    TimeNamespace {
        /// The process.
        pid: Pid,
    },
    /// The ring cannot be used.
    #[error("the shim's ring in process {pid} cannot be used: {source}")]
    Ring {
        /// The process.
        pid: Pid,
        /// Why.
        source: OpenError,
    },
    /// The ring says that it belongs to another process.
    #[error(
        "the ring found in process {pid} was written by process {writer_pid} (its own numbering), started at another time: an inherited descriptor, or a forged header"
    )]
    Foreign {
        /// The process looked into.
        pid: Pid,
        /// The pid in the header.
        writer_pid: u32,
    },
    /// The control page cannot be used.
    #[error("the shim's control page in process {pid} cannot be used: {source}")]
    Control {
        /// The process.
        pid: Pid,
        /// Why.
        source: OpenError,
    },
    /// A ring without a control page.
    #[error("process {pid} has a ring but no control page; its shim is damaged or being set up, try again")]
    NoControl {
        /// The process.
        pid: Pid,
    },
    /// Another agent is there.
    #[error("process {pid}: {source}")]
    Lease {
        /// The process.
        pid: Pid,
        /// Who, and for how long.
        source: LeaseError,
    },
}

impl AttachError {
    /// A refusal by the permissions of `process`.
    pub(super) fn denied(process: &Process, what: &'static str, source: io::Error) -> Self {
        let missing = Capabilities::own().missing_for_others();
        Self::Denied { pid: process.pid, uid: process.uid, what, missing, source }
    }

    /// A refusal of `map_files`, where no descriptor is left to open instead.
    pub(super) fn no_descriptors(process: &Process, source: io::Error) -> Self {
        Self::NoDescriptors {
            pid: process.pid,
            missing: Capabilities::own().missing_for_files_of(process.uid),
            source,
        }
    }
}

fn way_out(missing: &str) -> String {
    match missing {
        // The rest is up to a security module or a user namespace.
        "" => ", outside of user namespaces and confinement (SELinux, AppArmor)".to_owned(),
        missing => format!(", or give it {missing}"),
    }
}
