//! The shared-memory ring between the CUPTI shim (writer) and the agent (reader).
//!
//! Enters: activity records of one process, as the shim reads them off CUPTI. Leaves: the same records, in
//! order, with an exact count of those that were overwritten before they were read. Refuses: to block the
//! writer, to let the reader write, to trust a byte that the other side can change.
//!
//! # Two files
//!
//! The shim creates two memfds, found in `/proc/PID/maps` under the names [`layout::RING_NAME`] and
//! [`layout::CONTROL_NAME`]. The agent needs no socket, no path and no shared mount to find them; only `gpu-agent run`
//! also has new processes tell it of theirs ([`mod@announce`]), because the shortest would end between two looks.
//!
//! * **The ring** carries data out. It is sealed (`SHRINK|GROW|FUTURE_WRITE|SEAL`): whoever opens it later
//!   can map it for reading only, and it can neither shrink under a reader (no SIGBUS) nor grow.
//! * **The control page** carries the lease and the wishes of the agent in, the state and the counters of
//!   the shim out. It is sealed against a change of size only, since both sides write to it.
//!
//! # The ring file
//!
//! ```text
//! offset 0         4096             4096 + names            + slots × 96
//! ┌────────────────┬────────────────┬──────┬──────┬─── … ───┬──────┐
//! │ header         │ names          │slot 0│slot 1│         │slot n│
//! │ 1 page         │ append-only    │ 96 B │ 96 B │         │ 96 B │
//! └────────────────┴────────────────┴──────┴──────┴─── … ───┴──────┘
//! ```
//!
//! Header (little-endian; [`layout::Header`]):
//!
//! | offset | size | field | written |
//! |---|---|---|---|
//! | 0 | 8 | magic `GPUARING` | last, once |
//! | 8 | 4 | format version | once |
//! | 12 | 4 | flags: bit 0 = simulated device | once |
//! | 16 | 8 | file size, bytes | once |
//! | 24 | 8 | offset of the names region | once |
//! | 32 | 8 | size of the names region, bytes | once |
//! | 40 | 8 | offset of the slots | once |
//! | 48 | 4 | slot size, bytes (96) | once |
//! | 52 | 4 | number of slots, a power of two | once |
//! | 56 | 8 | ring id, random | once |
//! | 64 | 4 | pid, in the process's own pid namespace | once |
//! | 68 | 4 | reserved, 0 | once |
//! | 72 | 8 | start time of the process, clock ticks since boot (`/proc/PID/stat`, field 22) | once |
//! | 80 | 8 | clock anchor: CLOCK_MONOTONIC ns | once |
//! | 88 | 8 | clock anchor: CLOCK_REALTIME ns at the same moment | once |
//! | 96 | 4 | CUPTI version (`cuptiGetVersion`), 0 until CUPTI was loaded | when it is known |
//! | 100 | 4 | driver version (`cuDriverGetVersion`) | when it is known |
//! | 1024 | 8 | head: records ever written | per record |
//! | 1088 | 8 | names length: bytes of the names region in use | per new name |
//!
//! A slot is a sequence word and a payload of 88 bytes ([`record`]). Record number `n` (from 0) goes to slot
//! `n mod slots`. The writer stores sequence 0, then the payload, then sequence `n + 1`, then head `n + 1`:
//! a seqlock a slot. A reader that wants record `n` copies the slot and accepts it only if the sequence
//! word was `n + 1` before and after; anything else means that the record is gone, and counts as lost. The
//! oldest records are overwritten, so a stalled agent costs the target nothing, and
//! *read + lost = written* holds exactly.
//!
//! A name is stored once: `length: u32`, `reserved: u32`, then the bytes, padded to 8. Its id is its offset
//! divided by 8; id 0 means "no name" (the region's first 8 bytes are unused).
//!
//! # The control page
//!
//! See [`layout::Control`]; [`control`] tells how the lease is taken, renewed, lost and ended.
//!
//! # Trust
//!
//! The writer's process may be hostile: it can put anything into both files at any time, while the reader
//! looks. [`reader::Reader`] therefore checks seals, size and header once on private copies, bounds every
//! offset, copies each slot by atomic loads before it looks at it, and never holds a reference into the map.

pub mod announce;
pub mod control;
pub mod layout;
pub mod map;
pub mod names;
pub mod reader;
pub mod record;
pub mod writer;

pub use announce::{AnnounceError, AnnounceListener, Announcement, announce};
pub use control::{AgentControl, Lease, LeaseError, ShimControl};
pub use reader::{OpenError, Progress, Reader};
pub use writer::{CreateError, Geometry, Writer};
