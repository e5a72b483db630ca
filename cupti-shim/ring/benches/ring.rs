//! Ring write and read, against their stated baselines, in interleaved rounds.
//!
//! Enters: nothing. Leaves: one line a measurement, with the median of the rounds' ratios. Refuses: to fail on a slow
//! machine; the bar is printed, and the reader judges.
//!
//! The baseline of a write is what no ring can do without: 96 bytes copied into a buffer as large as the ring's slots,
//! and one atomic store that publishes them.
#![allow(unsafe_code, clippy::unwrap_used, reason = "a benchmark that interns a literal")]

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use gpu_agent_ring::layout::SLOT_BYTES;
use gpu_agent_ring::record::{Kernel, Record, kind};
use gpu_agent_ring::writer::Identity;
use gpu_agent_ring::{Geometry, Reader, Writer};

const ROUNDS: usize = 101;
const OPERATIONS: usize = 1 << 16;
const BAR: f64 = 3.0;

fn main() {
    let geometry = Geometry::default();
    let mut writer = Writer::create(geometry, Identity::default()).unwrap();
    let mut reader = Reader::open(writer.file().unwrap()).unwrap();
    let mut baseline = vec![[0u8; SLOT_BYTES]; geometry.slots as usize];
    let published = AtomicU64::new(0);
    let record = Kernel { kind: kind::KERNEL, start_ns: 1, end_ns: 2, ..Kernel::default() };
    let source = [1u8; SLOT_BYTES];
    let name = c"_ZN4vllm25paged_attention_v2_kernelI13__nv_bfloat16S1_Li128ELi16ELi128EEEvPT_";

    let (mut writes, mut copies, mut reads, mut names) = (vec![], vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        copies.push(per_operation(|number| {
            if let Some(slot) = baseline.get_mut(number % geometry.slots as usize) {
                slot.copy_from_slice(black_box(&source));
                black_box(&*slot);
            }
            published.store(number as u64, Ordering::Release);
        }));
        writes.push(per_operation(|_| writer.push(black_box(&record))));
        let started = Instant::now();
        let progress = reader.poll(u64::MAX, |_, payload| {
            black_box(Kernel::from_payload(payload));
        });
        assert_eq!((progress.read, progress.lost), (OPERATIONS as u64, 0));
        reads.push(started.elapsed().as_nanos() as f64 / OPERATIONS as f64);
        names.push(per_operation(|_| {
            // SAFETY: a literal.
            black_box(unsafe { writer.intern(black_box(name.as_ptr())) });
        }));
    }
    let ratio = median(writes.iter().zip(&copies).map(|(write, copy)| write / copy).collect());
    let verdict = if ratio <= BAR { "met" } else { "MISSED" };
    println!(
        "ring write: {:.2} ns, baseline (96-byte memcpy + one atomic): {:.2} ns, ratio {ratio:.2} (bar {BAR:.1}: {verdict})",
        median(writes),
        median(copies),
    );
    println!("ring read and parse: {:.2} ns a record", median(reads));
    println!("name by known pointer ({} bytes): {:.2} ns", name.count_bytes(), median(names));
}

/// Mean time of one operation, ns.
fn per_operation(mut operation: impl FnMut(usize)) -> f64 {
    let started = Instant::now();
    for number in 0..OPERATIONS {
        operation(number);
    }
    started.elapsed().as_nanos() as f64 / OPERATIONS as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
