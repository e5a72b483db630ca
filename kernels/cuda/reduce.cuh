// Reductions over the threads of a block.
#pragma once

namespace gpu_agent {

constexpr int kWarp = 32;

struct Sum {
    static __device__ __forceinline__ float identity() { return 0.0f; }
    static __device__ __forceinline__ float join(float a, float b) { return a + b; }
};

struct Max {
    static __device__ __forceinline__ float identity() { return -__int_as_float(0x7f800000); }
    static __device__ __forceinline__ float join(float a, float b) { return fmaxf(a, b); }
};

// Shared memory of a reduction: one float per warp, and the result.
struct ReduceScratch {
    float partial[kWarp];
    float total;
};

// `value` joined over all threads of the block, returned to each. Every thread must call it; blockDim.x is a
// multiple of 32. The scratch may be used again at once.
template <typename Op>
__device__ float reduce(float value, ReduceScratch& scratch) {
    const int warp = threadIdx.x / kWarp;
    const int lane = threadIdx.x % kWarp;
    for (int offset = kWarp / 2; offset > 0; offset /= 2) {
        value = Op::join(value, __shfl_xor_sync(0xffffffffu, value, offset));
    }
    if (lane == 0) scratch.partial[warp] = value;
    __syncthreads();
    if (warp == 0) {
        value = lane < blockDim.x / kWarp ? scratch.partial[lane] : Op::identity();
        for (int offset = kWarp / 2; offset > 0; offset /= 2) {
            value = Op::join(value, __shfl_xor_sync(0xffffffffu, value, offset));
        }
        if (lane == 0) scratch.total = value;
    }
    __syncthreads();
    return scratch.total;
}

}  // namespace gpu_agent
