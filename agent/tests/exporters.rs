//! The exporters against independent counterparts: Prometheus and promtool, the OpenMetrics parser of Prometheus'
//! Python client, OTLP receivers made of Google's protobuf, and servers that misbehave.
//!
//! A counterpart that cannot be had here (no python3, no prometheus) is skipped with a line that says so.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

mod exporters {
    mod json_log;
    mod otlp;
    mod otlp_faults;
    mod otlp_rotel;
    mod otlp_tls;
    mod prometheus;
    mod prometheus_faults;
    mod rig;
}
