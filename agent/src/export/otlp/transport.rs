//! How requests travel.
//!
//! Enters: a request. Leaves: what the receiver said. Refuses: redirects, and answers longer than 64 KiB.
//!
//! gRPC and HTTP share one client: hyper, with one TLS configuration. HTTP/2 is kept alive with pings, so that a
//! connection that went dead without a word is noticed before the next push.

use std::time::Duration;

use super::encode::Request;
use super::retry::Retry;
use super::{Config, Protocol};

mod grpc;
mod http;
pub(super) mod tls;

/// Longest answer that is read, bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// What OTLP exporters are asked to say about themselves.
const USER_AGENT: &str = concat!("gpu-agent/", env!("CARGO_PKG_VERSION"));

/// A way to a receiver. Tests put a simulated one here.
pub(super) trait Transport: Send + 'static {
    /// One attempt. The caller enforces `limit`; it is here so that the receiver can be told.
    fn send(
        &mut self,
        request: &Request,
        limit: Duration,
    ) -> impl Future<Output = Result<Answer, Refusal>> + Send;
}

/// A request that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Answer {
    /// Points that were refused all the same (partial success).
    pub(super) rejected: u64,
    /// The receiver's words, often empty.
    pub(super) message: String,
    /// Bytes of the body: over gRPC before compression, over HTTP after.
    pub(super) bytes: u64,
}

/// A request that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// For people.
    pub(super) reason: String,
    /// Whether to try again.
    pub(super) retry: Retry,
}

impl Refusal {
    /// No answer within `limit`.
    pub(super) fn slow(limit: Duration) -> Self {
        Self { reason: format!("no answer within {} ms", limit.as_millis()), retry: Retry::Later(None) }
    }

    /// No connection, or it broke: worth another attempt.
    fn unreachable(error: &dyn std::error::Error) -> Self {
        Self { reason: chain(error), retry: Retry::Later(None) }
    }
}

/// An error with all its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

/// The way a configuration asks for.
#[derive(Debug)]
pub(super) enum Connection {
    Grpc(Box<grpc::Grpc>),
    Http(Box<http::Http>),
}

impl Connection {
    pub(super) fn new(config: &Config) -> Result<Self, tls::TlsError> {
        Ok(match config.protocol {
            Protocol::Grpc => Self::Grpc(Box::new(grpc::Grpc::new(config)?)),
            Protocol::HttpProtobuf | Protocol::HttpJson => Self::Http(Box::new(http::Http::new(config)?)),
        })
    }
}

impl Transport for Connection {
    async fn send(&mut self, request: &Request, limit: Duration) -> Result<Answer, Refusal> {
        match self {
            Self::Grpc(grpc) => grpc.send(request, limit).await,
            Self::Http(http) => http.send(request, limit).await,
        }
    }
}
