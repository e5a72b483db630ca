//! What a user may say about OTLP: flags and file keys, and the variables of the OpenTelemetry specification.
//!
//! Enters: options by place. Leaves: a checked [`Config`], or `None` where OTLP was not asked for. Refuses: endpoints
//! and headers that cannot be used, naming the option.
//!
//! Sources: OpenTelemetry specification 1.50, "OpenTelemetry Protocol Exporter", "Environment Variables",
//! "Metrics Exporters / OTLP". A variable of the metrics signal goes before the one for all signals.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use opentelemetry_otlp as otel;
use tracing::warn;

use super::Config;
use super::transport::tls::Files;
use crate::config::options;
use crate::config::value::{Millis, Pairs, ValueError, deserialize_from_str, variable};
use crate::export::push::Schedule;

options! {
    /// OTLP metrics. Off unless `enabled`, or an endpoint is given, or OTEL_METRICS_EXPORTER says `otlp`.
    pub struct Options["otlp"] {
        /// Whether to send. OTEL_METRICS_EXPORTER, OTEL_SDK_DISABLED.
        enabled: bool, "otlp", "GPU_AGENT_OTLP", default "true where an endpoint is given, else false",
            num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL";
        /// Where to, for all signals: over HTTP, /v1/metrics is appended. OTEL_EXPORTER_OTLP_ENDPOINT.
        endpoint: String, "otlp-endpoint", "GPU_AGENT_OTLP_ENDPOINT",
            default "http://localhost:4317 (gRPC), http://localhost:4318 (HTTP)", value_name = "URL";
        /// Where to, for metrics: used as it is. OTEL_EXPORTER_OTLP_METRICS_ENDPOINT.
        metrics_endpoint: String, "otlp-metrics-endpoint", "GPU_AGENT_OTLP_METRICS_ENDPOINT",
            default "from endpoint", value_name = "URL";
        /// `grpc`, `http/protobuf` or `http/json`. OTEL_EXPORTER_OTLP_PROTOCOL.
        protocol: Protocol, "otlp-protocol", "GPU_AGENT_OTLP_PROTOCOL", default "grpc", value_name = "PROTOCOL";
        /// Sent with every request: `key=value,key=value`, percent-encoded. OTEL_EXPORTER_OTLP_HEADERS.
        headers: Pairs, "otlp-headers", "GPU_AGENT_OTLP_HEADERS", default "none", value_name = "PAIRS";
        /// `gzip` or `none`. OTEL_EXPORTER_OTLP_COMPRESSION.
        compression: Compression, "otlp-compression", "GPU_AGENT_OTLP_COMPRESSION", default "none",
            value_name = "NAME";
        /// For one attempt. OTEL_EXPORTER_OTLP_TIMEOUT.
        timeout_ms: Millis, "otlp-timeout-ms", "GPU_AGENT_OTLP_TIMEOUT_MS", default "10000", value_name = "TIME";
        /// From one push to the next. OTEL_METRIC_EXPORT_INTERVAL.
        period_ms: Millis, "metrics-period-ms", "GPU_AGENT_METRICS_PERIOD_MS", default "60000",
            visible_alias = "metrics-period", value_name = "TIME";
        /// For one push, retries included. OTEL_METRIC_EXPORT_TIMEOUT.
        push_timeout_ms: Millis, "metrics-timeout-ms", "GPU_AGENT_METRICS_TIMEOUT_MS", default "30000",
            value_name = "TIME";
        /// PEM file of the authorities to trust, instead of the system's. OTEL_EXPORTER_OTLP_CERTIFICATE.
        certificate_file: PathBuf, "otlp-certificate", "GPU_AGENT_OTLP_CERTIFICATE", default "the system's",
            value_name = "FILE";
        /// PEM file of the agent's own certificate chain. OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE.
        client_certificate_file: PathBuf, "otlp-client-certificate", "GPU_AGENT_OTLP_CLIENT_CERTIFICATE",
            default "none", value_name = "FILE";
        /// PEM file of its private key. OTEL_EXPORTER_OTLP_CLIENT_KEY.
        client_key_file: PathBuf, "otlp-client-key", "GPU_AGENT_OTLP_CLIENT_KEY", default "none",
            value_name = "FILE";
        /// No TLS, where a gRPC endpoint has no scheme. OTEL_EXPORTER_OTLP_INSECURE.
        insecure: bool, "otlp-insecure", "GPU_AGENT_OTLP_INSECURE", default "false", num_args = 0..=1,
            require_equals = true, default_missing_value = "true", value_name = "BOOL";
        /// `cumulative`, `delta` or `lowmemory` (here the same as delta).
        /// OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE.
        temporality: Temporality, "otlp-temporality", "GPU_AGENT_OTLP_TEMPORALITY", default "cumulative",
            value_name = "NAME";
        /// `explicit_bucket_histogram` or `base2_exponential_bucket_histogram`.
        /// OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION.
        histograms: Histograms, "otlp-histograms", "GPU_AGENT_OTLP_HISTOGRAMS",
            default "explicit_bucket_histogram", value_name = "NAME";
    }
}

