//! The ring between two sides that do not trust each other: threads, forked processes, hostile files.
//!
//! Enters: rings made by the real writer, or by hand. Leaves: nothing. Refuses: mocks; every ring here is a sealed
//! memfd, every other process a real one.
#![allow(unsafe_code, reason = "fork, raw mappings and C strings are what is tested")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod control;
mod forked;
mod header;
mod hostile;
mod interning;
mod lease;
mod loss;
mod memfd;
mod records;
