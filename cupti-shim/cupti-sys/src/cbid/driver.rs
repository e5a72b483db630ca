//! In: the number of a CUDA driver API function. Out: its name, and the groups by which we ask CUPTI for calls.
//!
//! Numbers: `cupti_driver_cbid.h`, 11.8 to 13.5; none ever changed. `_ptds` and `_ptsz` are the same calls with a per-thread default stream.

use super::cbids;

cbids! {
    /// Callback id of a CUDA driver API function (`CUpti_driver_api_trace_cbid`).
    pub struct DriverCbid;

    /// Kernel and graph launches.
    LAUNCH_DRIVER {
        cuLaunch = 115, cuLaunchGrid = 116, cuLaunchGridAsync = 117, cuLaunchKernel = 307,
        cuLaunchKernel_ptsz = 442, cuLaunchCooperativeKernel = 477, cuLaunchCooperativeKernel_ptsz = 478,
        cuLaunchCooperativeKernelMultiDevice = 480, cuGraphLaunch = 514, cuGraphLaunch_ptsz = 515,
        cuLaunchKernelEx = 652, cuLaunchKernelEx_ptsz = 653, cuGraphLaunchWithArguments = 819 since 130_100,
    }

    /// Copies, synchronous and asynchronous.
    MEMCPY_DRIVER {
        cuMemcpyHtoD = 43, cuMemcpyDtoH = 45, cuMemcpyDtoD = 47, cuMemcpyDtoA = 49, cuMemcpyAtoD = 51,
        cuMemcpyHtoA = 53, cuMemcpyAtoH = 54, cuMemcpyAtoA = 55, cuMemcpy2D = 56, cuMemcpy2DUnaligned = 57,
        cuMemcpy3D = 58, cuMemcpyHtoDAsync = 60, cuMemcpyDtoHAsync = 62, cuMemcpyDtoDAsync = 64,
        cuMemcpyHtoAAsync = 66, cuMemcpyAtoHAsync = 67, cuMemcpy2DAsync = 68, cuMemcpy3DAsync = 69,
        cuMemcpy_v2 = 248, cuMemcpyHtoD_v2 = 276, cuMemcpyHtoDAsync_v2 = 277, cuMemcpyDtoH_v2 = 278,
        cuMemcpyDtoHAsync_v2 = 279, cuMemcpyDtoD_v2 = 280, cuMemcpyDtoDAsync_v2 = 281, cuMemcpyAtoH_v2 = 282,
        cuMemcpyAtoHAsync_v2 = 283, cuMemcpyAtoD_v2 = 284, cuMemcpyDtoA_v2 = 285, cuMemcpyAtoA_v2 = 286,
        cuMemcpy2D_v2 = 287, cuMemcpy2DUnaligned_v2 = 288, cuMemcpy2DAsync_v2 = 289, cuMemcpy3D_v2 = 290,
        cuMemcpy3DAsync_v2 = 291, cuMemcpyHtoA_v2 = 292, cuMemcpyHtoAAsync_v2 = 293, cuMemcpy = 305,
        cuMemcpyAsync = 306, cuMemcpyPeer = 318, cuMemcpyPeerAsync = 319, cuMemcpy3DPeer = 320,
        cuMemcpy3DPeerAsync = 321, cuMemcpyHtoD_v2_ptds = 397, cuMemcpyDtoH_v2_ptds = 398,
        cuMemcpyDtoD_v2_ptds = 399, cuMemcpyDtoA_v2_ptds = 400, cuMemcpyAtoD_v2_ptds = 401,
        cuMemcpyHtoA_v2_ptds = 402, cuMemcpyAtoH_v2_ptds = 403, cuMemcpyAtoA_v2_ptds = 404,
        cuMemcpy2D_v2_ptds = 405, cuMemcpy2DUnaligned_v2_ptds = 406, cuMemcpy3D_v2_ptds = 407,
        cuMemcpy_ptds = 408, cuMemcpyPeer_ptds = 409, cuMemcpy3DPeer_ptds = 410, cuMemcpyAsync_ptsz = 418,
        cuMemcpyHtoAAsync_v2_ptsz = 419, cuMemcpyAtoHAsync_v2_ptsz = 420, cuMemcpyHtoDAsync_v2_ptsz = 421,
        cuMemcpyDtoHAsync_v2_ptsz = 422, cuMemcpyDtoDAsync_v2_ptsz = 423, cuMemcpy2DAsync_v2_ptsz = 424,
        cuMemcpy3DAsync_v2_ptsz = 425, cuMemcpyPeerAsync_ptsz = 426, cuMemcpy3DPeerAsync_ptsz = 427,
        cuMemcpyBatchAsync = 776 since 26, cuMemcpyBatchAsync_ptsz = 777 since 26,
        cuMemcpy3DBatchAsync = 778 since 26, cuMemcpy3DBatchAsync_ptsz = 779 since 26,
        cuMemcpyBatchAsync_v2 = 796 since 130_000, cuMemcpyBatchAsync_v2_ptsz = 797 since 130_000,
        cuMemcpy3DBatchAsync_v2 = 798 since 130_000, cuMemcpy3DBatchAsync_v2_ptsz = 799 since 130_000,
        cuMemcpyWithAttributesAsync = 837 since 130_101, cuMemcpyWithAttributesAsync_ptsz = 838 since 130_101,
        cuMemcpy3DWithAttributesAsync = 839 since 130_101,
        cuMemcpy3DWithAttributesAsync_ptsz = 840 since 130_101,
    }

    /// Fills, synchronous and asynchronous.
    MEMSET_DRIVER {
        cuMemsetD8 = 71, cuMemsetD16 = 73, cuMemsetD32 = 75, cuMemsetD2D8 = 77, cuMemsetD2D16 = 79,
        cuMemsetD2D32 = 81, cuMemsetD8Async = 216, cuMemsetD16Async = 218, cuMemsetD32Async = 220,
        cuMemsetD2D8Async = 222, cuMemsetD2D16Async = 224, cuMemsetD2D32Async = 226, cuMemsetD8_v2 = 249,
        cuMemsetD16_v2 = 250, cuMemsetD32_v2 = 251, cuMemsetD2D8_v2 = 252, cuMemsetD2D16_v2 = 253,
        cuMemsetD2D32_v2 = 254, cuMemsetD8_v2_ptds = 411, cuMemsetD16_v2_ptds = 412,
        cuMemsetD32_v2_ptds = 413, cuMemsetD2D8_v2_ptds = 414, cuMemsetD2D16_v2_ptds = 415,
        cuMemsetD2D32_v2_ptds = 416, cuMemsetD8Async_ptsz = 428, cuMemsetD16Async_ptsz = 429,
        cuMemsetD32Async_ptsz = 430, cuMemsetD2D8Async_ptsz = 431, cuMemsetD2D16Async_ptsz = 432,
        cuMemsetD2D32Async_ptsz = 433,
    }

    /// Memory taken, given back, pinned and mapped.
    ALLOC_DRIVER {
        cuMemAlloc = 29, cuMemAllocPitch = 31, cuMemFree = 33, cuMemAllocHost = 37, cuMemFreeHost = 38,
        cuMemHostAlloc = 39, cuMemAlloc_v2 = 243, cuMemAllocPitch_v2 = 244, cuMemFree_v2 = 245,
        cuMemHostAlloc_v2 = 271, cuMemAllocHost_v2 = 294, cuMemHostRegister = 301, cuMemHostUnregister = 302,
        cuMemAllocManaged = 371, cuMemHostRegister_v2 = 379, cuMemAddressReserve = 547,
        cuMemAddressFree = 548, cuMemCreate = 549, cuMemRelease = 550, cuMemMap = 551, cuMemUnmap = 552,
        cuMemAllocAsync = 598, cuMemAllocAsync_ptsz = 599, cuMemFreeAsync = 600, cuMemFreeAsync_ptsz = 601,
        cuMemAllocFromPoolAsync = 611, cuMemAllocFromPoolAsync_ptsz = 612,
    }

    /// Calls in which the host waits for a stream, an event or a context.
    SYNC_DRIVER {
        cuCtxSynchronize = 17, cuEventSynchronize = 121, cuStreamSynchronize = 126,
        cuStreamSynchronize_ptsz = 440, cuCtxSynchronize_v2 = 800 since 130_000,
    }

    /// Code loaded and unloaded.
    MODULE_DRIVER {
        cuModuleLoad = 18, cuModuleLoadData = 19, cuModuleLoadDataEx = 20, cuModuleLoadFatBinary = 21,
        cuModuleUnload = 22, cuLinkComplete = 365, cuLibraryLoadData = 678, cuLibraryLoadFromFile = 679,
        cuLibraryUnload = 680,
    }
}

impl DriverCbid {
    /// Whether the call launches a graph rather than one kernel.
    #[must_use]
    pub const fn is_graph_launch(self) -> bool {
        matches!(self, Self::cuGraphLaunch | Self::cuGraphLaunch_ptsz | Self::cuGraphLaunchWithArguments)
    }
}
