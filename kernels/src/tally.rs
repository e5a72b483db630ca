//! Ground truth: what was done to a device, counted exactly where it is done. Enter: one note per driver call that
//! succeeded; leaves: a [`Tally`] per thread. It counts and refuses nothing.
//!
//! A launch, copy or memset counts when it executes: one made during stream capture is a graph node, and counts
//! once per replay of its graph ([`Tally::add_replay`]).

use std::cell::RefCell;
use std::ops::AddAssign;

use crate::kernel::Kernel;

/// A number of operations and the bytes they moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Operations.
    pub count: u64,
    /// Bytes, together.
    pub bytes: u64,
}

impl Volume {
    /// Adds `count` operations of `bytes` each.
    pub fn add(&mut self, count: u64, bytes: u64) {
        self.count += count;
        self.bytes += count * bytes;
    }
}

impl AddAssign for Volume {
    fn add_assign(&mut self, other: Self) {
        self.count += other.count;
        self.bytes += other.bytes;
    }
}

/// Everything counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    launches: [u64; Kernel::COUNT],
    /// Calls of `cuLaunchKernel`, those that were captured into a graph included.
    pub launch_calls: u64,
    /// Calls of `cuGraphLaunch`.
    pub graph_launches: u64,
    /// Copies from host to device.
    pub htod: Volume,
    /// Copies from device to host.
    pub dtoh: Volume,
    /// Copies within a device.
    pub dtod: Volume,
    /// Memsets.
    pub memsets: Volume,
    /// Allocations of device memory.
    pub allocations: Volume,
    /// Frees of device memory.
    pub frees: u64,
    /// Allocations of pinned host memory.
    pub pinned_allocations: Volume,
    /// Frees of pinned host memory.
    pub pinned_frees: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            launches: [0; Kernel::COUNT],
            launch_calls: 0,
            graph_launches: 0,
            htod: Volume::default(),
            dtoh: Volume::default(),
            dtod: Volume::default(),
            memsets: Volume::default(),
            allocations: Volume::default(),
            frees: 0,
            pinned_allocations: Volume::default(),
            pinned_frees: 0,
        }
    }
}

impl Tally {
    /// Adds `count` executions of a kernel.
    pub fn launch(&mut self, kernel: Kernel, count: u64) {
        if let Some(launches) = self.launches.get_mut(kernel.index()) {
            *launches += count;
        }
    }

    /// Executions by kernel name, those that happened.
    pub fn launches(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Kernel::all()
            .zip(self.launches)
            .filter(|&(_, count)| count != 0)
            .map(|(kernel, count)| (kernel.name(), count))
    }

    /// Executions of all kernels.
    #[must_use]
    pub fn total_launches(&self) -> u64 {
        self.launches.iter().sum()
    }

    /// Adds `count` replays of a graph whose nodes are those of `nodes`.
    pub fn add_replay(&mut self, nodes: &Self, count: u64) {
        for (sum, launches) in self.launches.iter_mut().zip(nodes.launches) {
            *sum += launches * count;
        }
        let volumes = [
            (&mut self.htod, nodes.htod),
            (&mut self.dtoh, nodes.dtoh),
            (&mut self.dtod, nodes.dtod),
            (&mut self.memsets, nodes.memsets),
        ];
        for (sum, nodes) in volumes {
            sum.count += nodes.count * count;
            sum.bytes += nodes.bytes * count;
        }
        self.graph_launches += count;
    }
}

impl AddAssign<&Tally> for Tally {
    fn add_assign(&mut self, other: &Self) {
        for (sum, launches) in self.launches.iter_mut().zip(other.launches) {
            *sum += launches;
        }
        self.launch_calls += other.launch_calls;
        self.graph_launches += other.graph_launches;
        self.htod += other.htod;
        self.dtoh += other.dtoh;
        self.dtod += other.dtod;
        self.memsets += other.memsets;
        self.allocations += other.allocations;
        self.frees += other.frees;
        self.pinned_allocations += other.pinned_allocations;
        self.pinned_frees += other.pinned_frees;
    }
}

thread_local! {
    static TALLY: RefCell<Tally> = RefCell::new(Tally::default());
}

/// Notes something in the calling thread's tally.
pub fn note(note: impl FnOnce(&mut Tally)) {
    TALLY.with_borrow_mut(note);
}

/// The calling thread's tally, which starts again at zero.
#[must_use]
pub fn take() -> Tally {
    TALLY.take()
}

#[cfg(test)]
mod tests {
    use super::{Tally, Volume, note, take};
    use crate::element::Dtype;
    use crate::kernel::Kernel;

    #[test]
    fn a_replay_counts_each_node_once() {
        let mut nodes = Tally::default();
        nodes.launch(Kernel::gemm(Dtype::F32), 3);
        nodes.htod.add(2, 10);
        nodes.launch_calls = 3;
        let mut total = Tally::default();
        total.add_replay(&nodes, 5);
        assert_eq!(total.launches().collect::<Vec<_>>(), [("gemm_f32", 15)]);
        assert_eq!(total.htod, Volume { count: 10, bytes: 100 });
        assert_eq!((total.graph_launches, total.launch_calls), (5, 0));
    }

    #[test]
    fn threads_count_apart() {
        note(|tally| tally.memsets.add(1, 8));
        std::thread::spawn(|| assert_eq!(take(), Tally::default())).join().unwrap();
        assert_eq!(take().memsets, Volume { count: 1, bytes: 8 });
        assert_eq!(take(), Tally::default());
    }
}
