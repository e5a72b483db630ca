//! What each variable, flag and file key does, and which goes first.

use super::*;

fn otel(variables: &[(&str, &str)]) -> Options {
    let variables = variables.to_vec();
    let look_up = move |name: &str| {
        let found = variables.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    Options::from_otel(&look_up)
}

fn config(variables: &[(&str, &str)]) -> Config {
    otel(variables).resolve().unwrap().unwrap()
}

#[test]
fn otlp_is_off_unless_asked_for() {
    assert!(Options::default().resolve().unwrap().is_none());
    assert!(otel(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).resolve().unwrap().is_none());
    for asked in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:1"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://a:1"),
        ("OTEL_METRICS_EXPORTER", "prometheus, otlp"),
    ] {
        assert!(otel(&[asked]).resolve().unwrap().is_some(), "{asked:?}");
    }
}

#[test]
fn none_and_disabled_turn_it_off_although_an_endpoint_is_there() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:1");
    for off in [
        ("OTEL_METRICS_EXPORTER", "none"),
        ("OTEL_SDK_DISABLED", "TRUE"),
        ("OTEL_METRICS_EXPORTER", "prometheus"),
    ] {
        assert!(otel(&[endpoint, off]).resolve().unwrap().is_none(), "{off:?}");
    }
    assert!(otel(&[endpoint, ("OTEL_SDK_DISABLED", "false")]).resolve().unwrap().is_some());
}

#[test]
fn an_endpoint_given_by_flag_goes_before_everything_a_variable_says() {
    let flags = Options { endpoint: Some("http://flag:1".to_owned()), ..Options::default() };
    let lower =
        otel(&[("OTEL_METRICS_EXPORTER", "none"), ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://b:2")]);
    let config = flags.over(lower).resolve().unwrap().unwrap();
    assert_eq!(config.endpoint, "http://flag:1/");
    let off = Options { enabled: Some(false), ..Options::default() };
    assert!(off.over(otel(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:1")])).resolve().unwrap().is_none());
}

#[test]
fn without_more_it_is_grpc_to_localhost_as_the_specification_says() {
    let config = config(&[("OTEL_METRICS_EXPORTER", "otlp")]);
    assert_eq!(config.endpoint, "http://localhost:4317/");
    assert_eq!(config.protocol, Protocol::Grpc);
    assert_eq!(config.timeout, Duration::from_secs(10));
    assert_eq!(config.schedule.period, Duration::from_secs(60));
    assert_eq!(config.schedule.timeout, Duration::from_secs(30));
    assert_eq!(config.compression, Compression::None);
    assert_eq!(config.temporality, Temporality::Cumulative);
    assert_eq!(config.histograms, Histograms::Explicit);
}

#[test]
fn over_http_the_path_is_appended_to_the_general_endpoint_only() {
    let http = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
    let exporter = ("OTEL_METRICS_EXPORTER", "otlp");
    assert_eq!(config(&[http, exporter]).endpoint, "http://localhost:4318/v1/metrics");
    for (general, whole) in [
        ("http://a:1", "http://a:1/v1/metrics"),
        ("http://a:1/", "http://a:1/v1/metrics"),
        ("https://a/otlp", "https://a/otlp/v1/metrics"),
    ] {
        assert_eq!(config(&[http, ("OTEL_EXPORTER_OTLP_ENDPOINT", general)]).endpoint, whole);
    }
    let metrics = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://b:2/mine");
    let general = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:1");
    assert_eq!(config(&[http, general, metrics]).endpoint, "http://b:2/mine");
}

#[test]
fn a_grpc_endpoint_without_scheme_is_secure_unless_insecure_says_otherwise() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317");
    assert_eq!(config(&[endpoint]).endpoint, "https://collector:4317/");
    for name in ["OTEL_EXPORTER_OTLP_INSECURE", "OTEL_EXPORTER_OTLP_METRICS_INSECURE"] {
        assert_eq!(config(&[endpoint, (name, "True")]).endpoint, "http://collector:4317/");
    }
}

#[test]
fn a_variable_for_metrics_goes_before_the_one_for_all_signals() {
    let config = config(&[
        ("OTEL_METRICS_EXPORTER", "otlp"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
        ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "2"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=1"),
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "b=2"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/a"),
        ("OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", "/b"),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/c"),
        ("OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE", "/d"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/e"),
        ("OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY", "/f"),
    ]);
    assert_eq!(config.protocol, Protocol::HttpJson);
    assert_eq!(config.compression, Compression::Gzip);
    assert_eq!(config.timeout, Duration::from_millis(2));
    assert_eq!(config.headers.get("b").unwrap(), "2");
    assert!(!config.headers.contains_key("a"));
    let files = [config.tls.authorities, config.tls.certificate, config.tls.key];
    assert_eq!(files, ["/b", "/d", "/f"].map(|path| Some(PathBuf::from(path))));
}

#[test]
fn the_remaining_variables_are_read() {
    let config = config(&[
        ("OTEL_METRICS_EXPORTER", "otlp"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "5000"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "4000"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "LowMemory"),
        ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "base2_exponential_bucket_histogram"),
    ]);
    assert_eq!(config.schedule.period, Duration::from_secs(5));
    assert_eq!(config.schedule.timeout, Duration::from_secs(4));
    assert_eq!(config.temporality, Temporality::LowMemory);
    assert_eq!(config.histograms, Histograms::Exponential);
}

#[test]
fn a_variable_that_cannot_be_used_counts_as_not_set() {
    let options = otel(&[
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "carrier-pigeon"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "-1"),
        ("OTEL_METRICS_EXPORTER", "otlp,console"),
        ("OTEL_SDK_DISABLED", "perhaps"),
    ]);
    assert_eq!(options.protocol, Some(Protocol::HttpProtobuf));
    assert_eq!(options.period_ms, None);
    assert_eq!(options.enabled, Some(true));
}

#[test]
fn what_cannot_be_used_is_named() {
    let failure = |endpoint: &str| {
        let options = Options { endpoint: Some(endpoint.to_owned()), ..Options::default() };
        options.resolve().unwrap_err().to_string()
    };
    assert!(failure("ftp://a").contains("ftp"));
    assert!(failure("http://").contains("http://"));
    assert!(failure("http://a b").contains("http://a b"));
    let headers = Options {
        enabled: Some(true),
        headers: Some("bad key=secret".parse().unwrap()),
        ..Options::default()
    };
    let error = headers.resolve().unwrap_err().to_string();
    assert!(error.contains("bad key") && !error.contains("secret"), "{error}");
    let period = Options { enabled: Some(true), period_ms: Some(Millis(0)), ..Options::default() };
    assert!(period.resolve().unwrap_err().to_string().contains("--metrics-period-ms"));
}
