//! In: the number of a CUDA runtime API function. Out: its name, and the groups by which we ask CUPTI for calls.
//!
//! Numbers: `cupti_runtime_cbid.h`, 11.8 to 13.5; none ever changed. The suffix is the CUDA version that brought the function in this shape; `_ptds` and `_ptsz` are the same calls
//! with a per-thread default stream.

use super::cbids;

cbids! {
    /// Callback id of a CUDA runtime API function (`CUpti_runtime_api_trace_cbid`).
    pub struct RuntimeCbid;

    /// Kernel and graph launches.
    LAUNCH_RUNTIME {
        cudaLaunch_v3020 = 13, cudaLaunchKernel_v7000 = 211, cudaLaunch_ptsz_v7000 = 213,
        cudaLaunchKernel_ptsz_v7000 = 214, cudaLaunchCooperativeKernel_v9000 = 269,
        cudaLaunchCooperativeKernel_ptsz_v9000 = 270, cudaLaunchCooperativeKernelMultiDevice_v9000 = 272,
        cudaGraphLaunch_v10000 = 311, cudaGraphLaunch_ptsz_v10000 = 312, cudaLaunchKernelExC_v11060 = 430,
        cudaLaunchKernelExC_ptsz_v11060 = 431, __cudaLaunchKernel_v13000 = 505 since 130_000,
        __cudaLaunchKernel_ptsz_v13000 = 506 since 130_000,
    }

    /// Copies, synchronous and asynchronous.
    MEMCPY_RUNTIME {
        cudaMemcpy_v3020 = 31, cudaMemcpy2D_v3020 = 32, cudaMemcpyToArray_v3020 = 33,
        cudaMemcpy2DToArray_v3020 = 34, cudaMemcpyFromArray_v3020 = 35, cudaMemcpy2DFromArray_v3020 = 36,
        cudaMemcpyArrayToArray_v3020 = 37, cudaMemcpy2DArrayToArray_v3020 = 38, cudaMemcpyToSymbol_v3020 = 39,
        cudaMemcpyFromSymbol_v3020 = 40, cudaMemcpyAsync_v3020 = 41, cudaMemcpyToArrayAsync_v3020 = 42,
        cudaMemcpyFromArrayAsync_v3020 = 43, cudaMemcpy2DAsync_v3020 = 44,
        cudaMemcpy2DToArrayAsync_v3020 = 45, cudaMemcpy2DFromArrayAsync_v3020 = 46,
        cudaMemcpyToSymbolAsync_v3020 = 47, cudaMemcpyFromSymbolAsync_v3020 = 48, cudaMemcpy3D_v3020 = 144,
        cudaMemcpy3DAsync_v3020 = 145, cudaMemcpyPeer_v4000 = 160, cudaMemcpyPeerAsync_v4000 = 161,
        cudaMemcpy3DPeer_v4000 = 162, cudaMemcpy3DPeerAsync_v4000 = 163, cudaMemcpy_ptds_v7000 = 215,
        cudaMemcpy2D_ptds_v7000 = 216, cudaMemcpyToArray_ptds_v7000 = 217,
        cudaMemcpy2DToArray_ptds_v7000 = 218, cudaMemcpyFromArray_ptds_v7000 = 219,
        cudaMemcpy2DFromArray_ptds_v7000 = 220, cudaMemcpyArrayToArray_ptds_v7000 = 221,
        cudaMemcpy2DArrayToArray_ptds_v7000 = 222, cudaMemcpyToSymbol_ptds_v7000 = 223,
        cudaMemcpyFromSymbol_ptds_v7000 = 224, cudaMemcpyAsync_ptsz_v7000 = 225,
        cudaMemcpyToArrayAsync_ptsz_v7000 = 226, cudaMemcpyFromArrayAsync_ptsz_v7000 = 227,
        cudaMemcpy2DAsync_ptsz_v7000 = 228, cudaMemcpy2DToArrayAsync_ptsz_v7000 = 229,
        cudaMemcpy2DFromArrayAsync_ptsz_v7000 = 230, cudaMemcpyToSymbolAsync_ptsz_v7000 = 231,
        cudaMemcpyFromSymbolAsync_ptsz_v7000 = 232, cudaMemcpy3D_ptds_v7000 = 245,
        cudaMemcpy3DAsync_ptsz_v7000 = 246, cudaMemcpy3DPeer_ptds_v7000 = 249,
        cudaMemcpy3DPeerAsync_ptsz_v7000 = 250, cudaMemcpyBatchAsync_v12080 = 482 since 26,
        cudaMemcpyBatchAsync_ptsz_v12080 = 483 since 26, cudaMemcpy3DBatchAsync_v12080 = 484 since 26,
        cudaMemcpy3DBatchAsync_ptsz_v12080 = 485 since 26, cudaMemcpyBatchAsync_v13000 = 509 since 130_000,
        cudaMemcpyBatchAsync_ptsz_v13000 = 510 since 130_000,
        cudaMemcpy3DBatchAsync_v13000 = 511 since 130_000,
        cudaMemcpy3DBatchAsync_ptsz_v13000 = 512 since 130_000,
        cudaMemcpyWithAttributesAsync_v13020 = 554 since 130_200,
        cudaMemcpyWithAttributesAsync_ptsz_v13020 = 555 since 130_200,
        cudaMemcpy3DWithAttributesAsync_v13020 = 556 since 130_200,
        cudaMemcpy3DWithAttributesAsync_ptsz_v13020 = 557 since 130_200,
    }

    /// Fills, synchronous and asynchronous.
    MEMSET_RUNTIME {
        cudaMemset_v3020 = 49, cudaMemset2D_v3020 = 50, cudaMemsetAsync_v3020 = 51,
        cudaMemset2DAsync_v3020 = 52, cudaMemset3D_v3020 = 142, cudaMemset3DAsync_v3020 = 143,
        cudaMemset_ptds_v7000 = 233, cudaMemset2D_ptds_v7000 = 234, cudaMemsetAsync_ptsz_v7000 = 235,
        cudaMemset2DAsync_ptsz_v7000 = 236, cudaMemset3D_ptds_v7000 = 243, cudaMemset3DAsync_ptsz_v7000 = 244,
    }

    /// Memory taken, given back and pinned.
    ALLOC_RUNTIME {
        cudaMalloc_v3020 = 20, cudaMallocPitch_v3020 = 21, cudaFree_v3020 = 22, cudaMallocArray_v3020 = 23,
        cudaFreeArray_v3020 = 24, cudaMallocHost_v3020 = 25, cudaFreeHost_v3020 = 26,
        cudaHostAlloc_v3020 = 27, cudaMalloc3D_v3020 = 140, cudaMalloc3DArray_v3020 = 141,
        cudaHostRegister_v4000 = 152, cudaHostUnregister_v4000 = 153, cudaMallocMipmappedArray_v5000 = 192,
        cudaFreeMipmappedArray_v5000 = 194, cudaMallocManaged_v6000 = 206, cudaMallocAsync_v11020 = 373,
        cudaMallocAsync_ptsz_v11020 = 374, cudaFreeAsync_v11020 = 375, cudaFreeAsync_ptsz_v11020 = 376,
        cudaMallocFromPoolAsync_v11020 = 391, cudaMallocFromPoolAsync_ptsz_v11020 = 392,
    }

    /// Calls in which the host waits for a stream, an event or a device.
    SYNC_RUNTIME {
        cudaThreadSynchronize_v3020 = 126, cudaStreamSynchronize_v3020 = 131,
        cudaEventSynchronize_v3020 = 137, cudaDeviceSynchronize_v3020 = 165,
        cudaStreamSynchronize_ptsz_v7000 = 239, cudaExecutionCtxSynchronize_v13010 = 534 since 130_100,
    }

    /// Code loaded and unloaded.
    MODULE_RUNTIME {
        cudaLibraryLoadData_v12060 = 470 since 27, cudaLibraryLoadFromFile_v12060 = 471 since 27,
        cudaLibraryUnload_v12060 = 472 since 27, __cudaInitModule_v13000 = 501 since 130_000,
    }
}

impl RuntimeCbid {
    /// Whether the call launches a graph rather than one kernel.
    #[must_use]
    pub const fn is_graph_launch(self) -> bool {
        matches!(self, Self::cudaGraphLaunch_v10000 | Self::cudaGraphLaunch_ptsz_v10000)
    }
}
