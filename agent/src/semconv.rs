//! The one table of public names: instruments, units, descriptions, attributes.
//!
//! Enters: nothing. Leaves: constants; `docs/metrics.md` is generated from them. Refuses: a name that is written
//! anywhere else.
//!
//! Names of the paged-attention family are exactly those that dashboards made for mistral.rs telemetry use.
//! Others follow OpenTelemetry's rules: dots in names, units by UCUM, no unit in the name. The Prometheus
//! exporter derives its names by the OpenTelemetry rules (dots to underscores, unit and `_total` suffixes).

pub mod attribute;
mod bounds;
pub mod field;
pub mod instruments;

pub use instruments::INSTRUMENTS;

/// What an instrument measures, and how.
#[derive(Debug, PartialEq)]
pub struct Instrument {
    /// OpenTelemetry name.
    pub name: &'static str,
    /// Kind.
    pub kind: InstrumentKind,
    /// UCUM unit, `""` for none.
    pub unit: &'static str,
    /// One sentence for people.
    pub description: &'static str,
    /// Keys of its attributes, in their order.
    pub attributes: &'static [&'static str],
    /// Explicit bounds of a histogram, in its unit; empty for other kinds.
    pub bounds: &'static [f64],
}

/// Kind of an instrument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstrumentKind {
    /// Monotonic sum.
    Counter,
    /// Current value.
    Gauge,
    /// Distribution.
    Histogram,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{INSTRUMENTS, InstrumentKind};

    #[test]
    fn every_name_is_declared_once() {
        let names: BTreeSet<_> = INSTRUMENTS.iter().map(|instrument| instrument.name).collect();
        assert_eq!(names.len(), INSTRUMENTS.len());
    }

    #[test]
    fn histograms_and_only_histograms_have_ascending_bounds() {
        for instrument in INSTRUMENTS {
            let is_histogram = instrument.kind == InstrumentKind::Histogram;
            assert_eq!(is_histogram, !instrument.bounds.is_empty(), "{}", instrument.name);
            assert!(instrument.bounds.is_sorted_by(|a, b| a < b), "{}", instrument.name);
        }
    }

    #[test]
    fn a_duration_says_which_clock_it_was_measured_by() {
        for instrument in INSTRUMENTS {
            let is_duration = instrument.kind == InstrumentKind::Histogram && instrument.unit != "By";
            let has_clock = instrument.attributes.contains(&super::attribute::TIMING);
            assert_eq!(is_duration, has_clock, "{}", instrument.name);
        }
    }

    #[test]
    fn every_attribute_belongs_to_an_instrument() {
        let source = include_str!("semconv/attribute.rs");
        let keys = source.split("pub mod ").next().unwrap_or_default();
        let keys: Vec<_> = keys.lines().filter_map(|line| line.strip_prefix("pub const ")).collect();
        assert!(keys.len() > 20, "{keys:?}");
        for key in keys {
            let value = key.split('"').nth(1).unwrap();
            assert!(INSTRUMENTS.iter().any(|instrument| instrument.attributes.contains(&value)), "{key}");
        }
    }

    #[test]
    fn descriptions_are_sentences() {
        for instrument in INSTRUMENTS {
            assert!(instrument.description.ends_with('.'), "{}: {}", instrument.name, instrument.description);
        }
    }
}
