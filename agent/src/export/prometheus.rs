//! The Prometheus endpoint: `/metrics`, `/healthz`, `/readyz`.
//!
//! Enters: HTTP requests. Leaves: the newest snapshot in the format the scraper prefers, gzip where it is welcome.
//! Refuses: to be a burden: connections, header size, idle and transfer times are bounded; one scrape is rendered
//! at a time, off the pipeline's threads.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use crate::config::options;
use crate::config::value::{Listen, Millis, variable};
use crate::export::resource::Resource;
use crate::export::{ExportStats, Wiring};

pub mod encode;
pub mod name;
mod negotiate;
mod server;

pub use server::Serving;

options! {
    /// The HTTP endpoint for Prometheus and for health probes.
    pub struct Options["prometheus"] {
        /// Where to serve /metrics, /healthz and /readyz: host:port, or `off`. OTEL_EXPORTER_PROMETHEUS_HOST, _PORT.
        listen: Listen, "listen", "GPU_AGENT_LISTEN", default "127.0.0.1:9400", value_name = "ADDRESS";
        /// Connections served at once; more wait in the kernel's queue.
        max_connections: usize, "listen-max-connections", "GPU_AGENT_LISTEN_MAX_CONNECTIONS", default "32",
            value_name = "COUNT";
        /// How long a client may take to send its request, or to take any part of the answer.
        timeout_ms: Millis, "listen-timeout-ms", "GPU_AGENT_LISTEN_TIMEOUT_MS", default "10000",
            value_name = "TIME";
    }
}

impl Options {
    /// What the OpenTelemetry variables say: their default host is localhost, their default port 9464.
    #[must_use]
    pub fn from_otel(look_up: &dyn Fn(&str) -> Option<String>) -> Self {
        let host: Option<String> = variable("OTEL_EXPORTER_PROMETHEUS_HOST", look_up);
        let port: Option<u16> = variable("OTEL_EXPORTER_PROMETHEUS_PORT", look_up);
        let listen = (host.is_some() || port.is_some()).then(|| {
            let host = host.unwrap_or_else(|| "localhost".to_owned());
            Listen::At(format!("{host}:{}", port.unwrap_or(9464)))
        });
        Self { listen, ..Self::default() }
    }

    /// With defaults; `None` where the endpoint is off.
    #[must_use]
    pub fn resolve(self) -> Option<Config> {
        match self.listen.unwrap_or_else(|| Listen::At("127.0.0.1:9400".to_owned())) {
            Listen::Off => None,
            Listen::At(address) => Some(Config {
                address,
                max_connections: self.max_connections.unwrap_or(32).max(1),
                timeout: self.timeout_ms.map_or(Duration::from_secs(10), Millis::duration),
            }),
        }
    }
}

/// Where and how to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `host:port`.
    pub address: String,
    /// Connections at once.
    pub max_connections: usize,
    /// For a request's head, and for any stall of a transfer.
    pub timeout: Duration,
}

/// Why the endpoint cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else listens there.
    #[error(
        "cannot serve metrics at {address}: the port is taken (another gpu-agent or exporter?). \
         Choose another with --listen HOST:PORT, or none with --listen off"
    )]
    Taken {
        /// The address asked for.
        address: String,
        /// The system's words.
        source: io::Error,
    },
    /// Any other reason.
    #[error("cannot serve metrics at {address}: {source}. Choose another address with --listen HOST:PORT")]
    Listen {
        /// The address asked for.
        address: String,
        /// The system's words.
        source: io::Error,
    },
}

impl Config {
    /// Takes the port.
    pub fn build(self, resource: Arc<Resource>) -> Result<Endpoint, Error> {
        let listen = || {
            let listener = TcpListener::bind(&self.address)?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        let (listener, address) = listen().map_err(|source: io::Error| {
            let address = self.address.clone();
            match source.kind() {
                io::ErrorKind::AddrInUse => Error::Taken { address, source },
                _ => Error::Listen { address, source },
            }
        })?;
        let stats = Arc::new(ExportStats::new("prometheus"));
        Ok(Endpoint { config: self, listener, address, resource, stats })
    }
}

/// A taken port, not yet served.
#[derive(Debug)]
pub struct Endpoint {
    config: Config,
    listener: TcpListener,
    address: SocketAddr,
    resource: Arc<Resource>,
    stats: Arc<ExportStats>,
}

impl Endpoint {
    /// The address, with the port that was really taken.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Scrapes: exported points, bytes, time.
    #[must_use]
    pub fn stats(&self) -> Arc<ExportStats> {
        Arc::clone(&self.stats)
    }

    /// Serves until [`Serving::shutdown`]. Needs a tokio runtime.
    pub fn start(self, wiring: Wiring) -> io::Result<Serving> {
        server::start(self, wiring)
    }
}

#[cfg(test)]
mod tests;
