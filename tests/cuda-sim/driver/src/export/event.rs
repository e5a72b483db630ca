//! Events.

use crate::call::exports;
use crate::capture;
use crate::clock::now_ns;
use crate::context;
use crate::error::Outcome;
use crate::event;
use crate::ffi::{Handle, Out};
use crate::stream::resolve;
use crate::work::report_sync;

/// `CUPTI_ACTIVITY_SYNCHRONIZATION_TYPE_EVENT_SYNCHRONIZE`.
const EVENT_SYNCHRONIZE: u32 = 1;

fn elapsed(milliseconds: &Out<f32>, start: Handle, end: Handle) -> Outcome {
    milliseconds.check()?;
    milliseconds.put(event::find(start)?.elapsed_ms(event::find(end)?)?)
}

exports! {
    ready fn cuEventCreate(handle: Out<Handle>, flags: u32) {
        handle.check()?;
        context::current()?;
        handle.put(event::create(flags)?)
    }

    ready fn cuEventDestroy_v2(event: Handle) {
        event::destroy(event)
    }

    ready fn cuEventRecord(event: Handle, stream: Handle) {
        capture::record(resolve(stream, false)?, event::find(event)?)
    }

    ready fn cuEventRecord_ptsz(event: Handle, stream: Handle) {
        capture::record(resolve(stream, true)?, event::find(event)?)
    }

    ready fn cuEventRecordWithFlags(event: Handle, stream: Handle, _flags: u32) {
        capture::record(resolve(stream, false)?, event::find(event)?)
    }

    ready fn cuEventRecordWithFlags_ptsz(event: Handle, stream: Handle, _flags: u32) {
        capture::record(resolve(stream, true)?, event::find(event)?)
    }

    ready fn cuEventQuery(event: Handle) {
        event::find(event)?.query()
    }

    ready fn cuEventSynchronize(event: Handle) {
        let event = event::find(event)?;
        let start_ns = now_ns();
        event.synchronize()?;
        if let Ok(context) = context::current() {
            report_sync(context.default_stream(), EVENT_SYNCHRONIZE, start_ns);
        }
        Ok(())
    }

    ready fn cuEventElapsedTime(milliseconds: Out<f32>, start: Handle, end: Handle) {
        elapsed(&milliseconds, start, end)
    }

    ready fn cuEventElapsedTime_v2(milliseconds: Out<f32>, start: Handle, end: Handle) {
        elapsed(&milliseconds, start, end)
    }
}
