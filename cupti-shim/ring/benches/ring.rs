//! Ring write and read, against their stated baselines.
fn main() {}
