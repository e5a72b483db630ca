//! What to do when a request was not taken.
//!
//! Enters: a status. Leaves: never again, or again after a while. Refuses: to hammer: pauses double and are spread,
//! and a receiver that names a pause gets it.
//!
//! Sources: OpenTelemetry protocol specification 1.7, "OTLP/gRPC Throttling", "Failures", "OTLP/HTTP Throttling",
//! "Retryable Response Codes".

use std::time::{Duration, SystemTime};

use http::StatusCode;
use tonic::Code;

/// A receiver cannot silence the agent for longer than this at a time.
pub(super) const LONGEST_THROTTLE: Duration = Duration::from_secs(600);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// Whether the same request may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retry {
    /// No: it would fail again.
    Never,
    /// Yes, after the pause the receiver asked for, or the client's own.
    Later(Option<Duration>),
}

/// A push that did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum GaveUp {
    /// The receiver will not take it.
    #[error("the OTLP receiver refused the request: {reason}")]
    Refused {
        /// Its words.
        reason: String,
    },
    /// It could not be delivered in time.
    #[error("the OTLP receiver could not be reached in time: {reason}. Is --otlp-endpoint right?")]
    Late {
        /// The last attempt's failure.
        reason: String,
    },
    /// The receiver asked for a longer pause.
    #[error("the OTLP receiver asked for no requests for another {seconds} s")]
    Throttled {
        /// What is left of the pause.
        seconds: u64,
    },
}

/// By gRPC status.
pub(super) fn of_grpc(code: Code, asked: Option<Duration>) -> Retry {
    match code {
        Code::ResourceExhausted if asked.is_none() => Retry::Never,
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => Retry::Later(asked.filter(|pause| !pause.is_zero())),
        _ => Retry::Never,
    }
}

/// By HTTP status and the header `Retry-After` (seconds or a date).
pub(super) fn of_http(status: StatusCode, retry_after: Option<&str>, now: SystemTime) -> Retry {
    match status.as_u16() {
        429 | 502 | 503 | 504 => Retry::Later(retry_after.and_then(|text| pause(text.trim(), now))),
        _ => Retry::Never,
    }
}

fn pause(retry_after: &str, now: SystemTime) -> Option<Duration> {
    match retry_after.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_not_a_number) => httpdate::parse_http_date(retry_after).ok()?.duration_since(now).ok(),
    }
}

/// Pauses between attempts: doubling, each spread over half to one and a half times itself.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST_PAUSE }
    }
}

impl Backoff {
    pub(super) fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST_PAUSE);
        pause.mul_f64(0.5 + fastrand::f64())
    }

    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retryable_grpc_codes_are_those_of_the_specification() {
        let retryable: Vec<i32> =
            (0..=16).filter(|code| of_grpc(Code::from_i32(*code), None) != Retry::Never).collect();
        // CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS
        assert_eq!(retryable, [1, 4, 10, 11, 14, 15]);
        let asked = Some(Duration::from_secs(3));
        assert_eq!(of_grpc(Code::ResourceExhausted, asked), Retry::Later(asked));
        assert_eq!(of_grpc(Code::Unavailable, asked), Retry::Later(asked));
        assert_eq!(of_grpc(Code::InvalidArgument, asked), Retry::Never);
    }

    #[test]
    fn retryable_http_statuses_are_those_of_the_specification() {
        let retryable: Vec<u16> = (200..600)
            .filter(|status| {
                of_http(StatusCode::from_u16(*status).unwrap(), None, SystemTime::now()) != Retry::Never
            })
            .collect();
        assert_eq!(retryable, [429, 502, 503, 504]);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let after = |text| of_http(StatusCode::SERVICE_UNAVAILABLE, Some(text), now);
        assert_eq!(after("120"), Retry::Later(Some(Duration::from_secs(120))));
        let date = httpdate::fmt_http_date(now + Duration::from_secs(30));
        assert_eq!(after(&date), Retry::Later(Some(Duration::from_secs(30))));
        assert_eq!(after("soon"), Retry::Later(None));
        assert_eq!(after("Thu, 01 Jan 1970 00:00:00 GMT"), Retry::Later(None));
    }

    #[test]
    fn pauses_double_up_to_a_limit_and_are_spread() {
        let mut backoff = Backoff::default();
        let mut middle = FIRST_PAUSE;
        for _ in 0..10 {
            let pause = backoff.next();
            assert!(pause >= middle / 2 && pause <= middle * 3 / 2, "{pause:?} around {middle:?}");
            middle = (middle * 2).min(LONGEST_PAUSE);
        }
        backoff.reset();
        assert!(backoff.next() <= FIRST_PAUSE * 3 / 2);
    }
}
