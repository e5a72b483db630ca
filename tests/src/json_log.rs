//! The JSON log: one event a line.
//!
//! Enters: the text of the log. Leaves: [`Observed`]. Refuses: lines that are no flat JSON object.

use serde_json::Value;

use crate::observed::Observed;

/// What `--log-filter` must let through for [`observed`].
pub const FILTER: &str = "info,kernel=debug,memcpy=debug,memset=debug,memory=debug,graph=debug";

/// The lines of the log.
#[must_use]
pub fn lines(text: &str) -> Vec<Value> {
    let parse = |line: &str| -> Value {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let object = value.as_object().unwrap_or_else(|| panic!("no object: {line}"));
        assert!(object.values().all(|value| !value.is_object()), "not flat: {line}");
        value
    };
    text.lines().map(parse).collect()
}

/// The events of the process `pid`, counted.
#[must_use]
pub fn observed(lines: &[Value], pid: u32) -> Observed {
    let mut observed = Observed::default();
    for line in lines.iter().filter(|line| line["pid"] == pid) {
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        let number = |key: &str| line[key].as_u64().unwrap_or_else(|| panic!("no {key}: {line}"));
        match line["target"].as_str().unwrap_or_default() {
            "kernel" => *observed.calls.entry(text("kernel_name")).or_default() += 1,
            "memcpy" => {
                let volume = observed.copies.entry(text("direction")).or_default();
                volume.count += number("copies");
                volume.bytes += number("size_bytes");
            }
            "memset" => {
                observed.memsets.count += 1;
                observed.memsets.bytes += number("size_bytes");
            }
            "memory" => *observed.memory.entry(text("operation")).or_default() += 1,
            "graph" => observed.graph_launches += 1,
            _ => {}
        }
    }
    observed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_by_what_they_say_of_one_process() {
        let text = r#"{"target":"kernel","pid":7,"kernel_name":"k"}
{"target":"kernel","pid":8,"kernel_name":"k"}
{"target":"memcpy","pid":7,"direction":"h2d","size_bytes":5,"copies":1}
{"target":"memory","pid":7,"operation":"alloc","size_bytes":5}
{"target":"memset","pid":7,"size_bytes":6}"#;
        let observed = observed(&lines(text), 7);
        assert_eq!((observed.calls["k"], observed.copies["h2d"].bytes, observed.memsets.bytes), (1, 5, 6));
        assert_eq!(observed.memory["alloc"], 1);
    }

    #[test]
    #[should_panic(expected = "not flat")]
    fn a_nested_line_is_refused() {
        let _ = lines(r#"{"target":"kernel","grid":{"x":1}}"#);
    }
}
