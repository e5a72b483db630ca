//! The JSON line that the workload ends with. Enter: outcomes by device; leaves: one object under `workload`.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::options::Options;
use super::worker::Outcome;
use crate::tally::{Tally, Volume};

/// A thread's outcome and where it ran.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) device: u32,
    pub(super) outcome: Outcome,
}

/// A device that was used.
#[derive(Debug)]
pub(super) struct DeviceNote {
    pub(super) name: String,
    pub(super) simulated: bool,
}

/// Whether every thread did exactly what the plan says.
pub(super) fn matches_plan(placed: &[Placed]) -> bool {
    placed.iter().all(|placed| placed.outcome.tally == placed.outcome.expected)
}

/// The report; `devices` in order of their ordinals.
pub(super) fn report(options: &Options, devices: &[DeviceNote], placed: &[Placed]) -> Value {
    let mut fields = Map::new();
    let wall = placed.iter().map(|placed| placed.outcome.wall).max().unwrap_or_default();
    let cpu: Duration = placed.iter().map(|placed| placed.outcome.cpu).sum();
    let steps: u64 = placed.iter().map(|placed| placed.outcome.steps).sum();
    let checksum = placed.iter().fold(0u64, |sum, placed| sum.rotate_left(1) ^ placed.outcome.checksum);
    let header = json!({
        "device": devices.first().map(|device| device.name.as_str()),
        "simulated": devices.iter().any(|device| device.simulated),
        "threads": options.workers(),
        "streams": options.streams,
        "dtype": options.dtype.name(),
        "graph": options.graph,
        "seed": options.seed,
        "wall_seconds": wall.as_secs_f64(),
        "thread_cpu_seconds": cpu.as_secs_f64(),
        "steps": steps,
        "steps_per_second": steps as f64 / wall.as_secs_f64().max(1e-9),
        "tokens": steps * u64::from(options.batch),
        "checksum": format!("{checksum:016x}"),
        "matches_plan": matches_plan(placed),
    });
    extend(&mut fields, header);
    extend(&mut fields, tally_json(&sum(placed.iter().map(|placed| &placed.outcome.tally))));
    let before_ready = sum(placed.iter().map(|placed| &placed.outcome.before_ready));
    fields.insert("before_ready".into(), tally_json(&before_ready));
    if devices.len() > 1 {
        let devices: Vec<Value> = devices
            .iter()
            .zip(0..)
            .map(|(device, ordinal)| {
                let mut fields = Map::new();
                let header =
                    json!({"ordinal": ordinal, "device": device.name, "simulated": device.simulated});
                extend(&mut fields, header);
                let here = placed.iter().filter(|placed| placed.device == ordinal);
                extend(&mut fields, tally_json(&sum(here.map(|placed| &placed.outcome.tally))));
                Value::Object(fields)
            })
            .collect();
        fields.insert("devices".into(), Value::Array(devices));
    }
    json!({ "workload": fields })
}

fn sum<'a>(tallies: impl Iterator<Item = &'a Tally>) -> Tally {
    tallies.fold(Tally::default(), |mut sum, tally| {
        sum += tally;
        sum
    })
}

fn tally_json(tally: &Tally) -> Value {
    let launches: Map<String, Value> =
        tally.launches().map(|(name, count)| (name.to_owned(), count.into())).collect();
    json!({
        "launches": launches,
        "launches_total": tally.total_launches(),
        "launch_calls": tally.launch_calls,
        "graph_launches": tally.graph_launches,
        "copies": {
            "htod": volume(tally.htod),
            "dtoh": volume(tally.dtoh),
            "dtod": volume(tally.dtod),
        },
        "memsets": volume(tally.memsets),
        "allocations": volume(tally.allocations),
        "frees": tally.frees,
        "pinned_allocations": volume(tally.pinned_allocations),
        "pinned_frees": tally.pinned_frees,
    })
}

fn volume(volume: Volume) -> Value {
    json!({"count": volume.count, "bytes": volume.bytes})
}

fn extend(fields: &mut Map<String, Value>, more: Value) {
    if let Value::Object(more) = more {
        fields.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;

    use super::{DeviceNote, Placed, matches_plan, report};
    use crate::element::Dtype;
    use crate::kernel::Kernel;
    use crate::tally::Tally;
    use crate::workload::options::Options;
    use crate::workload::worker::Outcome;

    fn outcome(launches: u64) -> Outcome {
        let mut tally = Tally::default();
        tally.launch(Kernel::gemm(Dtype::F16), launches);
        tally.htod.add(1, 10 * launches);
        Outcome {
            expected: tally.clone(),
            tally,
            before_ready: Tally::default(),
            steps: launches,
            checksum: launches,
            wall: Duration::from_secs(2),
            cpu: Duration::from_secs(1),
        }
    }

    #[test]
    fn devices_are_told_apart_and_added_up() {
        let options = Options::parse_from(["workload", "--devices", "2"]);
        let note = |name: &str| DeviceNote { name: name.into(), simulated: true };
        let placed = [Placed { device: 0, outcome: outcome(3) }, Placed { device: 1, outcome: outcome(4) }];
        let value = report(&options, &[note("a"), note("b")], &placed);
        let workload = &value["workload"];
        assert_eq!(workload["launches"]["gemm_f16"], 7);
        assert_eq!(workload["copies"]["htod"], serde_json::json!({"count": 2, "bytes": 70}));
        assert_eq!(workload["devices"][1]["launches"]["gemm_f16"], 4);
        assert_eq!(workload["devices"][1]["device"], "b");
        assert_eq!(workload["steps_per_second"], 3.5);
        assert_eq!(workload["simulated"], true);
        assert_eq!(workload["matches_plan"], true);
    }

    #[test]
    fn a_difference_from_the_plan_is_told() {
        let mut placed = [Placed { device: 0, outcome: outcome(3) }];
        assert!(matches_plan(&placed));
        placed[0].outcome.expected.graph_launches += 1;
        assert!(!matches_plan(&placed));
    }
}
