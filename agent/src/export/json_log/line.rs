//! One flat JSON object on one line.
//!
//! Enters: fields. Leaves: bytes at the end of a buffer. Refuses: nesting, and numbers that JSON has not (they
//! become null).

use std::time::{Duration, SystemTime};

use tracing::Level;

/// A line under way: ended by [`Line::end`].
pub(super) struct Line<'a> {
    buffer: &'a mut Vec<u8>,
}

impl<'a> Line<'a> {
    /// `{"timestamp":"2026-11-20T19:25:01.123456789Z","level":"DEBUG","target":"kernel"`
    pub(super) fn begin(buffer: &'a mut Vec<u8>, unix_ns: u64, level: Level, target: &str) -> Self {
        buffer.extend_from_slice(b"{\"timestamp\":\"");
        let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(unix_ns);
        write(buffer, format_args!("{}", humantime::format_rfc3339_nanos(time)));
        buffer.extend_from_slice(b"\",\"level\":\"");
        buffer.extend_from_slice(level.as_str().as_bytes());
        buffer.push(b'"');
        let mut line = Self { buffer };
        line.text("target", target);
        line
    }

    /// A string, escaped.
    pub(super) fn text(&mut self, key: &str, value: &str) -> &mut Self {
        self.key(key);
        json(self.buffer, value);
        self
    }

    /// A whole number.
    pub(super) fn whole(&mut self, key: &str, value: impl itoa::Integer) -> &mut Self {
        self.key(key);
        self.buffer.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        self
    }

    /// A number, shortest form that reads back the same.
    pub(super) fn number(&mut self, key: &str, value: f64) -> &mut Self {
        self.key(key);
        json(self.buffer, &value);
        self
    }

    /// True or false.
    pub(super) fn boolean(&mut self, key: &str, value: bool) -> &mut Self {
        self.key(key);
        self.buffer.extend_from_slice(if value { b"true" } else { b"false" });
        self
    }

    /// `"XxYxZ"`
    pub(super) fn extent<T: itoa::Integer + Copy>(&mut self, key: &str, [x, y, z]: [T; 3]) -> &mut Self {
        self.key(key);
        let mut number = itoa::Buffer::new();
        self.buffer.push(b'"');
        self.buffer.extend_from_slice(number.format(x).as_bytes());
        self.buffer.push(b'x');
        self.buffer.extend_from_slice(number.format(y).as_bytes());
        self.buffer.push(b'x');
        self.buffer.extend_from_slice(number.format(z).as_bytes());
        self.buffer.push(b'"');
        self
    }

    /// `"[2, 8, 128]"`: text, so that the object stays flat.
    pub(super) fn list(&mut self, key: &str, numbers: &[u64]) -> &mut Self {
        self.key(key);
        self.buffer.extend_from_slice(b"\"[");
        for (index, number) in numbers.iter().enumerate() {
            if index > 0 {
                self.buffer.extend_from_slice(b", ");
            }
            self.buffer.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes());
        }
        self.buffer.extend_from_slice(b"]\"");
        self
    }

    /// Fields rendered before: `,"key":value…`.
    pub(super) fn rendered(&mut self, fields: &[u8]) -> &mut Self {
        self.buffer.extend_from_slice(fields);
        self
    }

    /// Ends the line.
    pub(super) fn end(self) {
        self.buffer.extend_from_slice(b"}\n");
    }

    /// Keys are ours or a specification's: plain words. Whatever is none becomes an underscore.
    fn key(&mut self, key: &str) {
        self.buffer.extend_from_slice(b",\"");
        let plain = |byte: u8| if byte.is_ascii_alphanumeric() { byte } else { b'_' };
        self.buffer.extend(key.bytes().map(plain));
        self.buffer.extend_from_slice(b"\":");
    }
}

/// Renders fields to be put into many lines.
pub(super) fn render(fields: impl FnOnce(&mut Line<'_>)) -> Box<[u8]> {
    let mut buffer = Vec::new();
    fields(&mut Line { buffer: &mut buffer });
    buffer.into()
}

fn json<T: serde::Serialize + ?Sized>(buffer: &mut Vec<u8>, value: &T) {
    // Neither a string nor a number has anything that serde_json would refuse, and a Vec takes every byte.
    let start = buffer.len();
    if serde_json::to_writer(&mut *buffer, value).is_err() {
        buffer.truncate(start);
        buffer.extend_from_slice(b"null");
    }
}

fn write(buffer: &mut Vec<u8>, what: std::fmt::Arguments<'_>) {
    // A Vec takes every byte, and 64 bits of nanoseconds end in the year 2554, before the calendar does.
    let _infallible = std::io::Write::write_fmt(buffer, what);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_flat_object_whatever_is_in_the_strings() {
        let mut buffer = Vec::new();
        let mut line = Line::begin(&mut buffer, 1_700_000_000_123_456_789, Level::DEBUG, "kernel");
        let fields = render(|line| {
            line.text("name", "a\"b\\c\n\u{1}é");
        });
        line.rendered(&fields)
            .whole("size_bytes", u64::MAX)
            .number("x", 0.1)
            .number("nan", f64::NAN)
            .boolean("simulated", true)
            .extent("grid", [1_u32, 2, 3]);
        line.end();
        let text = String::from_utf8(buffer).unwrap();
        assert_eq!(text.matches('\n').count(), 1);
        let object: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(object["timestamp"], "2023-11-14T22:13:20.123456789Z");
        assert_eq!(object["level"], "DEBUG");
        assert_eq!(object["target"], "kernel");
        assert_eq!(object["name"], "a\"b\\c\n\u{1}é");
        assert_eq!(object["size_bytes"], u64::MAX);
        assert_eq!(object["x"], 0.1);
        assert!(object["nan"].is_null());
        assert_eq!(object["grid"], "1x2x3");
    }

    #[test]
    fn the_latest_time_there_is_gives_a_valid_line() {
        let mut buffer = Vec::new();
        Line::begin(&mut buffer, u64::MAX, Level::INFO, "kernel").end();
        serde_json::from_slice::<serde_json::Value>(&buffer).unwrap();
    }
}
