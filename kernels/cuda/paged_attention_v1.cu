// paged_attention_v1_{f16,bf16,f32}_h{64,128,256}_b{16,32}: decode attention over a paged KV cache, one block
// of threads per (head, sequence), the whole context at once.
//
// grid (num_heads, num_seqs, 1), block 128; dynamic shared memory: one float per token of the longest context.
// out [num_seqs, num_heads, HEAD]. `sinks` [num_heads], or null, adds exp(sink) to each softmax's denominator.

#include "attention.cuh"

namespace gpu_agent {

template <typename T, int HEAD, int BLOCK>
__device__ void paged_attention_v1(T* out, const AttentionInputs<T>& in, const float* sinks) {
    extern __shared__ float weights[];
    __shared__ AttentionShared<HEAD> shared;
    const int context = in.context_lens[blockIdx.y];
    const Softmax softmax = attend<T, HEAD, BLOCK>(in, 0, context, shared, weights);
    const float sink = sinks == nullptr ? 0.0f : expf(sinks[blockIdx.x] - softmax.maximum);
    T* row = out + (static_cast<long long>(blockIdx.y) * gridDim.x + blockIdx.x) * HEAD;
    weigh<T, HEAD, BLOCK>(in, 0, context, weights, 1.0f / (softmax.sum + sink), row);
}

}  // namespace gpu_agent

#define KERNEL(T, HEAD, BLOCK)                                                                                 \
    extern "C" __global__ void __launch_bounds__(128) paged_attention_v1_##T##_h##HEAD##_b##BLOCK(             \
        gpu_agent::T* out, const gpu_agent::T* query, const gpu_agent::T* key_cache,                           \
        const gpu_agent::T* value_cache, int num_kv_heads, float scale, float softcapping,                     \
        const int* block_tables, const int* context_lens, int max_num_blocks_per_seq,                          \
        const float* alibi_slopes, int q_stride, int kv_block_stride, int kv_head_stride,                      \
        const float* sinks) {                                                                                  \
        gpu_agent::paged_attention_v1<gpu_agent::T, HEAD, BLOCK>(                                              \
            out,                                                                                               \
            {query, key_cache, value_cache, num_kv_heads, scale, softcapping, block_tables, context_lens,      \
             max_num_blocks_per_seq, alibi_slopes, q_stride, kv_block_stride, kv_head_stride},                 \
            sinks);                                                                                            \
    }

#define KERNELS_OF(T) \
    KERNEL(T, 64, 16) \
    KERNEL(T, 64, 32) \
    KERNEL(T, 128, 16) \
    KERNEL(T, 128, 32) \
    KERNEL(T, 256, 16) \
    KERNEL(T, 256, 32)

FOR_ELEMENT(KERNELS_OF)
