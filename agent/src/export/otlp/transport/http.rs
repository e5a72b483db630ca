//! OTLP over HTTP, protobuf or JSON.
//!
//! Enters: a request. Leaves: the answer, or the status with the pause it asks for. Refuses: redirects: a receiver
//! that moved is a matter of configuration.

use std::io::Write;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use flate2::Compression as Level;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use prost::Message;

use super::{Answer, MAX_ANSWER_BYTES, Refusal, tls::TlsError};
use crate::export::otlp::encode::Request;
use crate::export::otlp::retry::{self, Retry};
use crate::export::otlp::{Compression, Config, Protocol};

/// An HTTP client.
#[derive(Debug)]
pub(in crate::export::otlp) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    endpoint: Uri,
    headers: HeaderMap,
    gzip: bool,
    json: bool,
}

impl Http {
    pub(super) fn new(config: &Config) -> Result<Self, TlsError> {
        let secure = config.endpoint.scheme() == Some(&http::uri::Scheme::HTTPS);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build(config.tls.connector(secure)?);
        let json = config.protocol == Protocol::HttpJson;
        let gzip = config.compression == Compression::Gzip;
        let mut headers = config.headers.clone();
        headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(super::USER_AGENT));
        let kind = if json { "application/json" } else { "application/x-protobuf" };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        if gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        Ok(Self { client, endpoint: config.endpoint.clone(), headers, gzip, json })
    }

    pub(super) async fn send(&mut self, request: &Request, _limit: Duration) -> Result<Answer, Refusal> {
        let body = self.body(request)?;
        let bytes = body.len() as u64;
        let mut message = http::Request::new(Full::new(body));
        *message.method_mut() = Method::POST;
        *message.uri_mut() = self.endpoint.clone();
        *message.headers_mut() = self.headers.clone();
        let answer = self.client.request(message).await.map_err(|error| Refusal::unreachable(&error))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
        if head.status == StatusCode::OK {
            let body = body.map_err(|error| Refusal::unreachable(&*error))?.to_bytes();
            return Ok(self.answer(&body, bytes));
        }
        let words = body.map(|body| self.words(&body.to_bytes())).unwrap_or_default();
        let after = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        Err(Refusal {
            reason: format!("HTTP status {}{words}", head.status),
            retry: retry::of_http(head.status, after, SystemTime::now()),
        })
    }

    fn body(&self, request: &Request) -> Result<Bytes, Refusal> {
        let broken = |error: &dyn std::error::Error| Refusal {
            reason: format!("cannot encode the request: {error}"),
            retry: Retry::Never,
        };
        let plain = if self.json {
            serde_json::to_vec(request).map_err(|error| broken(&error))?
        } else {
            request.encode_to_vec()
        };
        if !self.gzip {
            return Ok(plain.into());
        }
        let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 8), Level::fast());
        let written = encoder.write_all(&plain).and_then(|()| encoder.finish());
        Ok(written.map_err(|error| broken(&error))?.into())
    }

    /// A body that says nothing of partial success, or that cannot be read, is full success: the status is what
    /// counts.
    fn answer(&self, body: &[u8], bytes: u64) -> Answer {
        let message: ExportMetricsServiceResponse = if self.json {
            serde_json::from_slice(body).unwrap_or_default()
        } else {
            ExportMetricsServiceResponse::decode(body).unwrap_or_default()
        };
        let partial = message.partial_success.unwrap_or_default();
        let rejected = u64::try_from(partial.rejected_data_points).unwrap_or(0);
        Answer { rejected, message: partial.error_message, bytes }
    }

    /// What the receiver says about an error: a google.rpc.Status, or text.
    fn words(&self, body: &[u8]) -> String {
        let status = if self.json { None } else { tonic_types::pb::Status::decode(body).ok() };
        let words = match status {
            Some(status) if !status.message.is_empty() => status.message,
            _ => String::from_utf8_lossy(body).into_owned(),
        };
        let words: String = words.chars().filter(|letter| !letter.is_control()).take(200).collect();
        if words.is_empty() { words } else { format!(": {words}") }
    }
}
