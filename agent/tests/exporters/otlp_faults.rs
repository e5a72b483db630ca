//! Receivers that refuse, stall, vanish and talk nonsense, over real sockets.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use gpu_agent::export::otlp::{Compression, Exporter, GaveUp, Options, Protocol};
use gpu_agent::export::push::PushExporter;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use prost::Message;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tonic::Status;
use tonic::codec::CompressionEncoding;
use tonic_types::{ErrorDetails, StatusExt};

use super::otlp::exporter;
use super::rig::snapshot;

/// A request as a server saw it.
struct Seen {
    at: Instant,
    headers: HeaderMap,
    body: Bytes,
}

#[derive(Clone, Default)]
struct Server<T> {
    script: Arc<Mutex<VecDeque<T>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl<T> Server<T> {
    fn new(script: impl IntoIterator<Item = T>) -> Self {
        Self { script: Arc::new(Mutex::new(script.into_iter().collect())), seen: Arc::default() }
    }

    fn see(&self, headers: HeaderMap, body: Bytes) -> Option<T> {
        self.seen.lock().unwrap().push(Seen { at: Instant::now(), headers, body });
        self.script.lock().unwrap().pop_front()
    }

    fn requests(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// From the first request to the second.
    fn pause(&self) -> Duration {
        let seen = self.seen.lock().unwrap();
        seen[1].at - seen[0].at
    }
}

type Answer = Response<Full<Bytes>>;

/// An HTTP server that answers as scripted, then with 200.
async fn http(server: Server<Answer>) -> SocketAddr {
    http_at(server, "127.0.0.1:0").await
}

async fn http_at(server: Server<Answer>, address: &str) -> SocketAddr {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let server = server.clone();
            let service = service_fn(move |request: http::Request<Incoming>| {
                let server = server.clone();
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    Ok::<_, Infallible>(server.see(head.headers, body).unwrap_or_default())
                }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    address
}

/// A gRPC server that fails as scripted, then succeeds.
#[tonic::async_trait]
impl MetricsService for Server<Status> {
    async fn export(
        &self,
        request: tonic::Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, Status> {
        let headers = request.metadata().clone().into_headers();
        match self.see(headers, request.into_inner().encode_to_vec().into()) {
            Some(status) => Err(status),
            None => Ok(tonic::Response::new(ExportMetricsServiceResponse::default())),
        }
    }
}

async fn grpc(server: Server<Status>) -> SocketAddr {
    grpc_at(server, "127.0.0.1:0").await
}

async fn grpc_at(server: Server<Status>, address: &str) -> SocketAddr {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = MetricsServiceServer::new(server).accept_compressed(CompressionEncoding::Gzip);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service.clone()));
            tokio::spawn(connection);
        }
    });
    address
}

fn to(address: SocketAddr, protocol: Protocol) -> Options {
    Options { endpoint: Some(format!("http://{address}")), protocol: Some(protocol), ..Options::default() }
}

async fn push(exporter: &mut Exporter, seconds: u64) -> Result<(), GaveUp> {
    exporter.export(snapshot(1, 1), Instant::now() + Duration::from_secs(seconds)).await
}

fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
    let mut response = Response::builder().status(StatusCode::from_u16(status).unwrap());
    for (key, value) in headers {
        response = response.header(*key, *value);
    }
    response.body(Full::new(body.into())).unwrap()
}

#[tokio::test]
async fn http_429_and_503_are_retried_when_retry_after_says() {
    for (status, date) in [(503, false), (429, false), (503, true)] {
        // A date has whole seconds: three from now is at least two.
        let in_three_seconds = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3));
        let (after, least) = if date { (in_three_seconds.as_str(), 1500) } else { ("1", 1000) };
        let server = Server::new([answer(status, &[("retry-after", after)], "")]);
        let mut exporter = exporter(to(http(server.clone()).await, Protocol::HttpProtobuf));
        push(&mut exporter, 20).await.unwrap();
        assert_eq!(server.requests(), 2);
        let pause = server.pause();
        assert!(
            pause >= Duration::from_millis(least) && pause < Duration::from_secs(5),
            "{after}: {pause:?}"
        );
        assert_eq!(exporter.stats().retries.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test]