/// Declares an enum that is written as one of a few words.
macro_rules! words {
    ($($(#[doc = $about:literal])+ $name:ident: $expecting:literal {
        $($(#[doc = $help:literal])+ $variant:ident = $word:literal,)+
    })*) => {$(
        $(#[doc = $about])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {$($(#[doc = $help])+ $variant,)+}

        impl FromStr for $name {
            type Err = ValueError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text.to_ascii_lowercase().as_str() {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(ValueError(format!("`{text}` is not {}", $expecting))),
                }
            }
        }

        deserialize_from_str! { $name, $expecting; }
    )*};
}

words! {
    /// Wire formats.
    Protocol: "`grpc`, `http/protobuf` or `http/json`" {
        /// gRPC.
        Grpc = "grpc",
        /// Protobuf in HTTP bodies.
        HttpProtobuf = "http/protobuf",
        /// JSON in HTTP bodies.
        HttpJson = "http/json",
    }
    /// Compression of bodies.
    Compression: "`gzip` or `none`" {
        /// As they are.
        None = "none",
        /// gzip.
        Gzip = "gzip",
    }
    /// What counters and histograms are counted from.
    Temporality: "`cumulative`, `delta` or `lowmemory`" {
        /// The start of the series.
        Cumulative = "cumulative",
        /// What the receiver last acknowledged.
        Delta = "delta",
        /// As delta: the agent has no asynchronous counters, the only ones that differ.
        LowMemory = "lowmemory",
    }
    /// Which buckets histograms are sent in.
    Histograms: "`explicit_bucket_histogram` or `base2_exponential_bucket_histogram`" {
        /// The instrument's bounds.
        Explicit = "explicit_bucket_histogram",
        /// Exponential.
        Exponential = "base2_exponential_bucket_histogram",
    }
}

// Names that opentelemetry-otlp 0.33 does not export.
const CERTIFICATE: [&str; 2] = ["OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"];
const CLIENT_CERTIFICATE: [&str; 2] =
    ["OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"];
const CLIENT_KEY: [&str; 2] = ["OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_KEY"];
const HISTOGRAMS: &str = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION";

impl Options {
    /// What the OpenTelemetry variables say.
    #[must_use]
    pub fn from_otel(look_up: &dyn Fn(&str) -> Option<String>) -> Self {
        let disabled: Option<Boolean> = variable("OTEL_SDK_DISABLED", look_up);
        let exporters: Option<String> = variable("OTEL_METRICS_EXPORTER", look_up);
        let selected = exporters.map(|list| names_otlp(&list));
        Self {
            enabled: if disabled == Some(Boolean(true)) { Some(false) } else { selected },
            endpoint: variable(otel::OTEL_EXPORTER_OTLP_ENDPOINT, look_up),
            metrics_endpoint: variable(otel::OTEL_EXPORTER_OTLP_METRICS_ENDPOINT, look_up),
            protocol: either(
                [otel::OTEL_EXPORTER_OTLP_METRICS_PROTOCOL, otel::OTEL_EXPORTER_OTLP_PROTOCOL],
                look_up,
            ),
            headers: either(
                [otel::OTEL_EXPORTER_OTLP_METRICS_HEADERS, otel::OTEL_EXPORTER_OTLP_HEADERS],
                look_up,
            ),
            compression: either(
                [otel::OTEL_EXPORTER_OTLP_METRICS_COMPRESSION, otel::OTEL_EXPORTER_OTLP_COMPRESSION],
                look_up,
            ),
            timeout_ms: either(
                [otel::OTEL_EXPORTER_OTLP_METRICS_TIMEOUT, otel::OTEL_EXPORTER_OTLP_TIMEOUT],
                look_up,
            ),
            period_ms: variable("OTEL_METRIC_EXPORT_INTERVAL", look_up),
            push_timeout_ms: variable("OTEL_METRIC_EXPORT_TIMEOUT", look_up),
            certificate_file: either(CERTIFICATE, look_up),
            client_certificate_file: either(CLIENT_CERTIFICATE, look_up),
            client_key_file: either(CLIENT_KEY, look_up),
            insecure: either(
                [otel::OTEL_EXPORTER_OTLP_METRICS_INSECURE, otel::OTEL_EXPORTER_OTLP_INSECURE],
                look_up,
            )
            .map(|Boolean(value)| value),
            temporality: variable(otel::OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE, look_up),
            histograms: variable(HISTOGRAMS, look_up),
        }
    }

    /// Each key from `self` where it has it, else from `lower`. Naming an endpoint asks for OTLP, whatever a lower
    /// place says, and replaces both kinds of endpoint there.
    #[must_use]
    pub fn over(self, mut lower: Self) -> Self {
        if self.endpoint.is_some() || self.metrics_endpoint.is_some() {
            lower.endpoint = None;
            lower.metrics_endpoint = None;
            lower.enabled = Some(true);
        }
        self.or(lower)
    }

    /// With defaults, checked; `None` where OTLP was not asked for.
    pub fn resolve(self) -> Result<Option<Config>, ConfigError> {
        let given = self.endpoint.is_some() || self.metrics_endpoint.is_some();
        if !self.enabled.unwrap_or(given) {
            return Ok(None);
        }
        let protocol = self.protocol.unwrap_or(Protocol::Grpc);
        let endpoint = endpoint(
            protocol,
            self.endpoint.as_deref(),
            self.metrics_endpoint.as_deref(),
            self.insecure.unwrap_or(false),
        )?;
        let period = self.period_ms.map_or(Duration::from_secs(60), Millis::duration);
        if period.is_zero() {
            return Err(ConfigError::Period);
        }
        Ok(Some(Config {
            protocol,
            endpoint,
            headers: headers(self.headers.unwrap_or_default())?,
            compression: self.compression.unwrap_or(Compression::None),
            timeout: self.timeout_ms.map_or(otel::OTEL_EXPORTER_OTLP_TIMEOUT_DEFAULT, Millis::duration),
            schedule: Schedule {
                period,
                timeout: self.push_timeout_ms.map_or(Duration::from_secs(30), Millis::duration),
            },
            tls: Files {
                authorities: self.certificate_file,
                certificate: self.client_certificate_file,
                key: self.client_key_file,
            },
            temporality: self.temporality.unwrap_or(Temporality::Cumulative),
            histograms: self.histograms.unwrap_or(Histograms::Explicit),
        }))
    }
}

/// `true` and `false` in any case, as the specification wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Boolean(bool);

impl FromStr for Boolean {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "true" => Ok(Self(true)),
            "false" => Ok(Self(false)),
            _ => Err(ValueError("it is not `true` or `false`".to_owned())),
        }
    }
}

