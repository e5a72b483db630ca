//! What puts work in order: streams, events, captures and graphs.
#![allow(unsafe_code, reason = "exported C functions")]

use core::ffi::c_void;

use crate::call::{drive, exports};
use crate::driver::Handle;

use super::own;

exports! {
    bound(driver) fn cudaStreamCreate(stream: *mut Handle) {
        drive!(driver.cuStreamCreateWithPriority(stream, 0, 0))
    }

    bound(driver) fn cudaStreamCreateWithFlags(stream: *mut Handle, flags: u32) {
        drive!(driver.cuStreamCreateWithPriority(stream, flags, 0))
    }

    bound(driver) fn cudaStreamCreateWithPriority(stream: *mut Handle, flags: u32, priority: i32) {
        drive!(driver.cuStreamCreateWithPriority(stream, flags, priority))
    }

    bound(driver) fn cudaStreamDestroy(stream: Handle) {
        drive!(driver.cuStreamDestroy_v2(stream))
    }

    bound(driver) fn cudaStreamSynchronize(stream: Handle) {
        drive!(driver.cuStreamSynchronize(stream))
    }

    bound(driver) fn cudaStreamSynchronize_ptsz(stream: Handle) {
        drive!(driver.cuStreamSynchronize(own(stream)))
    }

    bound(driver) fn cudaStreamQuery(stream: Handle) {
        drive!(driver.cuStreamQuery(stream))
    }

    bound(driver) fn cudaStreamWaitEvent(stream: Handle, event: Handle, flags: u32) {
        drive!(driver.cuStreamWaitEvent(stream, event, flags))
    }

    bound(driver) fn cudaStreamBeginCapture(stream: Handle, mode: u32) {
        drive!(driver.cuStreamBeginCapture_v2(stream, mode))
    }

    bound(driver) fn cudaStreamEndCapture(stream: Handle, graph: *mut Handle) {
        drive!(driver.cuStreamEndCapture(stream, graph))
    }

    bound(driver) fn cudaStreamIsCapturing(stream: Handle, status: *mut u32) {
        drive!(driver.cuStreamIsCapturing(stream, status))
    }

    bound(driver) fn cudaLaunchHostFunc(
        stream: Handle, function: Option<unsafe extern "C" fn(*mut c_void)>, data: *mut c_void,
    ) {
        drive!(driver.cuLaunchHostFunc(stream, function, data))
    }

    bound(driver) fn cudaEventCreate(event: *mut Handle) {
        drive!(driver.cuEventCreate(event, 0))
    }

    bound(driver) fn cudaEventCreateWithFlags(event: *mut Handle, flags: u32) {
        drive!(driver.cuEventCreate(event, flags))
    }

    bound(driver) fn cudaEventDestroy(event: Handle) {
        drive!(driver.cuEventDestroy_v2(event))
    }

    bound(driver) fn cudaEventRecord(event: Handle, stream: Handle) {
        drive!(driver.cuEventRecord(event, stream))
    }

    bound(driver) fn cudaEventRecord_ptsz(event: Handle, stream: Handle) {
        drive!(driver.cuEventRecord(event, own(stream)))
    }

    bound(driver) fn cudaEventQuery(event: Handle) {
        drive!(driver.cuEventQuery(event))
    }

    bound(driver) fn cudaEventSynchronize(event: Handle) {
        drive!(driver.cuEventSynchronize(event))
    }

    bound(driver) fn cudaEventElapsedTime(milliseconds: *mut f32, start: Handle, end: Handle) {
        drive!(driver.cuEventElapsedTime(milliseconds, start, end))
    }

    bound(driver) fn cudaGraphInstantiate(executable: *mut Handle, graph: Handle, flags: u64) {
        drive!(driver.cuGraphInstantiateWithFlags(executable, graph, flags))
    }

    bound(driver) fn cudaGraphInstantiateWithFlags(executable: *mut Handle, graph: Handle, flags: u64) {
        drive!(driver.cuGraphInstantiateWithFlags(executable, graph, flags))
    }

    bound(driver) fn cudaGraphGetNodes(graph: Handle, nodes: *mut Handle, count: *mut usize) {
        drive!(driver.cuGraphGetNodes(graph, nodes, count))
    }

    bound(driver) fn cudaGraphLaunch(executable: Handle, stream: Handle) {
        drive!(driver.cuGraphLaunch(executable, stream))
    }

    bound(driver) fn cudaGraphLaunch_ptsz(executable: Handle, stream: Handle) {
        drive!(driver.cuGraphLaunch(executable, own(stream)))
    }

    bound(driver) fn cudaGraphExecDestroy(executable: Handle) {
        drive!(driver.cuGraphExecDestroy(executable))
    }

    bound(driver) fn cudaGraphDestroy(graph: Handle) {
        drive!(driver.cuGraphDestroy(graph))
    }
}
