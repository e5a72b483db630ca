//! Links: what makes the kernel run a program at a place.
//!
//! Enters: places of one file. Leaves: descriptors; a place is left when they are closed. Refuses: single places, with the
//! kernel's reason, without losing the others.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use aya::maps::MapError;
use gpu_agent_ebpf_abi::{SiteKey, slots};
use zerocopy::IntoBytes;

use super::features::Features;
use super::object::{Code, Sites};
use super::refusal::Refusal;
use super::sys::{self, AttachType, Places};
use super::unsupported::{UNIT, Unsupported};

/// What Linux says of its uprobe unit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unit {
    kind: u32,
    /// Of a perf event that means returns.
    returns: u64,
}

impl Unit {
    pub(super) fn read() -> io::Result<Self> {
        let number = |text: &str| {
            text.trim().parse::<u32>().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
        };
        let kind = number(&fs::read_to_string(format!("{UNIT}/type"))?)?;
        let format = fs::read_to_string(format!("{UNIT}/format/retprobe"))?;
        let bit = number(format.trim().trim_start_matches("config:"))?;
        Ok(Self { kind, returns: 1u64.checked_shl(bit).unwrap_or(0) })
    }
}

/// What a place means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An instruction.
    Instruction,
    /// The returns of the function there.
    Returns,
    /// The function there and its returns.
    Session,
}

/// Where a program is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) kind: Kind,
    pub(super) offset: u64,
    pub(super) cookie: u64,
    /// Which probe of the plan.
    pub(super) probe: usize,
}

impl Place {
    /// If its hits, or its returns, run the program in `slot`.
    pub(super) fn carries(&self, slot: u32) -> bool {
        let (hit, exit) = slots(self.cookie);
        hit == slot || exit == slot
    }
}

/// Where the places are.
#[derive(Debug, Clone, Copy)]
pub(super) struct File<'a> {
    pub(super) path: &'a CStr,
    pub(super) load_bias: u64,
    /// Only in this process.
    pub(super) pid: Option<u32>,
}

/// What holds places; dropped before its sites are forgotten.
#[derive(Debug, Default)]
pub(super) struct Links {
    descriptors: Vec<OwnedFd>,
    sites: Vec<SiteKey>,
}

/// Refuses to replace (`linux/bpf.h`).
const BPF_NOEXIST: u64 = 1;

/// Makes links.
pub(super) struct Linker {
    features: Features,
    program: OwnedFd,
    unit: Unit,
    sites: Sites,
}

impl Linker {
    /// Loads the program that `features` ask for.
    pub(super) fn new(
        code: &Code,
        features: Features,
        unit: Unit,
        sites: Sites,
    ) -> Result<Self, Unsupported> {
        let (name, attach_type) = match features {
            Features { session: true, .. } => ("session", AttachType::Session),
            Features { multi: true, .. } => ("probe", AttachType::Multi),
            Features { cookies: true, .. } => ("probe", AttachType::Event),
            _ => ("probe_by_address", AttachType::Event),
        };
        Ok(Self { features, program: code.load(name, attach_type)?, unit, sites })
    }

    pub(super) fn features(&self) -> Features {
        self.features
    }

    /// Attaches all of `places` that the kernel does not refuse; the others are added to `missed`.
    pub(super) fn attach(
        &mut self,
        file: File<'_>,
        places: &[Place],
        links: &mut Links,
        missed: &mut Vec<(Place, Refusal)>,
    ) {
        if self.features.multi {
            for returns in [false, true] {
                let alike = |place: &&Place| (place.kind == Kind::Returns) == returns;
                let some: Vec<Place> = places.iter().filter(alike).copied().collect();
                self.many(file, &some, links, missed);
            }
        } else {
            for place in places {
                if let Err(why) = self.one(file, place, links) {
                    missed.push((*place, why));
                }
            }
        }
    }

    /// Attaches places that are alike by one link. Linux attaches all or none, so where it refuses, each half is tried by
    /// itself.
    fn many(&self, file: File<'_>, places: &[Place], links: &mut Links, missed: &mut Vec<(Place, Refusal)>) {
        let Some(first) = places.first() else { return };
        let offsets: Vec<u64> = places.iter().map(|place| place.offset).collect();
        let cookies: Vec<u64> = places.iter().map(|place| place.cookie).collect();
        let there = Places {
            path: file.path,
            offsets: &offsets,
            cookies: &cookies,
            returns: first.kind == Kind::Returns,
            pid: file.pid.unwrap_or(0),
        };
        let attach_type = if self.features.session { AttachType::Session } else { AttachType::Multi };
        match sys::link_places(self.program.as_fd(), attach_type, there) {
            Ok(link) => links.descriptors.push(link),
            Err(error) if places.len() == 1 => missed.push((*first, Refusal::of(error, first.offset))),
            Err(_) => {
                let (left, right) = places.split_at(places.len() / 2);
                self.many(file, left, links, missed);
                self.many(file, right, links, missed);
            }
        }
    }

    /// Attaches one place by a perf event.
    fn one(&mut self, file: File<'_>, place: &Place, links: &mut Links) -> Result<(), Refusal> {
        let of = |error| Refusal::of(error, place.offset);
        if self.features.cookies {
            let event = self.event(file, place).map_err(of)?;
            let link = sys::link_event(self.program.as_fd(), event.as_fd(), place.cookie).map_err(of)?;
            links.descriptors.extend([link, event]);
            return Ok(());
        }
        let site = self.know(file, place)?;
        let event = self.event(file, place).and_then(|event| {
            sys::set_program(event.as_fd(), self.program.as_fd())?;
            Ok(event)
        });
        match event {
            Ok(event) => {
                links.descriptors.push(event);
                links.sites.push(site);
                Ok(())
            }
            Err(error) => {
                self.forget(&site)?;
                Err(of(error))
            }
        }
    }

    fn event(&self, file: File<'_>, place: &Place) -> io::Result<OwnedFd> {
        let config = if place.kind == Kind::Returns { self.unit.returns } else { 0 };
        sys::open_uprobe(self.unit.kind, config, file.path, place.offset, file.pid)
    }

    /// Makes the place known by its address, before it can be hit. Its slot is in its cookie's low half.
    fn know(&mut self, file: File<'_>, place: &Place) -> Result<SiteKey, Refusal> {
        let process = file.pid.ok_or(Refusal::NoScope)?;
        if place.kind != Kind::Instruction {
            return Err(Refusal::NoCookies);
        }
        let site = SiteKey { process, reserved: 0, address: file.load_bias.wrapping_add(place.offset) };
        match self.sites.insert(key(&site), slots(place.cookie).0, BPF_NOEXIST) {
            Ok(()) => Ok(site),
            Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::EEXIST) => {
                Err(Refusal::Taken)
            }
            Err(other) => Err(other.into()),
        }
    }

    fn forget(&mut self, site: &SiteKey) -> Result<(), MapError> {
        match self.sites.remove(&key(site)) {
            Err(MapError::KeyNotFound) => Ok(()),
            other => other,
        }
    }

    /// Leaves all places of `links`.
    pub(super) fn detach(&mut self, links: Links) -> Result<(), MapError> {
        drop(links.descriptors);
        links.sites.iter().try_for_each(|site| self.forget(site))
    }
}

fn key(site: &SiteKey) -> [u8; size_of::<SiteKey>()] {
    let mut bytes = [0; size_of::<SiteKey>()];
    bytes.copy_from_slice(site.as_bytes());
    bytes
}
