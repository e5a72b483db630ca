//! BPF programs in real processes: what they count, and what they read, to the last number.
//!
//! Runs where BPF programs can be loaded, as root; else each test says why not. Every test holds the counters to their sum.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must say so at once"
)]

mod probes_ebpf {
    mod calls;
    mod files;
    mod load;
    mod loss;
    mod reads;
    mod rig;
    mod scope;
}
