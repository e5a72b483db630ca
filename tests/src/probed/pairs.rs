//! Which return belongs to which entry, told in the plainest way: a thread's calls are a stack.
//!
//! Enters: records of one round in which every call returns. Leaves: calls. Refuses: a return that is not the innermost call's.

use std::collections::HashMap;

use gpu_agent_ebpf_abi::phase;

use super::reads::Record;

/// A call from its entry to its return.
#[derive(Debug)]
pub struct Pair {
    /// Where it was entered.
    pub entry: Record,
    /// Where it returned.
    pub exit: Record,
    /// Calls around it.
    pub depth: usize,
}

/// The calls that `records` are, in the order of their returns.
#[must_use]
pub fn pair(records: Vec<Record>) -> Vec<Pair> {
    let mut open: HashMap<u32, Vec<Record>> = HashMap::new();
    let mut pairs = Vec::new();
    for record in records {
        let stack = open.entry(record.header.thread).or_default();
        if record.header.phase == phase::ENTRY {
            stack.push(record);
            continue;
        }
        let entry = stack.pop().unwrap_or_else(|| panic!("a return without an entry: {record:?}"));
        let popped = if record.header.phase == phase::RETURNED { 8 } else { 0 };
        assert_eq!(record.header.stack_pointer, entry.header.stack_pointer + popped, "{entry:?}\n{record:?}");
        assert_eq!(record.function, entry.function);
        assert!(record.header.ktime_ns >= entry.header.ktime_ns);
        pairs.push(Pair { entry, exit: record, depth: stack.len() });
    }
    assert!(open.values().all(Vec::is_empty), "calls without a return: {open:?}");
    pairs
}
