//! gpu-agent: the host agent.

pub mod aggregate;
pub mod classes;
pub mod clock;
pub mod event;
pub mod export;
pub mod semconv;
