//! What is attached in the files of one process.
//!
//! Enters: the files that it maps, plans. Leaves: attachments that follow them: a file that comes is probed, one that goes is left.
//! Refuses: to look for symbols while neither the files nor the wishes have changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tracing::{debug, warn};

use super::source::{self, Source};
use crate::capability::Capabilities;
use crate::event::Pid;
use crate::identity::Process;
use crate::probes::plan::Plan;
use crate::probes::resolve::Why;
use crate::source::ebpf::{Attacher, AttachmentId, Scope, Slot};
use crate::symbols::process::{Mapped, ProcessError, mapped};

/// Tells files apart: device and inode.
type FileId = ((u32, u32), u64);

/// The files of one process.
#[derive(Debug, Default)]
pub(super) struct Files {
    attached: Vec<Held>,
    /// Notices of its dynamic linker.
    watch: Option<AttachmentId>,
    /// The files and the wish that `attached` was made for.
    made_for: Option<(Vec<FileId>, bool)>,
    is_simulated: bool,
    /// Files that cannot be read, as was said.
    unreadable: BTreeSet<Arc<str>>,
    /// Files and probes that were refused, as was said.
    refused: BTreeSet<(Arc<str>, Arc<str>)>,
}

/// Probes of one file.
#[derive(Debug)]
struct Held {
    file: FileId,
    /// CUDA's own functions, else an engine's.
    is_cuda: bool,
    id: AttachmentId,
    slots: Vec<(u32, u32)>,
    by_engine: BTreeMap<Arc<str>, usize>,
}

/// What an update changed.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// Slots that mean something now.
    pub(super) told: Vec<Slot>,
    /// Slots that mean nothing any more.
    pub(super) gone: Vec<(u32, u32)>,
}

impl Files {
    /// Brings the attachments up to date with what the process maps.
    pub(super) fn update(
        &mut self,
        pid: Pid,
        wants_cuda: bool,
        source: &Source,
        attacher: &mut Attacher,
    ) -> Result<Change, ProcessError> {
        let mut files = mapped(pid)?;
        if self.watch.is_none() && self.watch(pid, &files, source, attacher) {
            // What was loaded before the watch held is in no notice.
            files = mapped(pid)?;
        }
        let mut change = Change::default();
        let wish = (files.iter().map(id).collect::<Vec<_>>(), wants_cuda);
        if self.made_for.as_ref() == Some(&wish) {
            return Ok(change);
        }
        self.is_simulated = source::is_simulated(&files);
        let (stay, go): (Vec<_>, Vec<_>) = std::mem::take(&mut self.attached)
            .into_iter()
            .partition(|held| wish.0.contains(&held.file) && (wants_cuda || !held.is_cuda));
        self.attached = stay;
        for held in go {
            change.gone.extend(detach(held, attacher));
        }
        let resolution = source.resolve(pid)?;
        for missing in &resolution.missing {
            if let (Why::File(why), Some(file)) = (&missing.why, &missing.file)
                && self.unreadable.insert(Arc::clone(file))
            {
                let why = with_way_out(file, why, Capabilities::own());
                warn!(pid = pid.0, file = &**file, why, "a file of the process cannot be read");
            }
        }
        // What went wrong may go right at the next look.
        let mut is_whole = true;
        for plan in resolution.plans {
            let Some(file) = files.iter().find(|file| file.path == plan.file).map(id) else {
                is_whole = false;
                continue;
            };
            for (is_cuda, plan) in split(plan) {
                let is_held = self.attached.iter().any(|held| held.file == file && held.is_cuda == is_cuda);
                if plan.probes.is_empty() || is_held || (is_cuda && !wants_cuda) {
                    continue;
                }
                is_whole &= self.attach(pid, file, is_cuda, &plan, attacher, &mut change);
            }
        }
        self.made_for = is_whole.then_some(wish);
        Ok(change)
    }

    /// Says whether there is any probe of it now.
    fn attach(
        &mut self,
        pid: Pid,
        file: FileId,
        is_cuda: bool,
        plan: &Plan,
        attacher: &mut Attacher,
        change: &mut Change,
    ) -> bool {
        let attached = attacher.attach(Scope::Process(pid), plan);
        for refused in &attached.refused {
            if self.refused.insert((Arc::clone(&plan.shown), Arc::clone(&refused.probe))) {
                let why = &refused.why as &dyn std::error::Error;
                warn!(
                    pid = pid.0,
                    file = &*plan.shown,
                    probe = &*refused.probe,
                    why,
                    "a probe is not attached"
                );
            }
        }
        if attached.slots.is_empty() {
            leave(attached.id, attacher);
            return false;
        }
        let mut by_engine = BTreeMap::new();
        for slot in attached.slots.iter().filter(|slot| slot.phase == gpu_agent_ebpf_abi::phase::ENTRY) {
            *by_engine.entry(Arc::clone(&slot.call.info.engine)).or_insert(0) += 1;
        }
        debug!(pid = pid.0, file = &*plan.shown, probes = attached.slots.len(), "attached");
        let slots = attached.slots.iter().map(|slot| (slot.slot, slot.generation)).collect();
        change.told.extend(attached.slots);
        self.attached.push(Held { file, is_cuda, id: attached.id, slots, by_engine });
        true
    }

