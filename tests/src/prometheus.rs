//! The Prometheus endpoint, scraped and parsed on its own.
//!
//! Enters: an address. Leaves: samples, and [`Observed`] from them. Refuses: text that the exposition format does not
//! allow.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::observed::Observed;

/// One line of the exposition.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Metric name, suffixes included.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Value.
    pub value: f64,
}

impl Sample {
    fn label(&self, key: &str) -> &str {
        self.labels.get(key).map_or("", String::as_str)
    }
}

/// GETs `path`; `None` while nobody answers.
#[must_use]
pub fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    Some((status, if chunked { unchunk(body) } else { body.to_owned() }))
}

/// Scrapes `/metrics`; `None` while nobody answers.
#[must_use]
pub fn scrape(address: SocketAddr) -> Option<Vec<Sample>> {
    let (status, body) = get(address, "/metrics")?;
    assert_eq!(status, 200, "{body}");
    Some(parse(&body))
}

/// Parses the text format.
#[must_use]
pub fn parse(text: &str) -> Vec<Sample> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(sample).collect()
}

fn sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("no value: {line}"));
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest, line),
        None => (BTreeMap::new(), rest),
    };
    let value = rest.split_whitespace().next().unwrap_or_default();
    let value = value.parse().unwrap_or_else(|error| panic!("{error}: {line}"));
    Sample { name: name.to_owned(), labels, value }
}

/// The labels after an opening brace, and what follows the closing one.
fn labels<'a>(mut rest: &'a str, line: &str) -> (BTreeMap<String, String>, &'a str) {
    let mut labels = BTreeMap::new();
    loop {
        rest = rest.strip_prefix(',').unwrap_or(rest);
        if let Some(after) = rest.strip_prefix('}') {
            return (labels, after);
        }
        let (key, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("no label: {line}"));
        let mut value = String::new();
        let mut characters = after.char_indices();
        let end = loop {
            match characters.next() {
                Some((at, '"')) => break at,
                Some((_, '\\')) => match characters.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, escaped)) => value.push(escaped),
                    None => panic!("an open label: {line}"),
                },
                Some((_, character)) => value.push(character),
                None => panic!("an open label: {line}"),
            }
        };
        assert!(labels.insert(key.to_owned(), value).is_none(), "a label comes twice: {line}");
        rest = &after[end + 1..];
    }
}

fn unchunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).expect("a chunk size");
        whole.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
        if size == 0 {
            break;
        }
    }
    whole
}

/// The counts in a scrape, of the process `pid`.
#[must_use]
pub fn observed(samples: &[Sample], pid: u32) -> Observed {
    let mut observed = Observed::default();
    let pid = pid.to_string();
    for sample in samples.iter().filter(|sample| sample.label("process_pid") == pid) {
        let value = sample.value as u64;
        let direction = || sample.label("direction").to_owned();
        match (sample.name.as_str(), sample.label("operation")) {
            ("gpu_kernel_executions_total", _) => {
                *observed.calls.entry(sample.label("kernel_name").to_owned()).or_default() += value;
            }
            ("gpu_memory_operations_total", "memcpy") => {
                observed.copies.entry(direction()).or_default().count += value;
            }
            ("gpu_memory_transfer_bytes_total", "memcpy") => {
                observed.copies.entry(direction()).or_default().bytes += value;
            }
            ("gpu_memory_operations_total", operation @ ("alloc" | "free")) => {
                *observed.memory.entry(operation.to_owned()).or_default() += value;
            }
            ("gpu_memory_operations_total", "memset") => observed.memsets.count += value,
            ("gpu_memory_transfer_bytes_total", "memset") => observed.memsets.bytes += value,
            ("gpu_graph_launches_total", _) => observed.graph_launches += value,
            ("gpu_agent_records_total", _) => {
                let fate = (sample.label("hop").to_owned(), sample.label("outcome").to_owned());
                *observed.fates.entry(fate).or_default() += value;
            }
            _ => {}
        }
    }
    observed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_parsed_with_their_escapes() {
        let text = "# HELP a b\na 1\nb{x=\"1\",y=\"q\\\"\\\\\\n,}\"} 2.5 1700\nc{} +Inf\n\n";
        let samples = parse(text);
        assert_eq!(samples.len(), 3);
        assert_eq!((samples[0].name.as_str(), samples[0].value), ("a", 1.0));
        assert_eq!(samples[1].label("y"), "q\"\\\n,}");
        assert_eq!(samples[1].value, 2.5);
        assert!(samples[2].labels.is_empty() && samples[2].value.is_infinite());
    }

    #[test]
    fn series_are_added_up_over_other_labels_and_other_processes_are_left_out() {
        let text = "gpu_kernel_executions_total{process_pid=\"7\",gpu=\"0\",kernel_name=\"k\"} 3\n\
                    gpu_kernel_executions_total{process_pid=\"7\",gpu=\"1\",kernel_name=\"k\"} 4\n\
                    gpu_kernel_executions_total{process_pid=\"8\",gpu=\"1\",kernel_name=\"k\"} 5\n\
                    gpu_memory_operations_total{process_pid=\"7\",operation=\"memcpy\",direction=\"h2d\"} 2\n\
                    gpu_memory_transfer_bytes_total{process_pid=\"7\",operation=\"memcpy\",direction=\"h2d\"} 20\n\
                    gpu_agent_records_total{process_pid=\"7\",hop=\"ring\",outcome=\"lost\"} 6\n";
        let observed = observed(&parse(text), 7);
        assert_eq!(observed.calls["k"], 7);
        assert_eq!((observed.copies["h2d"].count, observed.copies["h2d"].bytes), (2, 20));
        assert_eq!((observed.fate("ring", "lost"), observed.losses()), (6, 6));
    }

    #[test]
    fn chunks_are_joined() {
        assert_eq!(unchunk("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), "abcde");
    }
}
