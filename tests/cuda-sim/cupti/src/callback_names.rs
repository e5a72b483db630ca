//! Names of the callback ids of API functions that the simulated libraries have, and of their stream variants.
//!
//! Enters: numbers of `cupti_driver_cbid.h` and `cupti_runtime_cbid.h` (13.5; numbers never changed). Leaves: names as
//! `cuptiGetCallbackName` spells them. Refuses: other ids: the real library names them too.

use core::ffi::CStr;
use cuda_sim_abi::domain;

/// The name of that callback id.
pub(crate) fn name(call_domain: u32, cbid: u32) -> Option<&'static CStr> {
    let names = match call_domain {
        domain::DRIVER => DRIVER,
        domain::RUNTIME => RUNTIME,
        _ => return None,
    };
    let index = names.binary_search_by_key(&cbid, |(known, _)| *known).ok()?;
    names.get(index).map(|(_, name)| *name)
}

/// By driver cbid, ascending.
#[rustfmt::skip]
const DRIVER: &[(u32, &CStr)] = &[
    (0, c"INVALID"),
    (1, c"cuInit"), (2, c"cuDriverGetVersion"), (3, c"cuDeviceGet"), (4, c"cuDeviceGetCount"),
    (5, c"cuDeviceGetName"), (9, c"cuDeviceGetAttribute"), (16, c"cuCtxGetDevice"), (17, c"cuCtxSynchronize"),
    (18, c"cuModuleLoad"), (19, c"cuModuleLoadData"), (20, c"cuModuleLoadDataEx"),
    (21, c"cuModuleLoadFatBinary"), (22, c"cuModuleUnload"), (23, c"cuModuleGetFunction"),
    (38, c"cuMemFreeHost"), (39, c"cuMemHostAlloc"), (85, c"cuFuncGetAttribute"), (118, c"cuEventCreate"),
    (119, c"cuEventRecord"), (120, c"cuEventQuery"), (121, c"cuEventSynchronize"),
    (123, c"cuEventElapsedTime"), (124, c"cuStreamCreate"), (125, c"cuStreamQuery"),
    (126, c"cuStreamSynchronize"), (216, c"cuMemsetD8Async"), (218, c"cuMemsetD16Async"),
    (220, c"cuMemsetD32Async"), (235, c"cuCtxCreate_v2"), (241, c"cuModuleGetGlobal_v2"),
    (242, c"cuMemGetInfo_v2"), (243, c"cuMemAlloc_v2"), (245, c"cuMemFree_v2"),
    (247, c"cuMemHostGetDevicePointer_v2"), (249, c"cuMemsetD8_v2"), (250, c"cuMemsetD16_v2"),
    (251, c"cuMemsetD32_v2"), (259, c"cuDeviceTotalMem_v2"), (276, c"cuMemcpyHtoD_v2"),
    (277, c"cuMemcpyHtoDAsync_v2"), (278, c"cuMemcpyDtoH_v2"), (279, c"cuMemcpyDtoHAsync_v2"),
    (280, c"cuMemcpyDtoD_v2"), (281, c"cuMemcpyDtoDAsync_v2"), (287, c"cuMemcpy2D_v2"),
    (289, c"cuMemcpy2DAsync_v2"), (294, c"cuMemAllocHost_v2"), (295, c"cuStreamWaitEvent"),
    (302, c"cuMemHostUnregister"), (303, c"cuCtxSetCurrent"), (304, c"cuCtxGetCurrent"), (305, c"cuMemcpy"),
    (306, c"cuMemcpyAsync"), (307, c"cuLaunchKernel"), (310, c"cuPointerGetAttribute"),
    (312, c"cuDeviceCanAccessPeer"), (313, c"cuCtxEnablePeerAccess"), (318, c"cuMemcpyPeer"),
    (319, c"cuMemcpyPeerAsync"), (322, c"cuCtxDestroy_v2"), (323, c"cuCtxPushCurrent_v2"),
    (324, c"cuCtxPopCurrent_v2"), (325, c"cuEventDestroy_v2"), (326, c"cuStreamDestroy_v2"),
    (332, c"cuDeviceGetPCIBusId"), (346, c"cuStreamAddCallback"), (367, c"cuStreamCreateWithPriority"),
    (371, c"cuMemAllocManaged"), (372, c"cuGetErrorString"), (373, c"cuGetErrorName"),
    (374, c"cuOccupancyMaxActiveBlocksPerMultiprocessor"), (379, c"cuMemHostRegister_v2"),
    (386, c"cuDevicePrimaryCtxRetain"), (392, c"cuDevicePrimaryCtxGetState"), (397, c"cuMemcpyHtoD_v2_ptds"),
    (398, c"cuMemcpyDtoH_v2_ptds"), (399, c"cuMemcpyDtoD_v2_ptds"), (405, c"cuMemcpy2D_v2_ptds"),
    (408, c"cuMemcpy_ptds"), (409, c"cuMemcpyPeer_ptds"), (411, c"cuMemsetD8_v2_ptds"),
    (412, c"cuMemsetD16_v2_ptds"), (413, c"cuMemsetD32_v2_ptds"), (418, c"cuMemcpyAsync_ptsz"),
    (421, c"cuMemcpyHtoDAsync_v2_ptsz"), (422, c"cuMemcpyDtoHAsync_v2_ptsz"),
    (423, c"cuMemcpyDtoDAsync_v2_ptsz"), (424, c"cuMemcpy2DAsync_v2_ptsz"), (426, c"cuMemcpyPeerAsync_ptsz"),
    (428, c"cuMemsetD8Async_ptsz"), (429, c"cuMemsetD16Async_ptsz"), (430, c"cuMemsetD32Async_ptsz"),
    (436, c"cuStreamWaitEvent_ptsz"), (437, c"cuStreamAddCallback_ptsz"), (439, c"cuStreamQuery_ptsz"),
    (440, c"cuStreamSynchronize_ptsz"), (441, c"cuEventRecord_ptsz"), (442, c"cuLaunchKernel_ptsz"),
    (477, c"cuLaunchCooperativeKernel"), (478, c"cuLaunchCooperativeKernel_ptsz"),
    (481, c"cuFuncSetAttribute"), (482, c"cuDeviceGetUuid"), (497, c"cuStreamEndCapture"),
    (498, c"cuStreamEndCapture_ptsz"), (499, c"cuStreamIsCapturing"), (500, c"cuStreamIsCapturing_ptsz"),
    (501, c"cuGraphCreate"), (514, c"cuGraphLaunch"), (515, c"cuGraphLaunch_ptsz"),
    (516, c"cuGraphExecDestroy"), (517, c"cuGraphDestroy"), (527, c"cuLaunchHostFunc"),
    (528, c"cuLaunchHostFunc_ptsz"), (539, c"cuStreamBeginCapture_v2"),
    (540, c"cuStreamBeginCapture_v2_ptsz"), (544, c"cuDevicePrimaryCtxRelease_v2"),
    (545, c"cuDevicePrimaryCtxReset_v2"), (546, c"cuDevicePrimaryCtxSetFlags_v2"),
    (578, c"cuGraphInstantiate_v2"), (580, c"cuGraphUpload"), (581, c"cuGraphUpload_ptsz"),
    (587, c"cuEventRecordWithFlags"), (588, c"cuEventRecordWithFlags_ptsz"), (598, c"cuMemAllocAsync"),
    (599, c"cuMemAllocAsync_ptsz"), (600, c"cuMemFreeAsync"), (601, c"cuMemFreeAsync_ptsz"),
    (606, c"cuDeviceGetDefaultMemPool"), (607, c"cuMemPoolCreate"), (608, c"cuMemPoolDestroy"),
    (610, c"cuDeviceGetMemPool"), (611, c"cuMemAllocFromPoolAsync"), (612, c"cuMemAllocFromPoolAsync_ptsz"),
    (626, c"cuGetProcAddress"), (629, c"cuStreamGetCaptureInfo_v2"), (630, c"cuStreamGetCaptureInfo_v2_ptsz"),
    (643, c"cuGraphInstantiateWithFlags"), (645, c"cuCtxCreate_v3"), (647, c"cuDeviceGetUuid_v2"),
    (652, c"cuLaunchKernelEx"), (653, c"cuLaunchKernelEx_ptsz"), (656, c"cuGraphInstantiateWithParams"),
    (657, c"cuGraphInstantiateWithParams_ptsz"), (677, c"cuGetProcAddress_v2"), (678, c"cuLibraryLoadData"),
    (680, c"cuLibraryUnload"), (681, c"cuLibraryGetKernel"), (682, c"cuLibraryGetModule"),
    (683, c"cuKernelGetFunction"), (693, c"cuStreamGetId"), (694, c"cuStreamGetId_ptsz"),
    (695, c"cuCtxGetId"), (757, c"cuCtxCreate_v4"), (780, c"cuEventElapsedTime_v2"),
];

