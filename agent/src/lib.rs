//! gpu-agent: the host agent.

pub mod aggregate;
pub mod classes;
pub mod cli;
pub mod clock;
pub mod config;
pub mod cuda;
pub mod decode;
pub mod event;
pub mod export;
pub mod health;
pub mod identity;
pub mod pipeline;
pub mod self_metrics;
pub mod semconv;
pub mod source;
pub mod table;
