// Dense kernels, for T in f16, bf16, f32:
//
// rms_norm_T  grid (num_tokens), block a multiple of 32 up to 1024:
//             out = input / sqrt(mean(input^2) + epsilon) * weight, by rows of hidden_size. `out` may be `input`.
// gemm_T      grid (ceil(n / 64), ceil(m / 64)), block 256:
//             out[m, n] = act(alpha * a[m, k] b[n, k]^T) + beta * out; act is 0: identity, 1: SiLU.
//             All row-major; `out` is not read when beta is 0.

#include "element.cuh"
#include "reduce.cuh"

namespace gpu_agent {

template <typename T>
__device__ void rms_norm(T* out, const T* input, const T* weight, int hidden_size, float epsilon) {
    __shared__ ReduceScratch scratch;
    input += static_cast<long long>(blockIdx.x) * hidden_size;
    out += static_cast<long long>(blockIdx.x) * hidden_size;
    float squares = 0.0f;
    for (int i = threadIdx.x; i < hidden_size; i += blockDim.x) {
        const float value = widen(input[i]);
        squares += value * value;
    }
    squares = reduce<Sum>(squares, scratch);
    const float scale = 1.0f / sqrtf(squares / hidden_size + epsilon);
    for (int i = threadIdx.x; i < hidden_size; i += blockDim.x) {
        out[i] = narrow<T>(widen(input[i]) * scale * widen(weight[i]));
    }
}

constexpr int kTile = 64;    // rows and columns of out that a block makes
constexpr int kStep = 16;    // columns of a and b held in shared memory at a time
constexpr int kPatch = 4;    // rows and columns of out that a thread makes
constexpr int kPitch = kTile + 4;

// Loads rows first..first+64, columns start..start+16 of a row-major [rows, k] matrix, transposed, zero outside.
template <typename T>
__device__ void load_tile(float (&tile)[kStep][kPitch], const T* matrix, int first, int rows, int start, int k) {
    for (int i = threadIdx.x; i < kTile * kStep; i += blockDim.x) {
        const int row = i / kStep;
        const int column = i % kStep;
        const bool inside = first + row < rows && start + column < k;
        tile[column][row] =
            inside ? widen(matrix[static_cast<long long>(first + row) * k + start + column]) : 0.0f;
    }
}

template <typename T>
__device__ void gemm(T* out, const T* a, const T* b, int m, int n, int k, float alpha, float beta,
                     unsigned activation) {
    __shared__ float a_tile[kStep][kPitch];
    __shared__ float b_tile[kStep][kPitch];
    const int first_row = blockIdx.y * kTile;
    const int first_column = blockIdx.x * kTile;
    const int row = threadIdx.x / (kTile / kPatch) * kPatch;
    const int column = threadIdx.x % (kTile / kPatch) * kPatch;
    float sums[kPatch][kPatch] = {};
    for (int start = 0; start < k; start += kStep) {
        load_tile(a_tile, a, first_row, m, start, k);
        load_tile(b_tile, b, first_column, n, start, k);
        __syncthreads();
#pragma unroll
        for (int step = 0; step < kStep; ++step) {
#pragma unroll
            for (int i = 0; i < kPatch; ++i) {
#pragma unroll
                for (int j = 0; j < kPatch; ++j) {
                    sums[i][j] += a_tile[step][row + i] * b_tile[step][column + j];
                }
            }
        }
        __syncthreads();
    }
    for (int i = 0; i < kPatch; ++i) {
        for (int j = 0; j < kPatch; ++j) {
            const int out_row = first_row + row + i;
            const int out_column = first_column + column + j;
            if (out_row >= m || out_column >= n) continue;
            float value = alpha * sums[i][j];
            if (activation == 1) value = value / (1.0f + expf(-value));
            T* cell = out + static_cast<long long>(out_row) * n + out_column;
            if (beta != 0.0f) value += beta * widen(*cell);
            *cell = narrow<T>(value);
        }
    }
}

}  // namespace gpu_agent

#define KERNELS_OF(T)                                                                                          \
    extern "C" __global__ void rms_norm_##T(gpu_agent::T* out, const gpu_agent::T* input,                      \
                                            const gpu_agent::T* weight, int hidden_size, float epsilon) {      \
        gpu_agent::rms_norm(out, input, weight, hidden_size, epsilon);                                         \
    }                                                                                                          \
    extern "C" __global__ void __launch_bounds__(256)                                                          \
        gemm_##T(gpu_agent::T* out, const gpu_agent::T* a, const gpu_agent::T* b, int m, int n, int k,         \
                 float alpha, float beta, unsigned activation) {                                               \
        gpu_agent::gemm(out, a, b, m, n, k, alpha, beta, activation);                                          \
    }

FOR_ELEMENT(KERNELS_OF)
