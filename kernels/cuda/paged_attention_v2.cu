// paged_attention_v2_{f16,bf16,f32}_h{64,128,256}_b{16,32} and paged_attention_v2_reduce_{f16,bf16,f32}_h{64,128,256}: decode
// attention for long contexts. The context is cut into partitions of 512 tokens, each attended to by a block of
// threads of its own; the reduction joins them.
//
// v2:      grid (num_heads, num_seqs, num_partitions), block 128; dynamic shared memory: 512 floats.
//          exp_sums, max_logits [num_seqs, num_heads, num_partitions]; tmp_out [..., HEAD].
// reduce:  grid (num_heads, num_seqs), block 128; dynamic shared memory: one float per partition.
// Partitions past the end of a sequence's context are neither written nor read.

#include "attention.cuh"

namespace gpu_agent {

template <typename T, int HEAD, int BLOCK>
__device__ void paged_attention_v2(float* exp_sums, float* max_logits, T* tmp_out, const AttentionInputs<T>& in) {
    extern __shared__ float weights[];
    __shared__ AttentionShared<HEAD> shared;
    const int from = blockIdx.z * kPartition;
    const int context = in.context_lens[blockIdx.y];
    if (from >= context) return;
    const int to = min(from + kPartition, context);
    const Softmax softmax = attend<T, HEAD, BLOCK>(in, from, to, shared, weights);
    const long long index =
        (static_cast<long long>(blockIdx.y) * gridDim.x + blockIdx.x) * gridDim.z + blockIdx.z;
    if (threadIdx.x == 0) {
        exp_sums[index] = softmax.sum;
        max_logits[index] = softmax.maximum;
    }
    weigh<T, HEAD, BLOCK>(in, from, to, weights, 1.0f / softmax.sum, tmp_out + index * HEAD);
}

template <typename T, int HEAD>
__device__ void paged_attention_v2_reduce(T* out, const float* exp_sums, const float* max_logits,
                                          const T* tmp_out, const int* context_lens, int max_num_partitions,
                                          const float* sinks) {
    extern __shared__ float weights[];
    __shared__ ReduceScratch scratch;
    const int context = context_lens[blockIdx.y];
    const int partitions = min((context + kPartition - 1) / kPartition, max_num_partitions);
    const long long cell = static_cast<long long>(blockIdx.y) * gridDim.x + blockIdx.x;
    exp_sums += cell * max_num_partitions;
    max_logits += cell * max_num_partitions;
    tmp_out += cell * max_num_partitions * HEAD;

    float maximum = Max::identity();
    for (int part = threadIdx.x; part < partitions; part += kThreads) maximum = fmaxf(maximum, max_logits[part]);
    maximum = reduce<Max>(maximum, scratch);
    float sum = 0.0f;
    for (int part = threadIdx.x; part < partitions; part += kThreads) {
        weights[part] = exp_sums[part] * expf(max_logits[part] - maximum);
        sum += weights[part];
    }
    sum = reduce<Sum>(sum, scratch);
    if (sinks != nullptr) sum += expf(sinks[blockIdx.x] - maximum);

    for (int dim = threadIdx.x; dim < HEAD; dim += kThreads) {
        float total = 0.0f;
        for (int part = 0; part < partitions; ++part) total += weights[part] * widen(tmp_out[part * HEAD + dim]);
        out[cell * HEAD + dim] = narrow<T>(total / sum);
    }
}

}  // namespace gpu_agent

#define KERNEL(T, HEAD, BLOCK)                                                                                 \
    extern "C" __global__ void __launch_bounds__(128) paged_attention_v2_##T##_h##HEAD##_b##BLOCK(             \
        float* exp_sums, float* max_logits, gpu_agent::T* tmp_out, const gpu_agent::T* query,                  \
        const gpu_agent::T* key_cache, const gpu_agent::T* value_cache, int num_kv_heads, float scale,         \
        float softcapping, const int* block_tables, const int* context_lens, int max_num_blocks_per_seq,       \
        const float* alibi_slopes, int q_stride, int kv_block_stride, int kv_head_stride) {                    \
        gpu_agent::paged_attention_v2<gpu_agent::T, HEAD, BLOCK>(                                              \
            exp_sums, max_logits, tmp_out,                                                                     \
            {query, key_cache, value_cache, num_kv_heads, scale, softcapping, block_tables, context_lens,      \
             max_num_blocks_per_seq, alibi_slopes, q_stride, kv_block_stride, kv_head_stride});                \
    }

#define REDUCE(T, HEAD)                                                                                        \
    extern "C" __global__ void __launch_bounds__(128) paged_attention_v2_reduce_##T##_h##HEAD(                 \
        gpu_agent::T* out, const float* exp_sums, const float* max_logits, const gpu_agent::T* tmp_out,        \
        const int* context_lens, int max_num_partitions, const float* sinks) {                                 \
        gpu_agent::paged_attention_v2_reduce<gpu_agent::T, HEAD>(out, exp_sums, max_logits, tmp_out,           \
                                                                 context_lens, max_num_partitions, sinks);     \
    }

#define KERNELS_OF(T)  \
    KERNEL(T, 64, 16)  \
    KERNEL(T, 64, 32)  \
    KERNEL(T, 128, 16) \
    KERNEL(T, 128, 32) \
    KERNEL(T, 256, 16) \
    KERNEL(T, 256, 32) \
    REDUCE(T, 64)      \
    REDUCE(T, 128)     \
    REDUCE(T, 256)

FOR_ELEMENT(KERNELS_OF)