/// By runtime cbid, ascending.
#[rustfmt::skip]
const RUNTIME: &[(u32, &CStr)] = &[
    (0, c"INVALID"),
    (1, c"cudaDriverGetVersion_v3020"), (2, c"cudaRuntimeGetVersion_v3020"), (3, c"cudaGetDeviceCount_v3020"),
    (4, c"cudaGetDeviceProperties_v3020"), (10, c"cudaGetLastError_v3020"),
    (11, c"cudaPeekAtLastError_v3020"), (15, c"cudaFuncGetAttributes_v3020"), (16, c"cudaSetDevice_v3020"),
    (17, c"cudaGetDevice_v3020"), (20, c"cudaMalloc_v3020"), (22, c"cudaFree_v3020"),
    (25, c"cudaMallocHost_v3020"), (26, c"cudaFreeHost_v3020"), (27, c"cudaHostAlloc_v3020"),
    (30, c"cudaMemGetInfo_v3020"), (31, c"cudaMemcpy_v3020"), (41, c"cudaMemcpyAsync_v3020"),
    (49, c"cudaMemset_v3020"), (51, c"cudaMemsetAsync_v3020"), (129, c"cudaStreamCreate_v3020"),
    (130, c"cudaStreamDestroy_v3020"), (131, c"cudaStreamSynchronize_v3020"), (132, c"cudaStreamQuery_v3020"),
    (133, c"cudaEventCreate_v3020"), (134, c"cudaEventCreateWithFlags_v3020"),
    (135, c"cudaEventRecord_v3020"), (136, c"cudaEventDestroy_v3020"), (137, c"cudaEventSynchronize_v3020"),
    (138, c"cudaEventQuery_v3020"), (139, c"cudaEventElapsedTime_v3020"), (147, c"cudaStreamWaitEvent_v3020"),
    (151, c"cudaPointerGetAttributes_v4000"), (161, c"cudaMemcpyPeerAsync_v4000"),
    (164, c"cudaDeviceReset_v3020"), (165, c"cudaDeviceSynchronize_v3020"),
    (198, c"cudaStreamCreateWithFlags_v5000"), (200, c"cudaDeviceGetAttribute_v5000"),
    (201, c"cudaStreamDestroy_v5050"), (202, c"cudaStreamCreateWithPriority_v5050"),
    (206, c"cudaMallocManaged_v6000"), (207, c"cudaOccupancyMaxActiveBlocksPerMultiprocessor_v6000"),
    (210, c"cudaOccupancyMaxActiveBlocksPerMultiprocessor_v6050"), (211, c"cudaLaunchKernel_v7000"),
    (214, c"cudaLaunchKernel_ptsz_v7000"), (215, c"cudaMemcpy_ptds_v7000"),
    (225, c"cudaMemcpyAsync_ptsz_v7000"), (233, c"cudaMemset_ptds_v7000"),
    (235, c"cudaMemsetAsync_ptsz_v7000"), (239, c"cudaStreamSynchronize_ptsz_v7000"),
    (240, c"cudaStreamQuery_ptsz_v7000"), (242, c"cudaEventRecord_ptsz_v7000"),
    (247, c"cudaStreamWaitEvent_ptsz_v7000"), (269, c"cudaLaunchCooperativeKernel_v9000"),
    (270, c"cudaLaunchCooperativeKernel_ptsz_v9000"), (273, c"cudaFuncSetAttribute_v9000"),
    (310, c"cudaGraphInstantiate_v10000"), (311, c"cudaGraphLaunch_v10000"),
    (312, c"cudaGraphLaunch_ptsz_v10000"), (313, c"cudaGraphExecDestroy_v10000"),
    (314, c"cudaGraphDestroy_v10000"), (315, c"cudaStreamBeginCapture_v10000"),
    (316, c"cudaStreamBeginCapture_ptsz_v10000"), (319, c"cudaStreamEndCapture_v10000"),
    (320, c"cudaStreamEndCapture_ptsz_v10000"), (373, c"cudaMallocAsync_v11020"),
    (374, c"cudaMallocAsync_ptsz_v11020"), (375, c"cudaFreeAsync_v11020"),
    (376, c"cudaFreeAsync_ptsz_v11020"), (418, c"cudaGraphInstantiateWithFlags_v11040"),
    (430, c"cudaLaunchKernelExC_v11060"), (431, c"cudaLaunchKernelExC_ptsz_v11060"),
    (440, c"cudaGetDeviceProperties_v12000"), (443, c"cudaGraphInstantiate_v12000"),
    (486, c"cudaEventElapsedTime_v12080"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_ascend_so_that_they_can_be_searched() {
        assert!(DRIVER.is_sorted_by_key(|(cbid, _)| *cbid) && RUNTIME.is_sorted_by_key(|(cbid, _)| *cbid));
        assert!(
            DRIVER.contains(&(307, c"cuLaunchKernel")) && RUNTIME.contains(&(211, c"cudaLaunchKernel_v7000"))
        );
    }
}
