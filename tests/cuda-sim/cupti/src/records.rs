//! The writers: what the driver reports becomes records of one release's structs.
//!
//! Enters: [`cuda_sim_abi::Activity`], [`cuda_sim_abi::ApiCall`] and what CUPTI itself knows, times already converted.
//! Leaves: [`crate::layout::Record`]s, and the stride of each kind. Refuses: nothing; what a generation has no
//! field for is not written.
//!
//! Offsets are looked up once, when the session begins; writing a record is a copy of its template and one store a
//! field.

mod device_work;
mod host;
mod resources;

pub(crate) use device_work::Span;
pub(crate) use host::Caller;

use crate::kind;
use crate::layout::{LayoutError, Structs, Template};

/// Declares the fields of one record family: mandatory ones, then those that only later generations have.
macro_rules! family {
    (
        $(#[$doc:meta])*
        $name:ident = $family:literal, kind $kind:expr;
        fields { $($field:ident: $type:ty = $key:literal,)* }
        $(later { $($late:ident: $late_type:ty = $late_key:literal,)* })?
    ) => {
        $(#[$doc])*
        pub(crate) struct $name {
            template: $crate::layout::Template,
            $($field: $crate::layout::Field<$type>,)*
            $($($late: $crate::layout::Field<$late_type>,)*)?
        }

        impl $name {
            pub(crate) fn new(
                structs: &$crate::layout::Structs,
            ) -> Result<Self, $crate::layout::LayoutError> {
                let family = structs.newest($family)?;
                Ok(Self {
                    template: family.template($kind),
                    $($field: family.field($key)?,)*
                    $($($late: family.later_field($late_key),)*)?
                })
            }

            /// The record's template, whose size is the struct's.
            pub(crate) fn template(&self) -> &$crate::layout::Template {
                &self.template
            }
        }
    };
}
use family;

/// The writers of one release.
pub(crate) struct Records {
    pub(crate) kernel: device_work::Kernel,
    pub(crate) memcpy: device_work::Memcpy,
    pub(crate) memcpy_peer: device_work::MemcpyPeer,
    pub(crate) memset: device_work::Memset,
    pub(crate) graph: device_work::GraphTrace,
    pub(crate) memory: host::Memory,
    pub(crate) synchronization: host::Synchronization,
    pub(crate) api: host::Api,
    pub(crate) external: host::ExternalCorrelation,
    pub(crate) overhead: host::Overhead,
    pub(crate) device: resources::Device,
    pub(crate) context: resources::Context,
    pub(crate) stream: resources::Stream,
    pub(crate) unknown: Template,
    marker_bytes: usize,
    larger_bytes: usize,
}

impl Records {
    /// Looks up every offset of the release `fixture`; records are `larger_bytes` longer than its structs.
    pub(crate) fn new(fixture: &str, larger_bytes: usize) -> Result<Self, LayoutError> {
        let structs = Structs::of(fixture)?;
        Ok(Self {
            kernel: device_work::Kernel::new(&structs)?,
            memcpy: device_work::Memcpy::new(&structs)?,
            memcpy_peer: device_work::MemcpyPeer::new(&structs)?,
            memset: device_work::Memset::new(&structs)?,
            graph: device_work::GraphTrace::new(&structs)?,
            memory: host::Memory::new(&structs)?,
            synchronization: host::Synchronization::new(&structs)?,
            api: host::Api::new(&structs)?,
            external: host::ExternalCorrelation::new(&structs)?,
            overhead: host::Overhead::new(&structs)?,
            device: resources::Device::new(&structs)?,
            context: resources::Context::new(&structs)?,
            stream: resources::Stream::new(&structs)?,
            unknown: structs.newest("Marker")?.template(kind::UNKNOWN_TO_ALL),
            marker_bytes: structs.newest("Marker")?.template(kind::MARKER).size(),
            larger_bytes,
        })
    }

    /// Bytes from the start of a record of `kind` to the next record; `None` for a kind that is never written.
    pub(crate) fn stride(&self, kind: u32) -> Option<usize> {
        let size = match kind {
            kind::KERNEL | kind::CONCURRENT_KERNEL => self.kernel.template().size(),
            kind::MEMCPY => self.memcpy.template().size(),
            kind::MEMCPY2 => self.memcpy_peer.template().size(),
            kind::MEMSET => self.memset.template().size(),
            kind::GRAPH_TRACE => self.graph.template().size(),
            kind::MEMORY2 => self.memory.template().size(),
            kind::SYNCHRONIZATION => self.synchronization.template().size(),
            kind::DRIVER | kind::RUNTIME => self.api.template().size(),
            kind::EXTERNAL_CORRELATION => self.external.template().size(),
            kind::OVERHEAD => self.overhead.template().size(),
            kind::DEVICE => self.device.template().size(),
            kind::CONTEXT => self.context.template().size(),
            kind::STREAM => self.stream.template().size(),
            kind::MARKER => self.marker_bytes,
            kind::UNKNOWN_TO_ALL => self.unknown.size(),
            _ => return None,
        };
        Some(size + self.larger_bytes)
    }

    /// What the fault `larger` appends to each record, bytes.
    pub(crate) fn larger_bytes(&self) -> usize {
        self.larger_bytes
    }
}