async fn http_refusals_are_final_and_the_receivers_words_are_passed_on() {
    let status =
        tonic_types::pb::Status { code: 3, message: "no such tenant".to_owned(), details: Vec::new() };
    for (refusal, words) in [
        (answer(400, &[], status.encode_to_vec()), "no such tenant"),
        (answer(401, &[], "who are you?"), "who are you?"),
        (answer(404, &[], ""), "404"),
        (answer(500, &[("retry-after", "1")], "oops"), "oops"),
        (answer(307, &[("location", "http://127.0.0.1:1/")], ""), "307"),
        (answer(413, &[], vec![b'x'; 1 << 20]), "413"),
    ] {
        let server = Server::new([refusal]);
        let mut exporter = exporter(to(http(server.clone()).await, Protocol::HttpProtobuf));
        let error = push(&mut exporter, 20).await.unwrap_err();
        assert!(matches!(error, GaveUp::Refused { .. }), "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(server.requests(), 1);
    }
}

#[tokio::test]
async fn a_200_with_nonsense_in_it_counts_as_taken() {
    for body in ["not protobuf at all".into(), Bytes::from(vec![0xff; 1000])] {
        let server = Server::new([answer(200, &[], body)]);
        let mut exporter = exporter(to(http(server.clone()).await, Protocol::HttpProtobuf));
        push(&mut exporter, 20).await.unwrap();
        assert_eq!(server.requests(), 1);
    }
}

#[tokio::test]
async fn json_is_what_the_protocol_calls_json() {
    let server = Server::new([]);
    let options = Options {
        compression: Some(Compression::None),
        ..to(http(server.clone()).await, Protocol::HttpJson)
    };
    push(&mut exporter(options), 20).await.unwrap();
    let seen = server.seen.lock().unwrap();
    assert_eq!(seen[0].headers["content-type"], "application/json");
    let json: serde_json::Value = serde_json::from_slice(&seen[0].body).unwrap();
    let metrics = &json["resourceMetrics"][0]["scopeMetrics"][0]["metrics"];
    assert_eq!(metrics[0]["name"], "paged_attention_calls");
    let point = &metrics[0]["sum"]["dataPoints"][0];
    assert_eq!(point["startTimeUnixNano"], "1700000000000000000", "64-bit numbers are text in OTLP's JSON");
    assert_eq!(metrics[0]["sum"]["isMonotonic"], true);
}

#[tokio::test]
async fn grpc_unavailable_is_retried_and_retry_info_is_heeded() {
    let details = || ErrorDetails::with_retry_info(Some(Duration::from_secs(1)));
    for (status, least) in [
        (Status::unavailable("restarting"), Duration::from_millis(250)),
        (Status::with_error_details(tonic::Code::Unavailable, "busy", details()), Duration::from_secs(1)),
        (
            Status::with_error_details(tonic::Code::ResourceExhausted, "full", details()),
            Duration::from_secs(1),
        ),
    ] {
        let server = Server::new([status.clone()]);
        let mut exporter = exporter(to(grpc(server.clone()).await, Protocol::Grpc));
        push(&mut exporter, 20).await.unwrap_or_else(|error| panic!("{status:?}: {error}"));
        assert_eq!(server.requests(), 2);
        assert!(
            server.pause() >= least && server.pause() < Duration::from_secs(5),
            "{status:?}: {:?}",
            server.pause()
        );
    }
}

#[tokio::test]
async fn grpc_refusals_are_final() {
    for status in [
        Status::resource_exhausted("and no hint when to come back"),
        Status::unimplemented("no such service"),
        Status::unauthenticated("who are you?"),
        Status::invalid_argument("bad points"),
    ] {
        let words = status.message().to_owned();
        let server = Server::new([status]);
        let mut exporter = exporter(to(grpc(server.clone()).await, Protocol::Grpc));
        let error = push(&mut exporter, 20).await.unwrap_err();
        assert!(matches!(error, GaveUp::Refused { .. }) && error.to_string().contains(&words), "{error}");
        assert_eq!(server.requests(), 1);
    }
}

#[tokio::test]
async fn grpc_requests_are_compressed_and_carry_their_headers_and_time_limit() {
    let server = Server::new([]);
    let options = Options {
        compression: Some(Compression::Gzip),
        headers: Some("x-tenant=a".parse().unwrap()),
        ..to(grpc(server.clone()).await, Protocol::Grpc)
    };
    push(&mut exporter(options), 20).await.unwrap();
    let seen = server.seen.lock().unwrap();
    assert_eq!(seen[0].headers["x-tenant"], "a");
    assert_eq!(seen[0].headers["grpc-encoding"], "gzip");
    assert!(seen[0].headers["user-agent"].to_str().unwrap().starts_with("gpu-agent/"));
    assert!(seen[0].headers.contains_key("grpc-timeout"));
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_is_late_and_says_what_to_look_at() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for protocol in [Protocol::Grpc, Protocol::HttpProtobuf] {
        let mut exporter = exporter(to(free, protocol));
        let started = Instant::now();
        let error = push(&mut exporter, 2).await.unwrap_err();
        assert!(started.elapsed() < Duration::from_secs(3));
        let words = error.to_string();
        assert!(matches!(error, GaveUp::Late { .. }), "{words}");
        assert!(words.contains("refused") && words.contains("--otlp-endpoint"), "{words}");
        assert!(exporter.stats().retries.load(Ordering::Relaxed) > 0);
    }
}

#[tokio::test]
async fn an_endpoint_that_accepts_and_says_nothing_is_given_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    for protocol in [Protocol::Grpc, Protocol::HttpProtobuf] {
        let mut exporter =
            exporter(Options { timeout_ms: Some("500".parse().unwrap()), ..to(address, protocol) });
        let started = Instant::now();
        let error = push(&mut exporter, 2).await.unwrap_err();
        assert!(matches!(error, GaveUp::Late { .. }), "{error}");
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    }
}

#[tokio::test]
async fn an_endpoint_that_speaks_something_else_is_an_error_not_a_crash() {
    for greeting in
        ["SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n", ""]
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _cut = tokio::io::AsyncWriteExt::write_all(&mut stream, greeting.as_bytes()).await;
            }
        });
        for protocol in [Protocol::Grpc, Protocol::HttpProtobuf] {
            push(&mut exporter(to(address, protocol)), 1).await.unwrap_err();
        }
    }
}

#[tokio::test]
async fn an_endpoint_that_comes_back_gets_the_next_push() {
    for protocol in [Protocol::Grpc, Protocol::HttpProtobuf] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let mut exporter = exporter(to(address, protocol));
        push(&mut exporter, 1).await.unwrap_err();
        match protocol {
            Protocol::Grpc => grpc_at(Server::new([]), &address.to_string()).await,
            _ => http_at(Server::new([]), &address.to_string()).await,
        };
        push(&mut exporter, 20).await.unwrap();
    }
}
