//! gpu-agent: the host agent.
//!
//! It shows what CUDA processes do on the GPU, without a change, a rebuild or a restart of them. A shim in each
//! process writes CUPTI's activity records into shared memory; this crate finds that memory, keeps the shim armed while it
//! listens, and turns the records into series, events and a table. Beside it, or without it, eBPF probes on the entry points of
//! inference engines show their calls and the tensors among the arguments.
//!
//! # The way of a record
//!
//! ```text
//!  target process                        agent
//!  ┌──────────────────────┐
//!  │ libcuda ─ CUPTI      │   /proc/PID/map_files, or an announcement
//!  │             │        │             │
//!  │           shim ──────┼─ ring ──► source::cupti      copies slots, counts what was lost
//!  │             ▲        │             │ 88 bytes each
//!  │             └────────┼─ control ◄──┤ lease           armed only while an agent renews it
//!  └──────────────────────┘             ▼
//!                                     decode             bytes → Event: pure, total
//!                                       │
//!   entry points ─ uprobes              │ ◄──────── correlate ◄─ decode ◄─ source::ebpf ◄─ BPF ring
//!        ▲                              │           entries and returns → Event: pure, bounded
//!        └── probes ◄─ symbols          ▼
//!                                     aggregate          Event → series: pure, bounded ──┐
//!                                       │                                               │ snapshots
//!                                       │ events, if a sink wants them                  ▼
//!                                       └─────────────────────────────────────────► export
//!                                                                         Prometheus · OTLP · JSON lines
//! ```
//!
//! One thread ([`pipeline`]) does everything up to the series: it looks into each ring 20 to 200 times a second, by how
//! full it was. A second one finds what can be probed and attaches it, which takes long. Exporters run on threads of their
//! own, and take snapshots, which cost the first thread the time of a copy.
//!
//! # Who may know whom
//!
//! Data flows one way, and so do imports: a later stage never imports an earlier one. `source` may know `decode`, `decode`
//! knows only [`event`]; `correlate` knows what calls mean (`probes::plan`), not where their records came from; `aggregate` knows `event`, the kernel classes and the names of instruments; exporters know
//! snapshots, never where they came from. `symbols` finds functions in files, and knows no probes. `decode` and `aggregate` know no clock, no file, no thread: time is an
//! argument. [`pipeline`] and [`cli`] compose, so they know all. A test in this file holds the crate to it.
//!
//! # What is never lost silently
//!
//! At each stage, what came in is passed on or counted under the name of what became of it ([`self_metrics::records`]):
//! dropped by CUPTI, unknown or malformed in the shim, over the budget, lost in the ring, unknown or malformed in the
//! decoder, dropped before a sink; and for probes ([`self_metrics::probe_records`]) filtered or lost in Linux, a return without its
//! entry, a call without its time. The numbers are exported beside the data, and tests add them up.
//!
//! # Words
//!
//! A *kernel* is a CUDA kernel. A *launch* is a host call, an *execution* is GPU time. *Lost* is overwritten in a ring,
//! *dropped* is thrown away at a full queue, an *orphan* lacks its other half. Times are CLOCK_MONOTONIC nanoseconds
//! (`ktime_ns`) until [`clock`] makes Unix time of them for an exporter.

pub mod aggregate;
pub mod bench;
pub mod capability;
pub mod classes;
pub mod cli;
pub mod clock;
pub mod config;
pub mod correlate;
pub mod cuda;
pub mod decode;
pub mod demangle;
pub mod doctor;
pub mod event;
pub mod export;
pub mod health;
pub mod identity;
pub mod inject;
pub mod maps;
pub mod pipeline;
pub mod probes;
pub mod root;
pub mod self_metrics;
pub mod semconv;
pub mod source;
pub mod symbols;
pub mod table;
pub mod terminal;

#[cfg(test)]
mod edges;
