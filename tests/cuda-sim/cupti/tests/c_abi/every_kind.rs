//! One record of every kind that the simulated CUPTI writes.
//!
//! Enters: the size of the client's buffers. Leaves: records in them. Refuses nothing.

use crate::client;
use crate::mock::{exit_api, run, work};
use cuda_sim_abi::{activity, domain};
use cuda_sim_cupti::entry::activity::{
    cuptiActivityEnableAndDump, cuptiActivityPopExternalCorrelationId, cuptiActivityPushExternalCorrelationId,
};
use cuda_sim_cupti::kind;
use cuda_sim_cupti::status::Status;

/// Enables every kind; devices, contexts and streams that exist are reported at once.
pub(crate) fn listen(buffer_bytes: usize) {
    let kinds = [
        kind::MEMCPY,
        kind::MEMSET,
        kind::DRIVER,
        kind::RUNTIME,
        kind::CONCURRENT_KERNEL,
        kind::OVERHEAD,
        kind::MEMCPY2,
        kind::SYNCHRONIZATION,
        kind::EXTERNAL_CORRELATION,
        kind::MEMORY2,
        kind::GRAPH_TRACE,
    ];
    client::listen(buffer_bytes, &kinds);
    for kind in [kind::DEVICE, kind::CONTEXT, kind::STREAM] {
        assert_eq!(cuptiActivityEnableAndDump(kind), Status::SUCCESS);
    }
}

/// Work of every kind, a copy between devices, and two API calls with an external correlation id.
pub(crate) fn emit() {
    for kind in 1..=6 {
        run(&work(kind, kind));
    }
    let mut peer = work(activity::MEMCPY, 9);
    peer.peer_device_id = 1;
    run(&peer);
    assert_eq!(cuptiActivityPushExternalCorrelationId(3, 5), Status::SUCCESS);
    exit_api(domain::RUNTIME, 211, 10, 0);
    exit_api(domain::DRIVER, 307, 10, 0);
    // SAFETY: NULL is allowed.
    let popped = unsafe { cuptiActivityPopExternalCorrelationId(3, core::ptr::null_mut()) };
    assert_eq!(popped, Status::SUCCESS);
}
