//! Callback ids of the exported runtime functions, as `cupti_runtime_cbid.h` of CUPTI 12.9.79 numbers them; where it
//! numbers several versions of a function, the newest. Enters: nothing. Leaves: numbers. Refuses: nothing.
#![allow(non_upper_case_globals, reason = "the C names")]

macro_rules! cbids {
    ($($name:ident = $number:literal)*) => {
        $(
            /// Callback id of the function of this name.
            pub(crate) const $name: u32 = $number;
        )*
    };
}

cbids! {
    cudaDriverGetVersion = 1
    cudaRuntimeGetVersion = 2
    cudaGetDeviceCount = 3
    cudaGetDeviceProperties = 4
    cudaSetDevice = 16
    cudaGetDevice = 17
    cudaMalloc = 20
    cudaFree = 22
    cudaMallocHost = 25
    cudaFreeHost = 26
    cudaHostAlloc = 27
    cudaMemGetInfo = 30
    cudaMemcpy = 31
    cudaMemcpyToSymbol = 39
    cudaMemcpyFromSymbol = 40
    cudaMemcpyAsync = 41
    cudaMemset = 49
    cudaMemsetAsync = 51
    cudaGetSymbolAddress = 53
    cudaGetSymbolSize = 54
    cudaStreamCreate = 129
    cudaStreamSynchronize = 131
    cudaStreamQuery = 132
    cudaEventCreate = 133
    cudaEventCreateWithFlags = 134
    cudaEventRecord = 135
    cudaEventDestroy = 136
    cudaEventSynchronize = 137
    cudaEventQuery = 138
    cudaEventElapsedTime = 139
    cudaStreamWaitEvent = 147
    cudaPointerGetAttributes = 151
    cudaHostRegister = 152
    cudaHostUnregister = 153
    cudaDeviceCanAccessPeer = 154
    cudaDeviceEnablePeerAccess = 155
    cudaMemcpyPeer = 160
    cudaMemcpyPeerAsync = 161
    cudaDeviceReset = 164
    cudaDeviceSynchronize = 165
    cudaProfilerStart = 171
    cudaProfilerStop = 172
    cudaDeviceGetPCIBusId = 174
    cudaStreamCreateWithFlags = 198
    cudaDeviceGetAttribute = 200
    cudaStreamDestroy = 201
    cudaStreamCreateWithPriority = 202
    cudaDeviceGetStreamPriorityRange = 205
    cudaMallocManaged = 206
    cudaOccupancyMaxActiveBlocksPerMultiprocessor = 210
    cudaLaunchKernel = 211
    cudaLaunchKernel_ptsz = 214
    cudaMemcpy_ptds = 215
    cudaMemcpyAsync_ptsz = 225
    cudaMemset_ptds = 233
    cudaMemsetAsync_ptsz = 235
    cudaStreamSynchronize_ptsz = 239
    cudaEventRecord_ptsz = 242
    cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags = 251
    cudaLaunchCooperativeKernel = 269
    cudaFuncSetAttribute = 273
    cudaLaunchHostFunc = 284
    cudaGraphLaunch = 311
    cudaGraphLaunch_ptsz = 312
    cudaGraphExecDestroy = 313
    cudaGraphDestroy = 314
    cudaStreamBeginCapture = 315
    cudaStreamIsCapturing = 317
    cudaStreamEndCapture = 319
    cudaGraphGetNodes = 322
    cudaMallocAsync = 373
    cudaMallocAsync_ptsz = 374
    cudaFreeAsync = 375
    cudaFreeAsync_ptsz = 376
    cudaGraphInstantiateWithFlags = 418
    cudaLaunchKernelExC = 430
    cudaLaunchKernelExC_ptsz = 431
    cudaGetKernel = 439
    cudaGetDeviceProperties_v2 = 440
    cudaGraphInstantiate = 443
}
