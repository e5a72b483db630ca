//! In: the number of an event in the life of contexts, streams, modules and graphs. Out: its name.
//!
//! Numbers: `CUpti_CallbackIdResource` in `cupti_callbacks.h`, 11.8 to 13.5; none ever changed.

use crate::open::open_newtype;

open_newtype! {
    /// `CUpti_CallbackIdResource`: ids of [`crate::CallbackDomain::RESOURCE`].
    pub struct ResourceCbid(u32), prefix "CUPTI_CBID_RESOURCE_" {
        INVALID = 0,
        CONTEXT_CREATED = 1,
        CONTEXT_DESTROY_STARTING = 2,
        STREAM_CREATED = 3,
        STREAM_DESTROY_STARTING = 4,
        CU_INIT_FINISHED = 5,
        MODULE_LOADED = 6,
        MODULE_UNLOAD_STARTING = 7,
        MODULE_PROFILED = 8,
        GRAPH_CREATED = 9,
        GRAPH_DESTROY_STARTING = 10,
        GRAPH_CLONED = 11,
        GRAPHNODE_CREATE_STARTING = 12,
        GRAPHNODE_CREATED = 13,
        GRAPHNODE_DESTROY_STARTING = 14,
        GRAPHNODE_DEPENDENCY_CREATED = 15,
        GRAPHNODE_DEPENDENCY_DESTROY_STARTING = 16,
        GRAPHEXEC_CREATE_STARTING = 17,
        GRAPHEXEC_CREATED = 18,
        GRAPHEXEC_DESTROY_STARTING = 19,
        GRAPHNODE_CLONED = 20,
        STREAM_ATTRIBUTE_CHANGED = 21,
        GRAPH_NODE_UPDATED = 22,
        GRAPH_NODE_SET_PARAMS = 23,
        LOGICAL_ENDPOINT_CREATED = 24,
        LOGICAL_ENDPOINT_DESTROYED = 25,
    }
}
