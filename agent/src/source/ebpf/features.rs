//! What this Linux can do for probes, found out by trying.
//!
//! Enters: the programs, and what may be used at most. Leaves: loaded programs. Refuses: to trust version numbers: vendors
//! port features back.

use std::os::fd::{AsFd, OwnedFd};

use super::object::Code;
use super::sys::{self, AttachType, Places};
use super::unsupported::Unsupported;

/// Features of Linux that make probes cheaper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// Attach cookies (Linux 5.15).
    pub cookies: bool,
    /// One link for many places (uprobe-multi, Linux 6.6, with a filter by process that means processes).
    pub multi: bool,
    /// One link for both ends of a call (uprobe session, Linux 6.13).
    pub session: bool,
}

impl Features {
    /// Whatever there is.
    pub const ALL: Self = Self { cookies: true, multi: true, session: true };
}

/// The programs, loaded as the kernel allows.
#[derive(Debug)]
pub(super) enum Loaded {
    /// Many places by one link, with cookies; sessions where there are any.
    Multi { probe: OwnedFd, session: Option<OwnedFd> },
    /// A perf event for each place, with its cookie.
    Cookies { probe: OwnedFd },
    /// A perf event for each place, which is told by its address.
    Addresses { probe: OwnedFd },
}

impl Loaded {
    /// What is used.
    pub(super) fn features(&self) -> Features {
        match self {
            Self::Multi { session, .. } => {
                Features { cookies: true, multi: true, session: session.is_some() }
            }
            Self::Cookies { .. } => Features { cookies: true, multi: false, session: false },
            Self::Addresses { .. } => Features { cookies: false, multi: false, session: false },
        }
    }
}

/// Loads what is needed for the best of `allowed` that this Linux has.
pub(super) fn load(code: &Code, allowed: Features) -> Result<Loaded, Unsupported> {
    if allowed.cookies
        && allowed.multi
        && let Ok(probe) = code.load("probe", AttachType::Multi)
        && filters_processes(&probe)
    {
        let session = if allowed.session { code.load("session", AttachType::Session).ok() } else { None };
        return Ok(Loaded::Multi { probe, session });
    }
    if allowed.cookies
        && let Ok(probe) = code.load("probe", AttachType::Event)
    {
        return Ok(Loaded::Cookies { probe });
    }
    Ok(Loaded::Addresses { probe: code.load("probe_by_address", AttachType::Event)? })
}

/// The first uprobe-multi links filtered by thread where they should by process. Linux that does it right looks for the
/// process before it looks at the file: asked for a process that cannot be, at a path that is no file, it complains of the
/// process (libbpf's test).
fn filters_processes(probe: &OwnedFd) -> bool {
    let places = Places { path: c"/", offsets: &[0], cookies: &[0], returns: false, pid: u32::MAX };
    let answer =
        sys::link_places(probe.as_fd(), AttachType::Multi, places).map_err(|error| error.raw_os_error());
    matches!(answer, Err(Some(libc::EINVAL)))
}
