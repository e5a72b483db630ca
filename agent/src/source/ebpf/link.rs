//! Links: what makes the kernel run a program at a place.
//!
//! Enters: places of one file. Leaves: descriptors; a place is left when they are closed. Refuses: single places, with the
//! kernel's reason, without losing the others.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use aya::maps::MapError;
use gpu_agent_ebpf_abi::{SiteKey, slots};
use zerocopy::IntoBytes;

use super::features::{Features, Loaded};
use super::object::Sites;
use super::refusal::Refusal;
use super::sys::{self, AttachType, Places};
use super::unsupported::UNIT;

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

/// Makes links.
pub(super) struct Linker {
    loaded: Loaded,
    unit: Unit,
    sites: Sites,
}

impl Linker {
    pub(super) fn new(loaded: Loaded, unit: Unit, sites: Sites) -> Self {
        Self { loaded, unit, sites }
    }

    pub(super) fn features(&self) -> Features {
        self.loaded.features()
    }

    /// Attaches all of `places` that the kernel does not refuse; the others are added to `missed`.
    pub(super) fn attach(
        &mut self,
        file: File<'_>,
        places: &[Place],
        links: &mut Links,
        missed: &mut Vec<(Place, Refusal)>,
    ) {
        let Self { loaded, unit, sites: known } = self;
        match loaded {
            Loaded::Multi { probe, session } => {
                let session = session.as_ref().unwrap_or(probe).as_fd();
                for (kind, program) in [
                    (Kind::Instruction, probe.as_fd()),
                    (Kind::Returns, probe.as_fd()),
                    (Kind::Session, session),
                ] {
                    let some: Vec<Place> =
                        places.iter().filter(|place| place.kind == kind).copied().collect();
                    many(program, kind, file, &some, links, missed);
                }
            }
            Loaded::Cookies { probe } => {
                for place in places {
                    match event(*unit, file, place).and_then(|event| {
                        Ok((sys::link_event(probe.as_fd(), event.as_fd(), place.cookie)?, event))
                    }) {
                        Ok((link, event)) => links.descriptors.extend([link, event]),
                        Err(error) => missed.push((*place, Refusal::of(error, place.offset))),
                    }
                }
            }
            Loaded::Addresses { probe } => {
                for place in places {
                    if let Err(why) = by_address(probe.as_fd(), *unit, known, file, place, links) {
                        missed.push((*place, why));
                    }
                }
            }
        }
    }

    /// Leaves all places of `links`.
    pub(super) fn detach(&mut self, links: Links) -> Result<(), MapError> {
        drop(links.descriptors);
        links.sites.iter().try_for_each(|site| match self.sites.remove(&key(site)) {
            Err(MapError::KeyNotFound) => Ok(()),
            other => other,
        })
    }
}

/// Attaches places of one kind by one link. Linux attaches all or none, so where it refuses, each half is tried by itself.
fn many(
    program: BorrowedFd<'_>,
    kind: Kind,
    file: File<'_>,
    places: &[Place],
    links: &mut Links,
    missed: &mut Vec<(Place, Refusal)>,
) {
    let Some(first) = places.first() else { return };
    let offsets: Vec<u64> = places.iter().map(|place| place.offset).collect();
    let cookies: Vec<u64> = places.iter().map(|place| place.cookie).collect();
    let attach_type = if kind == Kind::Session { AttachType::Session } else { AttachType::Multi };
    let there = Places {
        path: file.path,
        offsets: &offsets,
        cookies: &cookies,
        returns: kind == Kind::Returns,
        pid: file.pid.unwrap_or(0),
    };
    match sys::link_places(program, attach_type, there) {
        Ok(link) => links.descriptors.push(link),
        Err(error) if places.len() == 1 => missed.push((*first, Refusal::of(error, first.offset))),
        Err(_) => {
            let (left, right) = places.split_at(places.len() / 2);
            many(program, kind, file, left, links, missed);
            many(program, kind, file, right, links, missed);
        }
    }
}

fn event(unit: Unit, file: File<'_>, place: &Place) -> io::Result<OwnedFd> {
    let config = if place.kind == Kind::Returns { unit.returns } else { 0 };
    sys::open_uprobe(unit.kind, config, file.path, place.offset, file.pid)
}

/// The slot of the place is in its cookie's low half; the place is known by its address before it can be hit.
fn by_address(
    program: BorrowedFd<'_>,
    unit: Unit,
    sites: &mut Sites,
    file: File<'_>,
    place: &Place,
    links: &mut Links,
) -> Result<(), Refusal> {
    let process = file.pid.ok_or(Refusal::NoScope)?;
    if place.kind != Kind::Instruction {
        return Err(Refusal::NoCookies);
    }
    let site = SiteKey { process, reserved: 0, address: file.load_bias.wrapping_add(place.offset) };
    sites.insert(key(&site), slots(place.cookie).0, 0)?;
    links.sites.push(site);
    let of = |error| Refusal::of(error, place.offset);
    let event = event(unit, file, place).map_err(of)?;
    sys::set_program(event.as_fd(), program).map_err(of)?;
    links.descriptors.push(event);
    Ok(())
}

fn key(site: &SiteKey) -> [u8; size_of::<SiteKey>()] {
    let mut bytes = [0; size_of::<SiteKey>()];
    bytes.copy_from_slice(site.as_bytes());
    bytes
}
