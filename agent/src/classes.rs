//! What a kernel is for, told from its name.
//!
//! Enters: kernel names, mangled or not. Leaves: a name to show, a class of a small closed set, and whether the
//! kernel is a call of an operation that has instruments of its own. Refuses: to guess: a name that no rule knows is
//! `other`.
//!
//! The rules are data, `agent/classes/kernels.toml`; a user adds more with `--classes FILE`, which are asked first.

use std::fmt;
use std::sync::Arc;

mod display;
mod rules;

pub use display::DISPLAY_CHARS;
pub use rules::{ClassError, Classifier};

/// Class of a kernel or copy. Names as in the attribute `kernel.class`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Deserialize)]
pub enum Class {
    /// Attention over many query tokens.
    #[serde(rename = "attention.prefill")]
    AttentionPrefill,
    /// Attention over one (or a few) query tokens and a KV cache.
    #[serde(rename = "attention.decode")]
    AttentionDecode,
    /// Writes new keys and values into the KV cache.
    #[serde(rename = "kv_write")]
    KvWrite,
    /// Moves blocks of the KV cache.
    #[serde(rename = "kv_copy")]
    KvCopy,
    /// Matrix multiplication, quantised ones too.
    #[serde(rename = "gemm")]
    Gemm,
    /// Normalisation.
    #[serde(rename = "norm")]
    Norm,
    /// Elementwise work: activation functions, rotary embedding, casts, additions.
    #[serde(rename = "activation")]
    Activation,
    /// Soft-max over a vocabulary, top-k, sampling.
    #[serde(rename = "sampling")]
    Sampling,
    /// Communication between devices.
    #[serde(rename = "collective")]
    Collective,
    /// A copy done by a kernel.
    #[serde(rename = "memcpy")]
    Memcpy,
    /// A memset done by a kernel.
    #[serde(rename = "memset")]
    Memset,
    /// None of these.
    #[serde(rename = "other")]
    Other,
}

impl Class {
    /// The attribute's value.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AttentionPrefill => "attention.prefill",
            Self::AttentionDecode => "attention.decode",
            Self::KvWrite => "kv_write",
            Self::KvCopy => "kv_copy",
            Self::Gemm => "gemm",
            Self::Norm => "norm",
            Self::Activation => "activation",
            Self::Sampling => "sampling",
            Self::Collective => "collective",
            Self::Memcpy => "memcpy",
            Self::Memset => "memset",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// An operation with instruments of its own, and the kernel's part in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// The kernel that makes a paged-attention call; `use_v1` where v1 and v2 differ.
    PagedAttention {
        /// v1 (one pass), else v2 (partitions, then a reduce kernel).
        use_v1: Option<bool>,
    },
    /// A kernel that ends a paged-attention call begun by another one: part of its time, no call by itself.
    PagedAttentionReduce,
    /// A KV-cache update.
    CacheUpdate,
}

/// A kernel name, looked at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelName {
    /// As CUPTI gave it.
    pub raw: Arc<str>,
    /// Demangled, template arguments shortened, at most [`DISPLAY_CHARS`] characters.
    pub display: Arc<str>,
    /// What it is for.
    pub class: Class,
    /// Which operation it makes.
    pub operation: Option<Operation>,
}
