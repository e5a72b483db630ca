//! One host thread of the workload. Enter: options and a context; leave: what it did, counted, and what the plan
//! says it should have done.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::checksum::Checksum;
use super::lane::Lane;
use super::options::{Options, Sizes};
use super::pacer::Pacer;
use super::plan::Plan;
use super::weights::Weights;
use crate::element::Element;
use crate::kernel::Kernel;
use crate::launch::runtime::Context;
use crate::launch::{LaunchError, preload};
use crate::random::Random;
use crate::tally::{self, Tally};

/// What a thread did.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    /// Everything, from its first allocation to its last free.
    pub(super) tally: Tally,
    /// The part before it was ready.
    pub(super) before_ready: Tally,
    /// What the plan says.
    pub(super) expected: Tally,
    /// Decode steps of all its lanes.
    pub(super) steps: u64,
    /// Checksum of its logits.
    pub(super) checksum: u64,
    /// Duration of the work between ready and the last synchronisation.
    pub(super) wall: Duration,
    /// CPU time of the thread in that duration.
    pub(super) cpu: Duration,
}

/// A thread's place in the workload.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) index: u32,
    pub(super) options: Arc<Options>,
    pub(super) sizes: Sizes,
    pub(super) context: Arc<Context>,
}

impl Worker {
    /// Prepares, says so on `ready`, waits for `go`, works, frees everything. `None`: told to stop before it began.
    pub(super) fn run<T: Element>(
        &self,
        ready: Sender<()>,
        go: &Receiver<()>,
    ) -> Result<Option<Outcome>, LaunchError> {
        let Self { options, sizes, context, .. } = self;
        context.bind()?;
        preload(kernels::<T>(sizes))?;
        let weights = Weights::<T>::new(context, sizes, options.seed)?;
        let mut lanes = (0..options.streams)
            .map(|lane| {
                let prompts = Random::new(options.seed, &[5, u64::from(self.index), u64::from(lane)]);
                Lane::new(context, *sizes, prompts)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let before_ready = tally::take();
        let told = ready.send(());
        // Whoever counts the ready ones learns of failed ones by the end of the channel.
        drop(ready);
        if told.is_err() || go.recv().is_err() {
            return Ok(None);
        }
        let (start, cpu) = (Instant::now(), thread_cpu());
        let plan = Plan::new(*sizes, options.dtype, options.graph);
        let mut checksum = Checksum::default();
        weights.upload(options.seed)?;
        lanes.iter().try_for_each(Lane::clear)?;
        self.drive(&plan, &weights, &mut lanes, &mut checksum)?;
        lanes.iter().try_for_each(Lane::synchronize)?;
        let (wall, cpu) = (start.elapsed(), thread_cpu().saturating_sub(cpu));
        std::thread::sleep(Duration::from_secs_f64(options.linger));

        let mut expected = plan.weights();
        for lane in &lanes {
            expected += &plan.lane(&lane.progress);
        }
        let steps = lanes.iter().map(|lane| lane.progress.steps).sum();
        drop(lanes);
        drop(weights);
        let mut tally = before_ready.clone();
        tally += &tally::take();
        Ok(Some(Outcome { tally, before_ready, expected, steps, checksum: checksum.value(), wall, cpu }))
    }

    /// Rounds of prefill and decode until a limit is reached; one round where there is none.
    fn drive<T: Element>(
        &self,
        plan: &Plan,
        weights: &Weights<T>,
        lanes: &mut [Lane<T>],
        checksum: &mut Checksum,
    ) -> Result<(), LaunchError> {
        let options = &*self.options;
        let start = Instant::now();
        let pacer = Pacer::new(options.rate, start);
        let expired = || options.seconds > 0.0 && start.elapsed().as_secs_f64() >= options.seconds;
        let streams = lanes.len() as u64;
        let mut budget = Budget::new(options.launches);
        let graph = options.graph.then(|| plan.step_launches());
        'rounds: while !expired() && budget.spend(streams * plan.prefill_launches()) {
            for lane in &mut *lanes {
                lane.start_prefill(weights, &pacer)?;
            }
            lanes.iter_mut().try_for_each(|lane| lane.finish(checksum))?;
            for step in 1..=options.tokens {
                if expired() || !budget.spend(streams * plan.step_launches()) {
                    break 'rounds;
                }
                for lane in &mut *lanes {
                    lane.start_step(weights, &pacer, graph)?;
                }
                lanes.iter_mut().try_for_each(|lane| lane.finish(checksum))?;
                if options.swap_every != 0 && step.is_multiple_of(options.swap_every) {
                    lanes.iter_mut().try_for_each(Lane::swap)?;
                }
                if options.fork_every != 0 && step.is_multiple_of(options.fork_every) && budget.spend(streams)
                {
                    lanes.iter_mut().try_for_each(|lane| lane.fork(&pacer))?;
                }
            }
            if options.seconds == 0.0 && options.launches == 0 {
                break;
            }
        }
        while let Some(lane) = lanes.first_mut()
            && budget.is_limited()
            && !expired()
            && budget.spend(1)
        {
            lane.filler(weights, &pacer)?;
        }
        Ok(())
    }
}

/// The kernels a run launches.
fn kernels<T: Element>(sizes: &Sizes) -> Vec<Kernel> {
    let dtype = T::DTYPE;
    let attention = if sizes.v2 {
        [
            Kernel::paged_attention_v2(dtype, sizes.head_size, sizes.block_size),
            Kernel::paged_attention_v2_reduce(dtype, sizes.head_size),
        ]
    } else {
        [Kernel::paged_attention_v1(dtype, sizes.head_size, sizes.block_size), None]
    };
    let others = [
        Kernel::reshape_and_cache,
        Kernel::gather_kv_cache,
        Kernel::copy_blocks,
        Kernel::rms_norm,
        Kernel::gemm,
    ];
    attention.into_iter().flatten().chain(others.map(|kernel| kernel(dtype))).collect()
}

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Launches that are left, where they are limited.
#[derive(Debug, PartialEq)]
struct Budget(Option<u64>);

impl Budget {
    /// 0: no limit.
    fn new(launches: u64) -> Self {
        Self((launches > 0).then_some(launches))
    }

    /// Takes `launches` off, if that many are left.
    fn spend(&mut self, launches: u64) -> bool {
        let Some(left) = self.0 else { return true };
        match left.checked_sub(launches) {
            Some(rest) => {
                self.0 = Some(rest);
                true
            }
            None => false,
        }
    }

    fn is_limited(&self) -> bool {
        self.0.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::Budget;

    #[test]
    fn a_budget_is_spent_whole_or_not_at_all() {
        let mut budget = Budget::new(10);
        assert!(budget.spend(7));
        assert!(!budget.spend(4));
        assert!(budget.spend(3));
        assert!(!budget.spend(1));
        assert!(Budget::new(0).spend(u64::MAX));
    }
}
