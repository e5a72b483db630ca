//! Records the raw CUPTI activity buffers of one process into a file, and reads such files.
//!
//! In: a CUDA program that is started with this library in `CUDA_INJECTION64_PATH`. Out: one file with the buffers as
//! CUPTI filled them, with what CUPTI's own iterator found in them. Refuses: to print, to overwrite a file, to go
//! past its limit, to record while another profiler holds CUPTI; whatever it could not do stands in the file.
//!
//! Such files are the evidence of what real records hold and in which order they come, so that the rest can be
//! tested on machines without a GPU. They are kept in `tests/fixtures/raw/`.
//!
//! # Recording
//!
//! ```text
//! CUDA_INJECTION64_PATH=/…/libgpu_agent_raw_dump.so GPU_AGENT_RAW_DUMP=/…/name.cupti PROGRAM…
//! ```
//!
//! | variable | meaning |
//! |---|---|
//! | `GPU_AGENT_RAW_DUMP` | the file to make. Unset: nothing is done. The first process that calls `cuInit` takes it; where the file exists, nothing is done |
//! | `GPU_AGENT_RAW_DUMP_LIMIT_BYTES` | most bytes of the file, 4,096 to 1,000,000; default 100,000. After the first buffer that does not fit, buffers are only counted |
//! | `GPU_AGENT_RAW_DUMP_CUPTI` | path of the libcupti to use. Unset: the one that the process has loaded, else the newest that the dynamic linker finds and that is not newer than the driver |
//!
//! The file is written when the process exits. One that is killed, or that calls `_exit`, leaves an empty file.
//!
//! # What leaves the process
//!
//! Records as CUPTI wrote them: ids, times, sizes, addresses; and the names of kernels, devices and static device
//! variables that they point to. No content of any memory, no path, no argument. The UUIDs in device records
//! are overwritten with zeros, because they would identify somebody's hardware for ever.
//!
//! # Format
//!
//! All numbers are little-endian, nothing is aligned. A file is a head and sections; the last one is `END `.
//!
//! ```text
//! ┌──────────────────────── head, 24 bytes ────────────────────────┬─────────┬─────────┬─────┬──────┐
//! │ "CUPTIRAW" · version u32 · CUPTI u32 · driver u32 · flags u32  │ section │ section │  …  │ END  │
//! └────────────────────────────────────────────────────────────────┴─────────┴─────────┴─────┴──────┘
//!                              section = tag [4] · length u32 · payload
//! ```
//!
//! Bit 0 of the flags: the device was simulated. The versions are what `cuptiGetVersion` and `cuDriverGetVersion` answered,
//! 0 where they were not asked.
//!
//! | tag | payload |
//! |---|---|
//! | `LIBR` | file name of libcupti without its folder: it tells releases apart whose version number is the same |
//! | `KIND` | kind u32 · status i32 · how u32 (0 `cuptiActivityEnable`, 1 `cuptiActivityEnableAndDump`): a kind that was asked for |
//! | `FAIL` | status i32 · text: a step that failed |
//! | `NAME` | address u64 · text: what records in later buffers mean by this address, until a later `NAME` of the same address |
//! | `BUFF` | one completed buffer, below |
//! | `END ` | buffers, bytes, records, API records that the limit left out, records that CUPTI dropped; u64 each |
//!
//! `BUFF`, in the order in which `bufferCompleted` was called:
//!
//! | offset | field |
//! |---|---|
//! | 0 | context u64: the `CUcontext` that CUPTI named |
//! | 8 | completed u64: when `bufferCompleted` was called, ns of `CLOCK_MONOTONIC`, the clock of all records |
//! | 16 | stream u32: the stream id that CUPTI named |
//! | 20 | thread u32: `gettid()` of the thread that called `bufferCompleted` |
//! | 24 | flags u32: bit 0, during the forced flush at exit, which also hands out incomplete records |
//! | 28 | walk end i32: with which status `cuptiActivityGetNextRecord` ended; 12 (`MAX_LIMIT_REACHED`) is the regular end, -1 means that it left the buffer |
//! | 32 | size u32: bytes that CUPTI was given |
//! | 36 | valid u32: bytes that CUPTI called valid |
//! | 40 | records u32 |
//! | 44 | reserved u32, 0 |
//! | 48 | for each record: offset u32 in the valid bytes · kind u32, as `cuptiActivityGetNextRecord` named them |
//! | … | the valid bytes |

pub mod format;
mod inject;
mod recorder;

pub use inject::InitializeInjection;
pub use recorder::{Delivery, Origin, Recorder};
