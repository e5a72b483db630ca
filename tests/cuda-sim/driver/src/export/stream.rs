//! Streams, host functions and capture.

use core::ffi::c_void;
use std::cell::Cell;

use crate::call::exports;
use crate::capture;
use crate::clock::now_ns;
use crate::context;
use crate::error::{Error, Outcome};
use crate::ffi::{Handle, Out};
use crate::stream::{Kind, Stream, resolve};
use crate::work::{HostCall, HostFunction, Work, report_sync};

use super::context::PRIORITIES;

/// `CUPTI_ACTIVITY_SYNCHRONIZATION_TYPE_STREAM_WAIT_EVENT` and `_STREAM_SYNCHRONIZE`.
const STREAM_WAIT_EVENT: u32 = 2;
const STREAM_SYNCHRONIZE: u32 = 3;

/// `CUhostFn` and `CUstreamCallback`; NULL is refused.
type HostFn = Option<unsafe extern "C" fn(*mut c_void)>;
type Callback = Option<unsafe extern "C" fn(Handle, i32, *mut c_void)>;

fn create(stream: &Out<Handle>, flags: u32, priority: i32) -> Outcome {
    stream.check()?;
    let kind = match flags {
        0 => Kind::Blocking,
        1 => Kind::NonBlocking,
        _ => return Err(Error::INVALID_VALUE),
    };
    stream.put(Stream::create(context::current()?, kind, priority.clamp(PRIORITIES.0, PRIORITIES.1))?)
}

fn synchronize(stream: &'static Stream) -> Outcome {
    capture::refuse(stream)?;
    let start_ns = now_ns();
    stream.drain();
    report_sync(stream, STREAM_SYNCHRONIZE, start_ns);
    stream.context.check().map(|_| ())
}

fn query(stream: &'static Stream) -> Outcome {
    capture::refuse(stream)?;
    if stream.is_idle() { Ok(()) } else { Err(Error::NOT_READY) }
}

fn wait(stream: &'static Stream, event: Handle) -> Outcome {
    let event = crate::event::find(event)?;
    let start_ns = now_ns();
    capture::wait(stream, event)?;
    report_sync(stream, STREAM_WAIT_EVENT, start_ns);
    Ok(())
}

fn call_host(stream: &'static Stream, function: HostFn, data: *mut c_void) -> Outcome {
    let function = HostFunction::Plain(function.ok_or(Error::INVALID_VALUE)?);
    stream.submit(Work::Host(HostCall { function, data }))
}

fn capture_info(stream: &'static Stream, status: &Out<u32>, id: &Out<u64>) -> Outcome {
    let (now, number) = capture::status(stream);
    status.put(now as u32)?;
    id.put_if_asked(number);
    Ok(())
}