    /// Watches the dynamic linker, if there is one; says whether that is new.
    fn watch(&mut self, pid: Pid, files: &[Mapped], source: &Source, attacher: &mut Attacher) -> bool {
        let Some((file, offset)) = source.notice(files) else {
            return false;
        };
        match attacher.watch_libraries(Scope::Process(pid), &file.path, file.load_bias, offset) {
            Ok(watch) => self.watch = Some(watch.id),
            Err(error) => debug!(pid = pid.0, %error, "the dynamic linker cannot be watched"),
        }
        self.watch.is_some()
    }

    /// Leaves everything; the slots that mean nothing any more.
    pub(super) fn clear(&mut self, attacher: &mut Attacher) -> Vec<(u32, u32)> {
        if let Some(watch) = self.watch.take() {
            leave(watch, attacher);
        }
        self.made_for = None;
        std::mem::take(&mut self.attached).into_iter().flat_map(|held| detach(held, attacher)).collect()
    }

    /// Whether new libraries are noticed.
    pub(super) fn is_watched(&self) -> bool {
        self.watch.is_some()
    }

    /// Whether the CUDA driver among them is a stand-in.
    pub(super) fn is_simulated(&self) -> bool {
        self.is_simulated
    }

    /// How many probes are attached, by engine.
    pub(super) fn by_engine(&self) -> Vec<(Arc<str>, usize)> {
        let mut sums = BTreeMap::<&Arc<str>, usize>::new();
        for (engine, count) in self.attached.iter().flat_map(|held| &held.by_engine) {
            *sums.entry(engine).or_default() += count;
        }
        sums.into_iter().map(|(engine, count)| (Arc::clone(engine), count)).collect()
    }

    /// Whether an engine's function is probed.
    pub(super) fn has_engine(&self) -> bool {
        self.attached.iter().any(|held| !held.is_cuda && !held.by_engine.is_empty())
    }
}

/// Whether the files of a process may be opened. Its list of files may be read by more than that takes (`CAP_PERFMON`, Linux 6.12).
pub(super) fn may_be_read(process: &Process) -> Result<(), ProcessError> {
    let path = process.path("exe");
    match std::fs::metadata(&path) {
        Err(source) if source.kind() == std::io::ErrorKind::PermissionDenied => {
            Err(ProcessError::Maps { path, source })
        }
        // Of a kernel thread, or a process that is gone, there is none, and nothing to probe either.
        _ => Ok(()),
    }
}

/// Why a file cannot be read, and the capability that is missing if one is: what has no path any more is opened by its mapping.
fn with_way_out(file: &str, why: &str, own: Capabilities) -> String {
    let missing = match own {
        _ if !file.ends_with(" (deleted)") => "",
        Capabilities { map_files: false, .. } => "CAP_CHECKPOINT_RESTORE",
        Capabilities { dac_read_search: false, .. } => "CAP_DAC_READ_SEARCH",
        _ => "",
    };
    match missing {
        "" => why.to_owned(),
        missing => format!("{why}; run the agent as root, or give it {missing}"),
    }
}

fn id(file: &Mapped) -> FileId {
    (file.device, file.inode)
}

/// The probes of engines, and those of CUDA's own functions: the latter come and go with CUPTI's records.
fn split(plan: Plan) -> [(bool, Plan); 2] {
    let Plan { file, shown, load_bias, probes } = plan;
    let (cuda, engine) = probes.into_iter().partition(|probe| probe.call.info.api.is_some());
    let part = |probes| Plan { file: file.clone(), shown: Arc::clone(&shown), load_bias, probes };
    [(false, part(engine)), (true, part(cuda))]
}

fn detach(held: Held, attacher: &mut Attacher) -> Vec<(u32, u32)> {
    leave(held.id, attacher);
    held.slots
}

fn leave(id: AttachmentId, attacher: &mut Attacher) {
    if let Err(error) = attacher.detach(id) {
        // The links are gone all the same; what stays is an entry in a map.
        debug!(%error, "detaching");
    }
}
