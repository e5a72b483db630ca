//! Times a case. Enter: a case and a stream; leave: host time of the calls, device time between two events, and
//! what follows from them. A sample is several iterations between two events, so that the resolution of events
//! (about half a microsecond) does not decide.

use std::rc::Rc;
use std::time::Instant;

use super::case::{Case, Cost, Operation};
use crate::launch::LaunchError;
use crate::launch::runtime::{Event, Stream};
use crate::reference::NumericalError;

/// A case whose buffers are on the device and whose result has been checked once.
pub struct Prepared {
    name: String,
    operation: Box<dyn Operation>,
    stream: Rc<Stream>,
    events: [Event; 2],
    error: NumericalError,
}

/// Nanoseconds per iteration, over samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Half of the samples were faster.
    pub p50: f64,
    /// Mean.
    pub mean: f64,
    /// Fastest.
    pub min: f64,
}

/// What was measured of a case.
#[derive(Clone, Debug)]
pub struct Measurement {
    /// The case.
    pub case: String,
    /// Samples taken.
    pub samples: u32,
    /// Iterations of each.
    pub batch: u32,
    /// Device time of an iteration: between events around a sample, so that gaps between launches count too.
    pub gpu_ns: Summary,
    /// Host time of the calls that enqueue an iteration.
    pub launch_ns: Summary,
    /// What an iteration costs.
    pub cost: Cost,
    /// Error of the result, found when the case was prepared.
    pub error: NumericalError,
}

impl Summary {
    /// Of samples, in nanoseconds per iteration; zeros where there are none.
    #[must_use]
    pub fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let middle = samples.get(samples.len() / 2).copied().unwrap_or_default();
        let mean = samples.iter().sum::<f64>() / samples.len().max(1) as f64;
        Self { p50: middle, mean, min: samples.first().copied().unwrap_or_default() }
    }
}

impl Prepared {
    /// Fills the case's buffers, runs it once and compares the result with the reference.
    ///
    /// # Errors
    /// What the driver returned.
    pub fn new(case: &Case, stream: &Rc<Stream>) -> Result<Self, LaunchError> {
        let mut operation = case.prepare(stream)?;
        operation.enqueue()?;
        stream.synchronize()?;
        let error = operation.error()?;
        let events = [Event::new()?, Event::new()?];
        Ok(Self { name: case.name(), operation, stream: Rc::clone(stream), events, error })
    }

    /// Name of the case.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `samples` samples of `batch` iterations each, after `warmup` iterations.
    ///
    /// # Errors
    /// What the driver returned.
    pub fn measure(&mut self, samples: u32, batch: u32, warmup: u32) -> Result<Measurement, LaunchError> {
        for _ in 0..warmup {
            self.operation.enqueue()?;
        }
        self.stream.synchronize()?;
        let (mut gpu, mut launch) = (Vec::new(), Vec::new());
        for _ in 0..samples {
            let (gpu_ns, launch_ns) = self.sample(batch)?;
            gpu.push(gpu_ns / f64::from(batch));
            launch.push(launch_ns / f64::from(batch));
        }
        Ok(Measurement {
            case: self.name.clone(),
            samples,
            batch,
            gpu_ns: Summary::of(gpu),
            launch_ns: Summary::of(launch),
            cost: self.operation.cost(),
            error: self.error,
        })
    }

    /// Device and host nanoseconds of `batch` iterations.
    fn sample(&mut self, batch: u32) -> Result<(f64, f64), LaunchError> {
        let [begin, end] = &self.events;
        begin.record(&self.stream)?;
        let start = Instant::now();
        for _ in 0..batch {
            self.operation.enqueue()?;
        }
        let launch_ns = start.elapsed().as_nanos() as f64;
        end.record(&self.stream)?;
        let gpu_ns = begin.elapsed_ns(end)?;
        self.stream.synchronize()?;
        Ok((gpu_ns, launch_ns))
    }
}

impl Measurement {
    /// Bytes per nanosecond of device time at the median: GB/s.
    #[must_use]
    pub fn gb_per_second(&self) -> f64 {
        per_ns(self.cost.bytes, self.gpu_ns.p50)
    }

    /// Operations per nanosecond of device time at the median: GFLOP/s.
    #[must_use]
    pub fn gflop_per_second(&self) -> f64 {
        per_ns(self.cost.flops, self.gpu_ns.p50)
    }
}

fn per_ns(amount: u64, ns: f64) -> f64 {
    if ns > 0.0 { amount as f64 / ns } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::Summary;

    #[test]
    fn a_summary_orders_its_samples() {
        assert_eq!(Summary::of(vec![9.0, 1.0, 2.0]), Summary { p50: 2.0, mean: 4.0, min: 1.0 });
        assert_eq!(Summary::of(Vec::new()), Summary { p50: 0.0, mean: 0.0, min: 0.0 });
    }
}
