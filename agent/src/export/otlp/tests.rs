//! Faults of a receiver, in simulated time: what is retried, when, and that nothing is lost or sent twice.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point;
use proptest::prelude::*;

use super::retry::Retry;
use super::transport::{Answer, Refusal};
use super::*;
use crate::aggregate::snapshot::{Exponential, Family, Histogram, Point, Value};
use crate::semconv::{Instrument, InstrumentKind};

static CALLS: Instrument = Instrument {
    name: "test.calls",
    kind: InstrumentKind::Counter,
    unit: "",
    description: "Calls.",
    attributes: &["k"],
    bounds: &[],
};
static TIME: Instrument = Instrument {
    name: "test.time",
    kind: InstrumentKind::Histogram,
    unit: "s",
    description: "Time.",
    attributes: &["k"],
    bounds: &[1.0],
};
static LEVEL: Instrument = Instrument {
    name: "test.level",
    kind: InstrumentKind::Gauge,
    unit: "",
    description: "Level.",
    attributes: &["k"],
    bounds: &[],
};

/// What the simulated receiver does with a request.
#[derive(Debug, Clone)]
enum Does {
    Take,
    TakeInPart(u64),
    Refuse(Retry),
    Hang,
}

#[derive(Debug, Default)]
struct Log {
    script: VecDeque<Does>,
    /// Seconds since the start, for each attempt.
    attempts: Vec<u64>,
    taken: Vec<encode::Request>,
}

#[derive(Debug)]
struct Simulated {
    started: Instant,
    log: Arc<Mutex<Log>>,
}

impl Transport for Simulated {
    async fn send(&mut self, request: &encode::Request, _limit: Duration) -> Result<Answer, Refusal> {
        let does = {
            let mut log = self.log.lock().unwrap();
            log.attempts.push(self.started.elapsed().as_secs());
            log.script.pop_front().unwrap_or(Does::Take)
        };
        let rejected = match does {
            Does::Take => 0,
            Does::TakeInPart(rejected) => rejected,
            Does::Refuse(retry) => return Err(Refusal { reason: "scripted".to_owned(), retry }),
            Does::Hang => std::future::pending().await,
        };
        self.log.lock().unwrap().taken.push(request.clone());
        Ok(Answer { rejected, message: String::new(), bytes: 1 })
    }
}

struct Rig {
    core: Core<Simulated>,
    log: Arc<Mutex<Log>>,
}

impl Rig {
    fn new(temporality: Temporality, script: impl IntoIterator<Item = Does>) -> Self {
        let log = Arc::new(Mutex::new(Log { script: script.into_iter().collect(), ..Log::default() }));
        let resource = Resource::default();
        let core = Core {
            transport: Simulated { started: Instant::now(), log: Arc::clone(&log) },
            encoder: Encoder::new(&resource, temporality, Histograms::Explicit),
            acknowledged: Acknowledged::default(),
            backoff: Backoff::default(),
            not_before: None,
            timeout: Duration::from_secs(10),
            stats: Arc::new(ExportStats::new("otlp")),
        };
        Self { core, log }
    }

    async fn push(&mut self, snapshot: &Snapshot) -> Result<(), GaveUp> {
        self.core.export(snapshot, Instant::now() + Duration::from_secs(30)).await
    }

    fn attempts(&self) -> Vec<u64> {
        self.log.lock().unwrap().attempts.clone()
    }

