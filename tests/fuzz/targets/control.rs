//! Both sides of a control page that somebody else writes.
//!
//! Enters: programs that store anything anywhere, and lease, renew and report in between. Leaves: the ways they went. Refuses:
//! a renewal that works for an agent whose deadline does not stand.

use std::time::Duration;

use gpu_agent_ring::control::HandOver;
use gpu_agent_ring::layout::{CONTROL_MAGIC, Counter, FORMAT_VERSION, PAGE_BYTES};
use gpu_agent_ring::{AgentControl, Lease, LeaseError};

use super::Run;
use super::program::{Program, Ways, magnitude};
use super::shared::SharedFile;

const RING_ID: u64 = 77;
/// Word of the lease's deadline.
const DEADLINE: usize = 8;

pub(super) fn make() -> Run {
    let (file, blank) = (SharedFile::new(PAGE_BYTES / 8), vec![0; PAGE_BYTES / 8]);
    Box::new(move |input| {
        file.store_all(&blank);
        file.store_all(&[CONTROL_MAGIC, FORMAT_VERSION.into(), RING_ID]);
        run(input, &file)
    })
}

fn run(input: &[u8], file: &SharedFile) -> Vec<u64> {
    let mut program = Program::new(input);
    let mut ways = Ways::default();
    let mut agent = AgentControl::open(&file.file, RING_ID, 1).ok();
    // Whether the program has meddled with the deadline since the agent wrote it.
    let mut meddled = true;
    for _ in 0..64 {
        let Some(operation) = program.operation() else { break };
        match (operation % 8, &agent) {
            (0, _) => {
                let word = program.number::<2>() as usize % file.words();
                meddled |= word == DEADLINE;
                file.store(word, program.number::<8>());
            }
            (1, _) => {
                meddled = true;
                file.store(DEADLINE, program.number::<8>());
            }
            (2, _) => {
                let opened = AgentControl::open(&file.file, RING_ID, 1);
                ways.note(("open", opened.is_ok()));
                meddled = true;
                agent = opened.ok();
            }
            (3, Some(agent)) => {
                let lease = Lease {
                    kinds: program.number::<4>() as u32,
                    flush_period: Duration::from_millis(program.number::<8>()),
                    budget_ppm: program.number::<4>() as u32,
                    duration: Duration::from_nanos(program.number::<8>()),
                    ending: program.number::<4>() as u32,
                };
                let acquired = agent.acquire(&lease);
                ways.note(("acquire", matches!(acquired, Err(LeaseError::Held { .. }))));
                meddled = acquired.is_err();
            }
            (4, Some(agent)) => {
                let renewed = agent.renew(Duration::from_nanos(program.number::<8>()));
                assert!(meddled || renewed.is_ok(), "a lease that nobody touched was lost");
                meddled = renewed.is_err();
                ways.note(("renew", renewed.is_ok()));
            }
            (5, Some(agent)) => {
                let report = agent.report();
                let seen = report.counter(Counter::Seen);
                ways.note(("report", report.state.map(|state| state as u32), magnitude(seen)));
            }
            (6, Some(agent)) => {
                agent.hand_over(
                    HandOver::from_number(program.number::<1>() as u32),
                    program.number::<1>() as u32,
                );
                ways.note(("hand over", magnitude(agent.generation().into())));
            }
            (7, Some(agent)) => {
                agent.release();
                meddled = true;
            }
            _ => {}
        }
    }
    ways.into_numbers()
}