exports! {
    ready fn cuStreamCreate(stream: Out<Handle>, flags: u32) {
        create(&stream, flags, 0)
    }

    ready fn cuStreamCreateWithPriority(stream: Out<Handle>, flags: u32, priority: i32) {
        create(&stream, flags, priority)
    }

    ready fn cuStreamDestroy_v2(stream: Handle) {
        Stream::destroy(stream)
    }

    ready fn cuStreamSynchronize(stream: Handle) {
        synchronize(resolve(stream, false)?)
    }

    ready fn cuStreamSynchronize_ptsz(stream: Handle) {
        synchronize(resolve(stream, true)?)
    }

    ready fn cuStreamQuery(stream: Handle) {
        query(resolve(stream, false)?)
    }

    ready fn cuStreamQuery_ptsz(stream: Handle) {
        query(resolve(stream, true)?)
    }

    ready fn cuStreamWaitEvent(stream: Handle, event: Handle, _flags: u32) {
        wait(resolve(stream, false)?, event)
    }

    ready fn cuStreamWaitEvent_ptsz(stream: Handle, event: Handle, _flags: u32) {
        wait(resolve(stream, true)?, event)
    }

    ready fn cuStreamGetPriority(stream: Handle, priority: Out<i32>) {
        priority.put(resolve(stream, false)?.priority)
    }

    ready fn cuStreamGetFlags(stream: Handle, flags: Out<u32>) {
        flags.put(resolve(stream, false)?.flags())
    }

    ready fn cuStreamGetId(stream: Handle, id: Out<u64>) {
        id.put(u64::from(resolve(stream, false)?.id))
    }

    ready fn cuStreamGetCtx(stream: Handle, context: Out<Handle>) {
        context.put(resolve(stream, false)?.context.handle())
    }

    ready fn cuStreamGetDevice(stream: Handle, device: Out<i32>) {
        device.put(resolve(stream, false)?.context.device.ordinal as i32)
    }

    ready fn cuLaunchHostFunc(stream: Handle, function: HostFn, data: *mut c_void) {
        call_host(resolve(stream, false)?, function, data)
    }

    ready fn cuLaunchHostFunc_ptsz(stream: Handle, function: HostFn, data: *mut c_void) {
        call_host(resolve(stream, true)?, function, data)
    }

    ready fn cuStreamAddCallback(stream: Handle, callback: Callback, data: *mut c_void, flags: u32) {
        let resolved = resolve(stream, false)?;
        capture::refuse(resolved)?;
        if flags != 0 {
            return Err(Error::INVALID_VALUE);
        }
        let function = HostFunction::Callback(callback.ok_or(Error::INVALID_VALUE)?, stream);
        resolved.submit(Work::Host(HostCall { function, data }))
    }

    ready fn cuStreamBeginCapture_v2(stream: Handle, mode: u32) {
        if mode > 2 {
            return Err(Error::INVALID_VALUE);
        }
        capture::begin(resolve(stream, false)?)
    }

    ready fn cuStreamBeginCapture_v2_ptsz(stream: Handle, mode: u32) {
        if mode > 2 {
            return Err(Error::INVALID_VALUE);
        }
        capture::begin(resolve(stream, true)?)
    }

    ready fn cuStreamEndCapture(stream: Handle, graph: Out<Handle>) {
        graph.put(Handle::NULL)?;
        graph.put(capture::end(resolve(stream, false)?)?)
    }

    ready fn cuStreamEndCapture_ptsz(stream: Handle, graph: Out<Handle>) {
        graph.put(Handle::NULL)?;
        graph.put(capture::end(resolve(stream, true)?)?)
    }

    ready fn cuStreamIsCapturing(stream: Handle, status: Out<u32>) {
        status.put(capture::status(resolve(stream, false)?).0 as u32)
    }

    ready fn cuStreamIsCapturing_ptsz(stream: Handle, status: Out<u32>) {
        status.put(capture::status(resolve(stream, true)?).0 as u32)
    }

    ready fn cuStreamGetCaptureInfo(stream: Handle, status: Out<u32>, id: Out<u64>) {
        capture_info(resolve(stream, false)?, &status, &id)
    }

    ready fn cuStreamGetCaptureInfo_v2(
        stream: Handle, status: Out<u32>, id: Out<u64>, graph: Out<Handle>, dependencies: Out<Handle>,
        count: Out<usize>,
    ) {
        capture_info(resolve(stream, false)?, &status, &id)?;
        graph.put_if_asked(Handle::NULL);
        dependencies.put_if_asked(Handle::NULL);
        count.put_if_asked(0);
        Ok(())
    }

    ready fn cuStreamGetCaptureInfo_v3(
        stream: Handle, status: Out<u32>, id: Out<u64>, graph: Out<Handle>, dependencies: Out<Handle>,
        edges: Out<Handle>, count: Out<usize>,
    ) {
        capture_info(resolve(stream, false)?, &status, &id)?;
        graph.put_if_asked(Handle::NULL);
        dependencies.put_if_asked(Handle::NULL);
        edges.put_if_asked(Handle::NULL);
        count.put_if_asked(0);
        Ok(())
    }

    ready fn cuThreadExchangeStreamCaptureMode(mode: Out<u32>) {
        thread_local! { static MODE: Cell<u32> = const { Cell::new(0) } }
        let new = mode.get()?;
        if new > 2 {
            return Err(Error::INVALID_VALUE);
        }
        mode.put(MODE.replace(new))
    }
}