    /// By series: the sum of what was taken (for cumulative temporality, the last).
    fn received(&self) -> BTreeMap<(String, String), i64> {
        let mut sums = BTreeMap::new();
        for request in &self.log.lock().unwrap().taken {
            let metrics =
                request.resource_metrics.iter().flat_map(|r| &r.scope_metrics).flat_map(|s| &s.metrics);
            for metric in metrics {
                let add: Vec<(String, i64)> = match metric.data.as_ref().unwrap() {
                    Data::Sum(sum) => {
                        sum.data_points.iter().map(|p| (key(&p.attributes), int(p.value))).collect()
                    }
                    Data::Histogram(data) => {
                        data.data_points.iter().map(|p| (key(&p.attributes), p.count as i64)).collect()
                    }
                    _ => continue,
                };
                for (series, value) in add {
                    let sum = sums.entry((metric.name.clone(), series)).or_insert(0);
                    *sum = if self.core.encoder.is_cumulative() { value } else { *sum + value };
                }
            }
        }
        sums
    }

    fn stat(&self, of: fn(&ExportStats) -> &std::sync::atomic::AtomicU64) -> u64 {
        of(&self.core.stats).load(Ordering::Relaxed)
    }
}

fn key(attributes: &[opentelemetry_proto::tonic::common::v1::KeyValue]) -> String {
    format!("{:?}", attributes.first().and_then(|pair| pair.value.clone()).and_then(|value| value.value))
}

fn int(value: Option<number_data_point::Value>) -> i64 {
    match value {
        Some(number_data_point::Value::AsInt(value)) => value,
        other => panic!("{other:?}"),
    }
}

fn point(series: usize, value: Value) -> Point {
    Point { attributes: Arc::new([("k", format!("s{series}").into())]), start_unix_ns: 7, value }
}

/// Counters with these totals, a histogram with as many observations, and a gauge each.
fn snapshot(unix_ns: u64, totals: &[u64]) -> Snapshot {
    let points = |make: fn(u64) -> Value| {
        totals.iter().enumerate().map(|(series, total)| point(series, make(*total))).collect()
    };
    let histogram = |total| {
        Value::Histogram(Histogram {
            count: total,
            sum: total as f64 * 0.5,
            min: 0.5,
            max: 0.5,
            explicit: vec![total, 0],
            exponential: Exponential { scale: 0, zero_count: 0, offset: -2, counts: vec![total] },
        })
    };
    Snapshot {
        unix_ns,
        families: vec![
            Family { instrument: &CALLS, points: points(Value::Counter) },
            Family { instrument: &TIME, points: points(histogram) },
            Family { instrument: &LEVEL, points: points(|total| Value::Gauge(total as f64)) },
        ],
    }
}

fn totals(of: &[u64]) -> BTreeMap<(String, String), i64> {
    let rig = |name: &str, series: usize| (name.to_owned(), key_of(series));
    of.iter()
        .enumerate()
        .filter(|(_, total)| **total > 0)
        .flat_map(|(series, total)| {
            [(rig("test.calls", series), *total as i64), (rig("test.time", series), *total as i64)]
        })
        .collect()
}

fn key_of(series: usize) -> String {
    let value = opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue(format!("s{series}"));
    format!("{:?}", Some(value))
}

