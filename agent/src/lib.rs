//! gpu-agent: the host agent.

pub mod aggregate;
pub mod event;
pub mod export;
pub mod semconv;