/// Whether the list in OTEL_METRICS_EXPORTER names OTLP. Names of exporters that the agent has not are ignored with a
/// warning.
fn names_otlp(list: &str) -> bool {
    let names = || list.split(',').map(str::trim);
    for unknown in names().filter(|name| !matches!(*name, "otlp" | "prometheus" | "none")) {
        warn!(exporter = unknown, "OTEL_METRICS_EXPORTER names an exporter that there is not");
    }
    names().any(|name| name == "otlp")
}

fn either<T: FromStr<Err: std::fmt::Display>>(
    names: [&str; 2],
    look_up: &dyn Fn(&str) -> Option<String>,
) -> Option<T> {
    names.into_iter().find_map(|name| variable(name, look_up))
}

/// Why OTLP cannot be used as asked.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not a URL.
    #[error("the OTLP endpoint `{endpoint}` is not a URL: {reason}. Write it like http://localhost:4317")]
    Endpoint {
        /// As given.
        endpoint: String,
        /// What is wrong.
        reason: String,
    },
    /// A header that HTTP does not allow. Its value may be a secret and is not shown.
    #[error("the OTLP header `{0}` has a name or a value that HTTP does not allow")]
    Header(String),
    /// No period.
    #[error("the metrics period is 0: give --metrics-period-ms a time")]
    Period,
}

fn headers(pairs: Pairs) -> Result<HeaderMap, ConfigError> {
    let mut headers = HeaderMap::new();
    for (key, value) in pairs.0 {
        let name = HeaderName::from_str(&key).ok();
        let value = HeaderValue::from_str(&value).ok();
        let Some((name, mut value)) = name.zip(value) else { return Err(ConfigError::Header(key)) };
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

fn endpoint(
    protocol: Protocol,
    general: Option<&str>,
    metrics: Option<&str>,
    insecure: bool,
) -> Result<Uri, ConfigError> {
    let given = match (metrics, general, protocol) {
        (Some(metrics), _, _) => metrics.to_owned(),
        (None, Some(general), Protocol::Grpc) => general.to_owned(),
        (None, Some(general), _) => format!("{}/v1/metrics", general.trim_end_matches('/')),
        (None, None, Protocol::Grpc) => "http://localhost:4317".to_owned(),
        (None, None, _) => "http://localhost:4318/v1/metrics".to_owned(),
    };
    let wrong = |reason: &str| ConfigError::Endpoint { endpoint: given.clone(), reason: reason.to_owned() };
    let whole = match protocol {
        Protocol::Grpc if !given.contains("://") => {
            format!("{}://{given}", if insecure { "http" } else { "https" })
        }
        _ => given.clone(),
    };
    let uri: Uri = whole.parse().map_err(|error: http::uri::InvalidUri| wrong(&error.to_string()))?;
    match uri.scheme_str() {
        Some("http" | "https") if uri.host().is_some_and(|host| !host.is_empty()) => Ok(uri),
        Some("http" | "https") => Err(wrong("it has no host")),
        Some(scheme) => Err(wrong(&format!("its scheme is `{scheme}`, not http or https"))),
        None => Err(wrong("it has no scheme")),
    }
}

#[cfg(test)]
mod tests;
