//! Simulated libcupti.so.12 and libcupti.so.13.
