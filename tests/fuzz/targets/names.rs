//! Kernel names of any content: demangled, shortened, classed.
//!
//! Enters: any text up to the ring's limit. Leaves: the ways it went. Refuses: a name that takes longer than
//! [`LIMIT`], since a hostile process may send thousands of them.

use std::time::{Duration, Instant};

use gpu_agent::classes::Classifier;
use gpu_agent_ring::layout::MAX_NAME_BYTES;

use super::Run;
use super::program::{Ways, magnitude};

/// Far above what a name takes, with room for a machine that is busy with other things.
const LIMIT: Duration = Duration::from_secs(1);

pub(super) fn make() -> Run {
    let classifier = Classifier::bundled().expect("the bundled rules");
    Box::new(move |input| {
        let raw = String::from_utf8_lossy(input.get(..MAX_NAME_BYTES).unwrap_or(input));
        let started = Instant::now();
        let name = classifier.classify(&raw);
        assert!(started.elapsed() < LIMIT, "{} bytes took {:?}", raw.len(), started.elapsed());
        let mut ways = Ways::default();
        ways.note((name.class.name(), name.operation.is_some()));
        ways.note(("length", magnitude(name.display.len() as u64), name.display.len() < raw.len()));
        ways.into_numbers()
    })
}
