//! gpu-agent: the host agent.

pub mod aggregate;
pub mod classes;
pub mod clock;
pub mod config;
pub mod cuda;
pub mod decode;
pub mod event;
pub mod export;
pub mod identity;
pub mod semconv;
pub mod source;
