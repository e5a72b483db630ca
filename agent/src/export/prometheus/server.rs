//! The HTTP server behind the endpoint.
//!
//! Enters: connections. Leaves: answers. Refuses: anything but GET and HEAD, heads over 8 KiB or 64 headers, request
//! bodies, clients that stall.

use std::convert::Infallible;
use std::io::{self, BufWriter, Cursor, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::header::{ACCEPT, ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, VARY};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_io_timeout::TimeoutStream;
use tracing::{debug, warn};

use super::encode::{EncodeError, Format, encode};
use super::{Endpoint, negotiate};
use crate::aggregate::snapshot::Snapshot;
use crate::export::resource::Resource;
use crate::export::{ExportStats, Verdict, Wiring};

/// Room for a request's head; the smallest that hyper accepts.
const MAX_HEAD_BYTES: usize = 8 * 1024;
/// Headers in a request.
const MAX_HEADERS: usize = 64;
/// How long a kept-alive connection may be silent.
const IDLE: Duration = Duration::from_secs(90);
/// Speed over size: the network is near, the agent's time is not free.
const GZIP_LEVEL: Compression = Compression::fast();
/// Bytes that are packed or unpacked at a time.
const BLOCK_BYTES: usize = 64 * 1024;
/// After a failed accept (out of file descriptors), before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A running endpoint.
#[derive(Debug)]
pub struct Serving {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Serving {
    /// Takes no more requests, finishes those under way within `limit`, then closes.
    pub async fn shutdown(mut self, limit: Duration) {
        if self.stop.send(true).is_err() {
            return;
        }
        if tokio::time::timeout(limit, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

pub(super) fn start(endpoint: Endpoint, wiring: Wiring) -> io::Result<Serving> {
    let listener = TcpListener::from_std(endpoint.listener)?;
    let site = Arc::new(Site {
        wiring,
        resource: endpoint.resource,
        stats: endpoint.stats,
        rendering: Mutex::new(()),
    });
    let (stop, stopped) = watch::channel(false);
    let limits = Limits { timeout: endpoint.config.timeout, connections: endpoint.config.max_connections };
    let task = tokio::spawn(accept(listener, site, limits, stopped));
    Ok(Serving { stop, task })
}

/// What is sent: whole, or unpacked on the way.
type Body = Either<Full<Bytes>, Unpacked>;

#[derive(Debug, Clone, Copy)]
struct Limits {
    timeout: Duration,
    connections: usize,
}

async fn accept(listener: TcpListener, site: Arc<Site>, limits: Limits, mut stopped: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = stopped.changed() => break,
            accepted = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, listener.accept().await)
            } => accepted,
        };
        match accepted {
            (Ok(place), Ok((stream, _peer))) => {
                let connection = serve(stream, Arc::clone(&site), limits.timeout, stopped.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            (_, Err(error)) => {
                warn!(%error, "cannot accept a connection to the metrics endpoint");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            (Err(_closed), _) => break,
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve(stream: TcpStream, site: Arc<Site>, timeout: Duration, mut stopped: watch::Receiver<bool>) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(timeout));
    stream.set_read_timeout(Some(IDLE));
    let service = service_fn(move |request| {
        let site = Arc::clone(&site);
        async move { Ok::<_, Infallible>(site.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(timeout)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    tokio::pin!(connection);
    let result = tokio::select! {
        result = &mut connection => result,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        debug!(%error, "a connection to the metrics endpoint ended early");
    }
}

struct Site {
    wiring: Wiring,
    resource: Arc<Resource>,
    stats: Arc<ExportStats>,
    /// One rendering at a time: their memory does not add up.
    rendering: Mutex<()>,
}

impl Site {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD.\n");
            response.headers_mut().insert(ALLOW, http::HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match request.uri().path() {
            "/metrics" => self.metrics(request.headers()).await,
            "/healthz" => health(self.wiring.health.live()),
            "/readyz" => health(self.wiring.health.ready()),
            "/" => plain(StatusCode::OK, "gpu-agent\n\n/metrics\n/healthz\n/readyz\n"),
            _ => plain(StatusCode::NOT_FOUND, "There are /metrics, /healthz and /readyz.\n"),
        }
    }

    async fn metrics(&self, headers: &HeaderMap) -> Response<Body> {
        let header = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
        let format = negotiate::format(header(ACCEPT));
        let gzip = negotiate::gzip(header(ACCEPT_ENCODING));
        let rendering = self.rendering.lock().await;
        let started = Instant::now();
        let source = Arc::clone(&self.wiring.source);
        let resource = Arc::clone(&self.resource);
        let rendered = tokio::task::spawn_blocking(move || -> Result<_, EncodeError> {
            let snapshot = source.snapshot();
            let points: usize = snapshot.families.iter().map(|family| family.points.len()).sum();
            Ok((points as u64, render(&snapshot, &resource, format)?))
        })
        .await;
        drop(rendering);
        match rendered {
            Ok(Ok((points, packed))) => {
                self.stats.succeeded(points, packed.len() as u64, started.elapsed());
                let response = Response::builder().header(CONTENT_TYPE, format.content_type());
                let response = response.header(VARY, "accept, accept-encoding");
                let response = if gzip { response.header(CONTENT_ENCODING, "gzip") } else { response };
                let body =
                    if gzip { Either::Left(packed.into()) } else { Either::Right(Unpacked::new(packed)) };
                response.body(body).unwrap_or_else(|error| self.failed(&error.to_string(), started))
            }
            Ok(Err(error)) => self.failed(&error.to_string(), started),
            Err(error) => self.failed(&error.to_string(), started),
        }
    }

    fn failed(&self, error: &str, started: Instant) -> Response<Body> {
        warn!(error, "a scrape could not be answered");
        self.stats.gave_up(0, started.elapsed());
        plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"))
    }
}

/// The body, compressed: tens of megabytes of text are then a few hundred kilobytes while they wait for the client.
fn render(snapshot: &Arc<Snapshot>, resource: &Arc<Resource>, format: Format) -> Result<Bytes, EncodeError> {
    let mut encoder = BufWriter::with_capacity(BLOCK_BYTES, GzEncoder::new(Vec::new(), GZIP_LEVEL));
    encode(snapshot, resource, format, &mut encoder)?;
    let encoder = encoder.into_inner().map_err(|error| EncodeError::Output(error.into_error()))?;
    Ok(encoder.finish()?.into())
}

/// A body for clients that do not take gzip, unpacked as they read it.
struct Unpacked {
    decoder: GzDecoder<Cursor<Bytes>>,
}

impl Unpacked {
    fn new(packed: Bytes) -> Self {
        Self { decoder: GzDecoder::new(Cursor::new(packed)) }
    }
}

impl hyper::body::Body for Unpacked {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let mut block = vec![0; BLOCK_BYTES];
        Poll::Ready(match self.decoder.read(&mut block) {
            Ok(0) => None,
            Ok(count) => {
                block.truncate(count);
                Some(Ok(Frame::data(block.into())))
            }
            Err(error) => Some(Err(error)),
        })
    }
}

fn health(verdict: Verdict) -> Response<Body> {
    let status = if verdict.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    plain(status, verdict.detail)
}

fn plain(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::new(body.into())));
    *response.status_mut() = status;
    let kind = http::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
