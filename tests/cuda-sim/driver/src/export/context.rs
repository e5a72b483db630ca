//! Contexts.

use core::ffi::c_void;
use std::sync::atomic::Ordering;

use crate::call::exports;
use crate::clock::now_ns;
use crate::context::{self, CONTEXTS, Context};
use crate::device::by_ordinal;
use crate::error::{Error, Outcome};
use crate::ffi::{Handle, Out};
use crate::sync::lock;
use crate::work::report_sync;

/// `CUPTI_ACTIVITY_SYNCHRONIZATION_TYPE_CONTEXT_SYNCHRONIZE`.
const CONTEXT_SYNCHRONIZE: u32 = 4;
/// Greatest and least priority of a stream.
pub(crate) const PRIORITIES: (i32, i32) = (-5, 0);

fn create(handle: &Out<Handle>, flags: u32, device: i32) -> Outcome {
    handle.check()?;
    let context = Context::create(by_ordinal(device)?, flags)?;
    context::push(context);
    handle.put(context.handle())
}

fn find(handle: Handle) -> Outcome<&'static Context> {
    CONTEXTS.get(handle).ok_or(Error::INVALID_CONTEXT)
}

/// The context of a handle, or the current one for NULL.
fn find_or_current(handle: Handle) -> Outcome<&'static Context> {
    if handle == Handle::NULL { context::current() } else { find(handle) }
}

fn synchronize(context: &'static Context) -> Outcome {
    let start_ns = now_ns();
    context.drain();
    report_sync(context.default_stream(), CONTEXT_SYNCHRONIZE, start_ns);
    context.check().map(|_| ())
}

exports! {
    ready fn cuCtxCreate_v2(context: Out<Handle>, flags: u32, device: i32) {
        create(&context, flags, device)
    }

    ready fn cuCtxCreate_v3(
        context: Out<Handle>, _affinities: *const c_void, count: i32, flags: u32, device: i32,
    ) {
        if count != 0 {
            return Err(Error::NOT_SUPPORTED);
        }
        create(&context, flags, device)
    }

    ready fn cuCtxCreate_v4(context: Out<Handle>, _parameters: *const c_void, flags: u32, device: i32) {
        create(&context, flags, device)
    }

    ready fn cuCtxDestroy_v2(context: Handle) {
        let context = find(context)?;
        if context.device.primary.is(context) {
            return Err(Error::INVALID_CONTEXT);
        }
        if context::current_raw().is_some_and(|current| current.id == context.id) {
            context::pop()?;
        }
        context.destroy()
    }

    ready fn cuCtxPushCurrent_v2(context: Handle) {
        context::push(find(context)?);
        Ok(())
    }

    ready fn cuCtxPopCurrent_v2(context: Out<Handle>) {
        context.put_if_asked(context::pop()?.handle());
        Ok(())
    }

    ready fn cuCtxSetCurrent(context: Handle) {
        let context = if context == Handle::NULL { None } else { Some(find(context)?) };
        context::set_current(context);
        Ok(())
    }

    ready fn cuCtxGetCurrent(context: Out<Handle>) {
        context.put(context::current_raw().map_or(Handle::NULL, Context::handle))
    }

    ready fn cuCtxGetId(context: Handle, id: Out<u64>) {
        id.put(u64::from(find_or_current(context)?.id))
    }

    ready fn cuCtxGetFlags(flags: Out<u32>) {
        flags.put(context::current()?.flags.load(Ordering::Relaxed))
    }

    ready fn cuCtxSetFlags(flags: u32) {
        context::current()?.flags.store(flags, Ordering::Relaxed);
        Ok(())
    }

    ready fn cuCtxGetApiVersion(context: Handle, version: Out<u32>) {
        find_or_current(context)?;
        version.put(3020)
    }

    ready fn cuCtxSynchronize() {
        synchronize(context::current()?)
    }

    ready fn cuCtxGetLimit(value: Out<usize>, limit: u32) {
        value.check()?;
        let limits = &context::current()?.limits;
        match limits.get(limit as usize).map(|value| value.load(Ordering::Relaxed)) {
            Some(u64::MAX) | None => Err(Error::UNSUPPORTED_LIMIT),
            Some(limit) => value.put(limit as usize),
        }
    }

    ready fn cuCtxSetLimit(limit: u32, value: usize) {
        match context::current()?.limits.get(limit as usize) {
            Some(limit) if limit.load(Ordering::Relaxed) != u64::MAX => {
                limit.store(value as u64, Ordering::Relaxed);
                Ok(())
            }
            _ => Err(Error::UNSUPPORTED_LIMIT),
        }
    }

    ready fn cuCtxGetCacheConfig(configuration: Out<u32>) {
        configuration.put(context::current()?.cache_config.load(Ordering::Relaxed))
    }

    ready fn cuCtxSetCacheConfig(configuration: u32) {
        if configuration > 3 {
            return Err(Error::INVALID_VALUE);
        }
        context::current()?.cache_config.store(configuration, Ordering::Relaxed);
        Ok(())
    }

    ready fn cuCtxGetSharedMemConfig(configuration: Out<u32>) {
        context::current()?;
        configuration.put(1)
    }

    ready fn cuCtxSetSharedMemConfig(_configuration: u32) {
        context::current().map(|_| ())
    }

    ready fn cuCtxGetStreamPriorityRange(least: Out<i32>, greatest: Out<i32>) {
        context::current()?;
        least.put_if_asked(PRIORITIES.1);
        greatest.put_if_asked(PRIORITIES.0);
        Ok(())
    }

    ready fn cuCtxResetPersistingL2Cache() {
        context::current().map(|_| ())
    }

    ready fn cuCtxEnablePeerAccess(peer: Handle, flags: u32) {
        let (context, peer) = (context::current()?, find(peer)?);
        if flags != 0 {
            return Err(Error::INVALID_VALUE);
        }
        if context.device.ordinal == peer.device.ordinal {
            return Err(Error::INVALID_DEVICE);
        }
        let mut peers = lock(&context.peers);
        if peers.contains(&peer.id) {
            return Err(Error::PEER_ACCESS_ALREADY_ENABLED);
        }
        peers.push(peer.id);
        Ok(())
    }

    ready fn cuCtxDisablePeerAccess(peer: Handle) {
        let (context, peer) = (context::current()?, find(peer)?);
        let mut peers = lock(&context.peers);
        let before = peers.len();
        peers.retain(|id| *id != peer.id);
        if peers.len() == before { Err(Error::PEER_ACCESS_NOT_ENABLED) } else { Ok(()) }
    }
}
