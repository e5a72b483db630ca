//! Which format and encoding a scrape asks for.
//!
//! Enters: the `Accept` and `Accept-Encoding` headers. Leaves: a format, and whether gzip. Refuses: to fail: a header
//! that asks for nothing known gets plain text, as Prometheus servers expect.

use super::encode::Format;

/// The format with the highest quality; of equals the one that carries most.
#[must_use]
pub(super) fn format(accept: &str) -> Format {
    let mut best = (0.0, Format::Text);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let parameters: Vec<&str> = parts.collect();
        let Some(format) = known(kind, &parameters) else { continue };
        let quality = quality(&parameters);
        if quality > best.0 || (quality == best.0 && rank(format) > rank(best.1)) {
            best = (quality, format);
        }
    }
    best.1
}

/// Whether gzip is welcome.
#[must_use]
pub(super) fn gzip(accept_encoding: &str) -> bool {
    accept_encoding.split(',').any(|member| {
        let mut parts = member.split(';').map(str::trim);
        let coding = parts.next().unwrap_or_default();
        (coding.eq_ignore_ascii_case("gzip") || coding == "*") && quality(&parts.collect::<Vec<_>>()) > 0.0
    })
}

fn known(kind: &str, parameters: &[&str]) -> Option<Format> {
    let has = |wanted: &str| parameters.iter().any(|parameter| parameter.replace(' ', "") == wanted);
    let version = parameters.iter().find_map(|parameter| parameter.strip_prefix("version="));
    match kind {
        "application/vnd.google.protobuf"
            if has("proto=io.prometheus.client.MetricFamily") && has("encoding=delimited") =>
        {
            Some(Format::Protobuf)
        }
        "application/openmetrics-text" if matches!(version, None | Some("1.0.0" | "0.0.1")) => {
            Some(Format::OpenMetrics)
        }
        "text/plain" if matches!(version, None | Some("0.0.4")) => Some(Format::Text),
        "*/*" | "text/*" => Some(Format::Text),
        _ => None,
    }
}

fn quality(parameters: &[&str]) -> f32 {
    let given = parameters.iter().find_map(|parameter| parameter.strip_prefix("q="));
    given.map_or(1.0, |given| given.parse().unwrap_or(0.0))
}

fn rank(format: Format) -> u8 {
    match format {
        Format::Text => 0,
        Format::OpenMetrics => 1,
        Format::Protobuf => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_scrapers_get_what_they_rank_highest() {
        let prometheus_2 = "application/openmetrics-text;version=1.0.0;q=0.5,\
            application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let with_native = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;\
            encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.2";
        for (accept, expected) in [
            (prometheus_2, Format::OpenMetrics),
            (with_native, Format::Protobuf),
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Format::Text),
            ("text/plain;version=0.0.4;q=0.5,application/openmetrics-text;q=0", Format::Text),
            ("text/plain, application/openmetrics-text; version=1.0.0", Format::OpenMetrics),
            ("application/vnd.google.protobuf", Format::Text),
            ("application/json;;;q=x,,", Format::Text),
        ] {
            assert_eq!(format(accept), expected, "{accept}");
        }
    }

    #[test]
    fn gzip_only_where_it_is_welcome() {
        for accepted in ["gzip", "gzip, deflate", "deflate;q=0.5, gzip;q=1.0", "*", "GZIP"] {
            assert!(gzip(accepted), "{accepted}");
        }
        for refused in ["", "deflate", "gzip;q=0", "identity"] {
            assert!(!gzip(refused), "{refused}");
        }
    }
}
