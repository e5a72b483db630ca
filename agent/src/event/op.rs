//! Calls of engines' entry points, and what they work on.
//!
//! Enters: nothing. Leaves: types. Refuses: as [`super`].

use std::sync::Arc;

use super::{Interval, ThreadId};

/// What kind of work an entry point does. Names as in the attribute `op`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OpClass {
    /// Attention over a paged KV cache.
    PagedAttention,
    /// Any other attention.
    Attention,
    /// New keys and values are written into the KV cache.
    CacheUpdate,
    /// Blocks of the KV cache are copied, swapped or gathered.
    CacheCopy,
    /// Blocks are looked up in a cache of KV blocks.
    CacheLookup,
    /// Blocks are put into a cache of KV blocks.
    CacheInsert,
    /// KV blocks are moved from the host to the device.
    CacheLoad,
    /// KV blocks are moved from the device to the host.
    CacheSave,
    /// A batch of tokens goes through the model.
    Decode,
    /// A model is loaded.
    ModelLoad,
    /// The next token is chosen.
    Sample,
    /// A graph of tensor operations is computed by a backend.
    Compute,
    /// Bytes of a tensor are set or read.
    TensorCopy,
    /// Memory is taken from a pool.
    PoolAllocate,
    /// Anything else.
    Other,
}

impl OpClass {
    /// All classes.
    pub const ALL: [Self; 15] = [
        Self::PagedAttention,
        Self::Attention,
        Self::CacheUpdate,
        Self::CacheCopy,
        Self::CacheLookup,
        Self::CacheInsert,
        Self::CacheLoad,
        Self::CacheSave,
        Self::Decode,
        Self::ModelLoad,
        Self::Sample,
        Self::Compute,
        Self::TensorCopy,
        Self::PoolAllocate,
        Self::Other,
    ];

    /// The attribute's value.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PagedAttention => "paged_attention",
            Self::Attention => "attention",
            Self::CacheUpdate => "cache_update",
            Self::CacheCopy => "cache_copy",
            Self::CacheLookup => "cache_lookup",
            Self::CacheInsert => "cache_insert",
            Self::CacheLoad => "cache_load",
            Self::CacheSave => "cache_save",
            Self::Decode => "decode",
            Self::ModelLoad => "model_load",
            Self::Sample => "sample",
            Self::Compute => "compute",
            Self::TensorCopy => "tensor_copy",
            Self::PoolAllocate => "pool_allocate",
            Self::Other => "other",
        }
    }
}

/// What is the same for all calls of one probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeInfo {
    /// Name in the specification, e.g. `paged_attention_v1`.
    pub name: Arc<str>,
    /// Engine: the name of the specification.
    pub engine: Arc<str>,
    /// What it does.
    pub class: OpClass,
    /// For paged attention: v1 (one pass) or v2 (partitioned), where the entry point says so.
    pub use_v1: Option<bool>,
    /// For CUDA's own functions: which. Their calls become [`super::Api`] events, and [`super::Memory`] events where they allocate or free.
    pub api: Option<ApiFunction>,
}

/// A function of CUDA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ApiFunction {
    /// Runtime, else driver.
    pub is_runtime: bool,
    /// Callback id.
    pub cbid: u32,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpEnd {
    /// It returned: the interval is its host time.
    Returned,
    /// Its frame is gone without a return: an exception or `longjmp` left it, or its thread ended. No duration.
    Unwound,
    /// Only the entry was seen: the return is not probed, or records were lost meanwhile. No duration.
    EntryOnly,
}

/// A call of an engine's entry point: host time.
#[derive(Debug, Clone, PartialEq)]
pub struct Op {
    /// Which.
    pub probe: Arc<ProbeInfo>,
    /// From entry to return; empty where there is no duration.
    pub interval: Interval,
    /// How it ended.
    pub end: OpEnd,
    /// Thread, in the agent's pid namespace.
    pub thread: ThreadId,
    /// Tensors among its arguments and results, as far as they could be read.
    pub tensors: Vec<Tensor>,
    /// Other values, by name.
    pub fields: Vec<(Arc<str>, FieldValue)>,
}

impl Op {
    /// Host time, where there is one.
    #[must_use]
    pub fn duration_ns(&self) -> Option<u64> {
        (self.end == OpEnd::Returned).then(|| self.interval.duration_ns())
    }

    /// One of its values.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&FieldValue> {
        self.fields.iter().find(|(known, _)| **known == *name).map(|(_, value)| value)
    }
}

/// A tensor as the engine describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Name of the argument: `query`, `key_cache`, …
    pub name: Arc<str>,
    /// Elements by dimension, outermost first.
    pub shape: Vec<u64>,
    /// Element type, e.g. `f16`, `bf16`, `i64`; `None` where it is not known.
    pub dtype: Option<&'static str>,
    /// Elements times element size; `None` where that is not known. Views share storage, so sums may count bytes twice.
    pub size_bytes: Option<u64>,
}

/// A value of a call.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldValue {
    /// A whole number.
    Integer(i64),
    /// A whole number past the range of `i64`, or an address.
    Unsigned(u64),
    /// A number.
    Number(f64),
    /// Yes or no.
    Boolean(bool),
    /// Text, as far as it was read.
    Text(Arc<str>),
}

impl FieldValue {
    /// Its 64 bits, where it is a whole number.
    #[must_use]
    pub fn bits(&self) -> Option<u64> {
        match self {
            Self::Integer(number) => Some(number.cast_unsigned()),
            Self::Unsigned(number) => Some(*number),
            Self::Number(_) | Self::Boolean(_) | Self::Text(_) => None,
        }
    }

    /// A count: a whole number that is not negative.
    #[must_use]
    pub fn count(&self) -> Option<u64> {
        match self {
            Self::Integer(number) => u64::try_from(*number).ok(),
            Self::Unsigned(number) => Some(*number),
            Self::Number(_) | Self::Boolean(_) | Self::Text(_) => None,
        }
    }
}
