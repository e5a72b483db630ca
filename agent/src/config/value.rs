//! Types of configuration values: written the same way on the command line, in a variable and in the file.
//!
//! Enters: text (or a TOML number). Leaves: checked values. Refuses: what it cannot read, saying what it would read.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tracing::warn;

/// A value that was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ValueError(pub String);

/// Reads the variable `name` as a `T`, `None` where it is not set. A value that cannot be used is ignored with a warning,
/// as OpenTelemetry's specification wants: such variables are often set for other programs.
pub fn variable<T>(name: &str, look_up: &dyn Fn(&str) -> Option<String>) -> Option<T>
where
    T: FromStr<Err: fmt::Display>,
{
    let parsed = look_up(name)?.trim().parse();
    parsed
        .inspect_err(|error| warn!(variable = name, %error, "a variable is ignored: it cannot be used"))
        .ok()
}

/// Milliseconds: a whole number, or a number with the unit `ms`, `s`, `m` or `h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Millis(pub u64);

impl Millis {
    /// As a duration.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl FromStr for Millis {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let factor = match text.get(digits.len()..) {
            Some("" | "ms") => Some(1),
            Some("s") => Some(1000),
            Some("m") => Some(60_000),
            Some("h") => Some(3_600_000),
            _ => None,
        };
        factor
            .zip(digits.parse::<u64>().ok())
            .and_then(|(factor, number)| number.checked_mul(factor))
            .map(Self)
            .ok_or_else(|| {
                ValueError(format!("`{text}` is not a time: write milliseconds (`500`) or a unit (`10s`)"))
            })
    }
}

/// `key=value,key=value`, keys and values percent-encoded, as in W3C Baggage.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Pairs(pub Vec<(String, String)>);

impl FromStr for Pairs {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let decode = |part: &str| {
            percent_decode_str(part.trim())
                .decode_utf8()
                .map(String::from)
                .map_err(|error| ValueError(format!("`{part}` is not UTF-8 once percent-decoded: {error}")))
        };
        let mut pairs = Vec::new();
        for member in text.split(',').filter(|member| !member.trim().is_empty()) {
            let Some((key, value)) = member.split_once('=') else {
                return Err(ValueError("a member has no `=`: write key=value,key=value".to_owned()));
            };
            if key.trim().is_empty() {
                return Err(ValueError("a member has an empty key: write key=value,key=value".to_owned()));
            }
            pairs.push((decode(key)?, decode(value)?));
        }
        Ok(Self(pairs))
    }
}

/// Values of headers are secrets: only keys are shown.
impl fmt::Debug for Pairs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.0.iter().map(|(key, _)| key)).finish()
    }
}

/// Address to listen on, or `off`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// Do not listen.
    Off,
    /// `host:port`; port 0 takes a free one.
    At(String),
}

impl FromStr for Listen {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" {
            return Ok(Self::Off);
        }
        match text.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                Ok(Self::At(text.to_owned()))
            }
            _ => Err(ValueError(format!("`{text}` is not host:port or `off`"))),
        }
    }
}

/// Lets serde read a type through its `FromStr`; numbers too, as their digits.
macro_rules! deserialize_from_str {
    ($($kind:ty, $expecting:literal;)*) => {$(
        impl<'de> serde::Deserialize<'de> for $kind {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl serde::de::Visitor<'_> for Visitor {
                    type Value = $kind;
                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        formatter.write_str($expecting)
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$kind, E> {
                        text.parse().map_err(E::custom)
                    }
                    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<$kind, E> {
                        self.visit_str(&number.to_string())
                    }
                }
                deserializer.deserialize_any(Visitor)
            }
        }
    )*};
}

pub(crate) use deserialize_from_str;

deserialize_from_str! {
    Millis, "milliseconds, or a time with its unit";
    Pairs, "key=value,key=value";
    Listen, "host:port, or `off`";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_milliseconds_or_carry_a_unit() {
        for (text, ms) in [("500", 500), ("500ms", 500), ("10s", 10_000), ("2m", 120_000), ("1h", 3_600_000)]
        {
            assert_eq!(text.parse(), Ok(Millis(ms)), "{text}");
        }
        for text in ["", "s", "-1", "1.5s", "1d", "99999999999999999999", "9999999999999999h"] {
            assert!(text.parse::<Millis>().is_err(), "{text}");
        }
    }

    #[test]
    fn pairs_are_percent_decoded_and_trimmed() {
        let pairs: Pairs = " api-key = a%2Cb%3D ,x=y,".parse().unwrap();
        assert_eq!(pairs.0, [("api-key".to_owned(), "a,b=".to_owned()), ("x".to_owned(), "y".to_owned())]);
        assert!("novalue".parse::<Pairs>().is_err());
        assert!("=v".parse::<Pairs>().is_err());
    }

    #[test]
    fn the_values_of_pairs_are_never_printed() {
        let pairs: Pairs = "authorization=secret".parse().unwrap();
        assert_eq!(format!("{pairs:?}"), r#"["authorization"]"#);
        let error = "authorization=%ff".parse::<Pairs>().unwrap_err().to_string();
        assert!(error.contains("UTF-8"), "{error}");
        assert!(!"secret".parse::<Pairs>().unwrap_err().to_string().contains("secret"));
    }

    #[test]
    fn a_variable_that_cannot_be_used_counts_as_not_set() {
        let look_up = |name: &str| (name == "SET").then(|| " 10s ".to_owned());
        assert_eq!(variable("SET", &look_up), Some(Millis(10_000)));
        assert_eq!(variable::<Listen>("SET", &look_up), None);
        assert_eq!(variable::<Millis>("UNSET", &look_up), None);
    }

    #[test]
    fn an_address_has_a_host_and_a_port() {
        assert_eq!("off".parse(), Ok(Listen::Off));
        for good in ["127.0.0.1:9400", "[::1]:0", "localhost:80"] {
            assert_eq!(good.parse(), Ok(Listen::At(good.to_owned())));
        }
        for bad in ["", "9400", ":9400", "host:", "host:99999"] {
            assert!(bad.parse::<Listen>().is_err(), "{bad}");
        }
    }
}
