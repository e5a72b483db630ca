//! OTLP over gRPC.
//!
//! Enters: a request. Leaves: the answer, or the status with the pause it asks for. Refuses: nothing of its own.

use std::time::Duration;

use http::Uri;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use prost::Message;
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic_types::StatusExt;

use super::{Answer, MAX_ANSWER_BYTES, Refusal, USER_AGENT, tls::TlsError};
use crate::export::otlp::encode::Request;
use crate::export::otlp::retry;
use crate::export::otlp::{Compression, Config};

/// Silence after which a connection is asked whether it lives, and how long it may take to say so.
const PING_AFTER: Duration = Duration::from_secs(20);
const PING_WITHIN: Duration = Duration::from_secs(10);

type Channel = Client<HttpsConnector<HttpConnector>, Body>;

/// A gRPC client.
#[derive(Debug)]
pub(in crate::export::otlp) struct Grpc {
    client: MetricsServiceClient<Channel>,
    metadata: MetadataMap,
}

impl Grpc {
    pub(super) fn new(config: &Config) -> Result<Self, TlsError> {
        let secure = config.endpoint.scheme() == Some(&http::uri::Scheme::HTTPS);
        let channel = Client::builder(TokioExecutor::new())
            .http2_only(true)
            .timer(TokioTimer::new())
            .http2_keep_alive_interval(PING_AFTER)
            .http2_keep_alive_timeout(PING_WITHIN)
            .http2_keep_alive_while_idle(true)
            .build(config.tls.connector(secure)?);
        let mut client = MetricsServiceClient::with_origin(channel, origin(&config.endpoint))
            .max_decoding_message_size(MAX_ANSWER_BYTES);
        if config.compression == Compression::Gzip {
            client = client
                .send_compressed(CompressionEncoding::Gzip)
                .accept_compressed(CompressionEncoding::Gzip);
        }
        let mut headers = config.headers.clone();
        headers.entry(http::header::USER_AGENT).or_insert(http::HeaderValue::from_static(USER_AGENT));
        Ok(Self { client, metadata: MetadataMap::from_headers(headers) })
    }

    pub(super) async fn send(&mut self, request: &Request, limit: Duration) -> Result<Answer, Refusal> {
        let bytes = request.encoded_len() as u64;
        let mut message = tonic::Request::new(request.clone());
        *message.metadata_mut() = self.metadata.clone();
        message.set_timeout(limit);
        match self.client.export(message).await {
            Ok(answer) => {
                let partial = answer.into_inner().partial_success.unwrap_or_default();
                let rejected = u64::try_from(partial.rejected_data_points).unwrap_or(0);
                Ok(Answer { rejected, message: partial.error_message, bytes })
            }
            Err(status) => Err(refusal(&status)),
        }
    }
}

/// The endpoint without its path: gRPC has its own.
fn origin(endpoint: &Uri) -> Uri {
    let mut parts = endpoint.clone().into_parts();
    parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
    Uri::from_parts(parts).unwrap_or_else(|_invalid| endpoint.clone())
}

fn refusal(status: &tonic::Status) -> Refusal {
    let transport: Option<&dyn std::error::Error> = std::error::Error::source(status);
    if let Some(error) = transport {
        return Refusal::unreachable(error);
    }
    let asked = status.get_details_retry_info().and_then(|info| info.retry_delay);
    Refusal {
        reason: format!("gRPC status {:?}: {}", status.code(), status.message()),
        retry: retry::of_grpc(status.code(), asked),
    }
}
