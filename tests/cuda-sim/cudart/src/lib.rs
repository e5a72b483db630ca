//! Simulated libcudart.so.12 and libcudart.so.13.
