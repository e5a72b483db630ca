//! Whose hits make records.
//!
//! Enters: processes and control groups. Leaves: entries of the kernel-side filter. Refuses: nothing. A process that is
//! wanted twice stays wanted until it is released twice.

use std::collections::BTreeMap;

use aya::maps::{HashMap, MapData, MapError};

use crate::event::Pid;

/// The filter.
pub(super) struct Targets {
    processes: HashMap<MapData, u32, u8>,
    cgroups: HashMap<MapData, u64, u8>,
    wanted: BTreeMap<u32, usize>,
}

impl Targets {
    pub(super) fn new(processes: HashMap<MapData, u32, u8>, cgroups: HashMap<MapData, u64, u8>) -> Self {
        Self { processes, cgroups, wanted: BTreeMap::new() }
    }

    pub(super) fn want(&mut self, pid: Pid) -> Result<(), MapError> {
        let times = self.wanted.entry(pid.0).or_insert(0);
        if *times == 0 {
            self.processes.insert(pid.0, 1, 0)?;
        }
        *times += 1;
        Ok(())
    }

    pub(super) fn release(&mut self, pid: Pid) -> Result<(), MapError> {
        let Some(times) = self.wanted.get_mut(&pid.0) else { return Ok(()) };
        *times = times.saturating_sub(1);
        if *times > 0 {
            return Ok(());
        }
        self.wanted.remove(&pid.0);
        absent_is_fine(self.processes.remove(&pid.0))
    }

    pub(super) fn want_cgroup(&mut self, id: u64) -> Result<(), MapError> {
        self.cgroups.insert(id, 1, 0)
    }

    pub(super) fn release_cgroup(&mut self, id: u64) -> Result<(), MapError> {
        absent_is_fine(self.cgroups.remove(&id))
    }
}

fn absent_is_fine(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound) => Ok(()),
        other => other,
    }
}
