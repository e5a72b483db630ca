//! The one table of public names: instruments, units, descriptions, attributes.
//!
//! Enters: nothing. Leaves: constants; `docs/metrics.md` is generated from them. Refuses: a name that is written
//! anywhere else.
//!
//! Names of the paged-attention family are exactly those that dashboards made for mistral.rs telemetry use.
//! Others follow OpenTelemetry's rules: dots in names, units by UCUM, no unit in the name. The Prometheus
//! exporter derives its names by the OpenTelemetry rules (dots to underscores, unit and `_total` suffixes).

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