#[tokio::test(start_paused = true)]
async fn cumulative_totals_are_sent_whole_each_time() {
    let mut rig = Rig::new(Temporality::Cumulative, []);
    rig.push(&snapshot(1, &[5, 6])).await.unwrap();
    rig.push(&snapshot(2, &[5, 9])).await.unwrap();
    assert_eq!(rig.received(), totals(&[5, 9]));
    assert_eq!(rig.stat(|stats| &stats.exported), 12);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_names_a_pause_gets_exactly_that() {
    let throttled = Does::Refuse(Retry::Later(Some(Duration::from_secs(5))));
    let mut rig = Rig::new(Temporality::Cumulative, [throttled.clone(), throttled]);
    rig.push(&snapshot(1, &[1])).await.unwrap();
    assert_eq!(rig.attempts(), [0, 5, 10]);
    assert_eq!(rig.stat(|stats| &stats.retries), 2);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_asks_for_no_pause_is_not_hammered() {
    let impatient = std::iter::repeat_n(Does::Refuse(Retry::Later(Some(Duration::ZERO))), 1000);
    let mut rig = Rig::new(Temporality::Cumulative, impatient);
    rig.push(&snapshot(1, &[1])).await.unwrap_err();
    let attempts = rig.attempts().len();
    assert!((4..=9).contains(&attempts), "{attempts} attempts");
}

#[tokio::test(start_paused = true)]
async fn a_pause_longer_than_the_push_is_kept_over_the_pushes_that_follow() {
    let throttled = Does::Refuse(Retry::Later(Some(Duration::from_secs(100))));
    let mut rig = Rig::new(Temporality::Delta, [throttled]);
    for push in 1..=5 {
        let arrived = rig.push(&snapshot(push, &[push])).await;
        assert_eq!(arrived.is_ok(), push == 5, "push {push}: {arrived:?}");
        tokio::time::sleep(Duration::from_secs(20)).await;
    }
    assert_eq!(rig.attempts(), [0, 100]);
    assert_eq!(rig.received(), totals(&[5]));
}

#[tokio::test(start_paused = true)]
async fn a_pause_has_an_upper_limit() {
    let throttled = Does::Refuse(Retry::Later(Some(Duration::from_secs(1_000_000))));
    let mut rig = Rig::new(Temporality::Cumulative, [throttled]);
    rig.push(&snapshot(1, &[1])).await.unwrap_err();
    tokio::time::sleep(retry::LONGEST_THROTTLE).await;
    rig.push(&snapshot(2, &[1])).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_down_is_retried_with_growing_pauses_until_the_push_is_late() {
    let down = std::iter::repeat_n(Does::Refuse(Retry::Later(None)), 1000);
    let mut rig = Rig::new(Temporality::Cumulative, down);
    let started = Instant::now();
    let error = rig.push(&snapshot(1, &[1])).await.unwrap_err();
    assert!(started.elapsed() <= Duration::from_secs(30), "{:?}", started.elapsed());
    let attempts = rig.attempts().len();
    assert!((4..=9).contains(&attempts), "{attempts} attempts: {error}");
    assert_eq!(rig.stat(|stats| &stats.failed), 3);
    assert_eq!(rig.stat(|stats| &stats.failures), 1);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_hangs_is_given_up_after_the_timeout_and_tried_again() {
    let mut rig = Rig::new(Temporality::Cumulative, [Does::Hang]);
    rig.push(&snapshot(1, &[1])).await.unwrap();
    assert_eq!(rig.attempts().len(), 2);
    assert!((10..=11).contains(&rig.attempts()[1]), "{:?}", rig.attempts());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_for_good_is_not_retried_and_the_next_push_carries_its_points() {
    let mut rig = Rig::new(Temporality::Delta, [Does::Refuse(Retry::Never)]);
    let error = rig.push(&snapshot(1, &[3])).await.unwrap_err();
    assert!(matches!(error, GaveUp::Refused { .. }), "{error}");
    assert_eq!(rig.attempts().len(), 1);
    rig.push(&snapshot(2, &[4])).await.unwrap();
    assert_eq!(rig.received(), totals(&[4]));
}

#[tokio::test(start_paused = true)]
async fn partial_success_is_counted_and_not_sent_again() {
    let mut rig = Rig::new(Temporality::Delta, [Does::TakeInPart(2)]);
    rig.push(&snapshot(1, &[3])).await.unwrap();
    assert_eq!(rig.stat(|stats| &stats.rejected), 2);
    assert_eq!(rig.stat(|stats| &stats.exported), 1);
    rig.push(&snapshot(2, &[3])).await.unwrap();
    assert_eq!(rig.attempts().len(), 2);
    assert_eq!(rig.received(), totals(&[3]), "the second push had nothing new but the gauge");
}

#[tokio::test(start_paused = true)]
async fn gone_for_twenty_minutes_costs_no_point_and_no_memory() {
    let mut rig = Rig::new(Temporality::Delta, []);
    rig.push(&snapshot(0, &[1, 1])).await.unwrap();
    let baselines = rig.core.acknowledged.len();
    rig.log.lock().unwrap().script = std::iter::repeat_n(Does::Refuse(Retry::Later(None)), 10_000).collect();
    for minute in 1..=20 {
        rig.push(&snapshot(minute, &[minute, 1000 * minute])).await.unwrap_err();
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(rig.core.acknowledged.len(), baselines, "nothing piles up");
    }
    rig.log.lock().unwrap().script.clear();
    rig.push(&snapshot(21, &[21, 21_000])).await.unwrap();
    assert_eq!(rig.received(), totals(&[21, 21_000]));
}

#[tokio::test(start_paused = true)]
async fn a_push_that_arrived_in_part_is_completed_not_repeated() {
    let many = vec![4; POINTS_PER_REQUEST];
    let mut rig = Rig::new(Temporality::Delta, [Does::Take, Does::Refuse(Retry::Never)]);
    rig.push(&snapshot(1, &many)).await.unwrap_err();
    assert_eq!(rig.stat(|stats| &stats.exported), POINTS_PER_REQUEST as u64);
    assert_eq!(rig.stat(|stats| &stats.failed), 2 * POINTS_PER_REQUEST as u64);
    rig.push(&snapshot(2, &many)).await.unwrap();
    assert_eq!(rig.received(), totals(&many));
}

#[tokio::test(start_paused = true)]
async fn a_series_that_began_anew_is_sent_from_its_own_start() {
    let mut rig = Rig::new(Temporality::Delta, []);
    rig.push(&snapshot(1, &[10])).await.unwrap();
    let mut again = snapshot(2, &[4]);
    for family in &mut again.families {
        family.points[0].start_unix_ns = 2;
    }
    rig.push(&again).await.unwrap();
    assert_eq!(rig.received(), totals(&[14]));
}

#[tokio::test(start_paused = true)]
async fn series_that_are_gone_leave_no_baseline() {
    let mut rig = Rig::new(Temporality::Delta, []);
    rig.push(&snapshot(1, &[1, 2, 3])).await.unwrap();
    assert_eq!(rig.core.acknowledged.len(), 6);
    rig.push(&snapshot(2, &[1])).await.unwrap();
    assert_eq!(rig.core.acknowledged.len(), 2);
    rig.push(&Snapshot { unix_ns: 3, families: Vec::new() }).await.unwrap();
    assert_eq!(rig.core.acknowledged.len(), 0);
}

fn outcome() -> impl Strategy<Value = Does> {
    prop_oneof![
        3 => Just(Does::Take),
        1 => (1_u64..3).prop_map(Does::TakeInPart),
        2 => Just(Does::Refuse(Retry::Later(None))),
        1 => (1_u64..90).prop_map(|pause| Does::Refuse(Retry::Later(Some(Duration::from_secs(pause))))),
        1 => Just(Does::Refuse(Retry::Never)),
        1 => Just(Does::Hang),
    ]
}

proptest! {
    #[test]
    fn whatever_the_receiver_does_deltas_add_up_to_the_totals(
        script in prop::collection::vec(outcome(), 0..40),
        steps in prop::collection::vec(prop::collection::vec(0_u64..5, 3), 1..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut rig = Rig::new(Temporality::Delta, script);
            let mut sums = vec![0_u64; 3];
            for (index, step) in steps.iter().enumerate() {
                for (sum, add) in sums.iter_mut().zip(step) {
                    *sum += add;
                }
                let _may_fail = rig.push(&snapshot(index as u64 + 1, &sums)).await;
                tokio::time::sleep(Duration::from_secs(60)).await;
            }
            rig.log.lock().unwrap().script.clear();
            tokio::time::sleep(Duration::from_secs(700)).await;
            rig.push(&snapshot(1000, &sums)).await.unwrap();
            prop_assert_eq!(rig.received(), totals(&sums));
            Ok(())
        })?;
    }
}
