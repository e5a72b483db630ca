// Attention of one query token to a run of cached tokens: what paged_attention_v1 and _v2 share.
//
// Caches:  key   [num_blocks, num_kv_heads, HEAD / x, BLOCK, x]   with x = 16 bytes of elements
//          value [num_blocks, num_kv_heads, HEAD, BLOCK]
//
// Scores: one thread per token. Neighbouring threads hold neighbouring tokens, and the key layout puts their
// 16-byte pieces side by side, so each load of a warp is contiguous and no reduction is needed.
// Values: BLOCK / x threads per row of BLOCK tokens; again contiguous, and reduced over those few threads.
#pragma once

#include "element.cuh"
#include "reduce.cuh"

namespace gpu_agent {

// Threads of a block in the attention kernels.
constexpr int kThreads = 128;
// Tokens of one partition of paged_attention_v2.
constexpr int kPartition = 512;

template <typename T>
struct AttentionInputs {
    const T* query;             // [num_seqs, num_heads, HEAD], rows q_stride elements apart
    const T* key_cache;
    const T* value_cache;
    int num_kv_heads;           // divides gridDim.x, the number of query heads
    float scale;
    float softcapping;          // 1 turns it off
    const int* block_tables;    // [num_seqs, max_num_blocks_per_seq]
    const int* context_lens;    // [num_seqs], each at least 1
    int max_num_blocks_per_seq;
    const float* alibi_slopes;  // [num_heads], or null
    int q_stride;
    int kv_block_stride;
    int kv_head_stride;
};

template <int HEAD>
struct AttentionShared {
    float query[HEAD];
    ReduceScratch reduce;
};

// Maximum of the scores, and sum of exp(score - maximum).
struct Softmax {
    float maximum;
    float sum;
};

// Attends to tokens from <= t < to of sequence blockIdx.y with query head blockIdx.x; `from` is a multiple of
// BLOCK. Leaves exp(score - maximum) of each in `weights` (dynamic shared memory, to - from floats).
template <typename T, int HEAD, int BLOCK>
__device__ Softmax attend(const AttentionInputs<T>& in, int from, int to, AttentionShared<HEAD>& shared,
                          float* weights) {
    constexpr int kLanes = Lanes<T>::count;
    const int head = blockIdx.x;
    const int seq = blockIdx.y;
    const long long kv_head = head / (gridDim.x / in.num_kv_heads);
    const int* table = in.block_tables + static_cast<long long>(seq) * in.max_num_blocks_per_seq;

    const T* query = in.query + static_cast<long long>(seq) * in.q_stride + head * HEAD;
    for (int dim = threadIdx.x; dim < HEAD; dim += kThreads) {
        shared.query[dim] = widen(query[dim]) * in.scale;
    }
    __syncthreads();

    const float slope = in.alibi_slopes == nullptr ? 0.0f : in.alibi_slopes[head];
    const int context = in.context_lens[seq];
    float maximum = Max::identity();
    for (int token = from + threadIdx.x; token < to; token += kThreads) {
        const long long block = table[token / BLOCK];
        const T* key = in.key_cache + block * in.kv_block_stride + kv_head * in.kv_head_stride +
                       (token % BLOCK) * kLanes;
        float score = 0.0f;
#pragma unroll 2
        for (int chunk = 0; chunk < HEAD / kLanes; ++chunk) {
            const Vector<T> piece(key + chunk * BLOCK * kLanes);
#pragma unroll
            for (int lane = 0; lane < kLanes; ++lane) {
                score += shared.query[chunk * kLanes + lane] * widen(piece.lane[lane]);
            }
        }
        if (in.softcapping != 1.0f) score = tanhf(score / in.softcapping) * in.softcapping;
        score += slope * static_cast<float>(token - context + 1);
        weights[token - from] = score;
        maximum = fmaxf(maximum, score);
    }
    maximum = reduce<Max>(maximum, shared.reduce);

    float sum = 0.0f;
    for (int token = threadIdx.x; token < to - from; token += kThreads) {
        const float weight = expf(weights[token] - maximum);
        weights[token] = weight;
        sum += weight;
    }
    return {maximum, reduce<Sum>(sum, shared.reduce)};
}

// Writes the sum of the values of tokens from <= t < to, weighted by `weights` and multiplied by `factor`, to
// `out` (HEAD elements). Slots past `to` are not read as numbers: an unwritten slot may hold a NaN.
template <typename T, int HEAD, int BLOCK>
__device__ void weigh(const AttentionInputs<T>& in, int from, int to, const float* weights, float factor,
                      T* out) {
    constexpr int kLanes = Lanes<T>::count;
    constexpr int kPerRow = BLOCK / kLanes;
    constexpr int kRows = kThreads / kPerRow;
    constexpr int kPasses = HEAD / kRows;
    static_assert(HEAD % kRows == 0 && kWarp % kPerRow == 0, "every thread has whole rows");

    const int column = (threadIdx.x % kPerRow) * kLanes;
    const int row = threadIdx.x / kPerRow;
    const long long kv_head = blockIdx.x / (gridDim.x / in.num_kv_heads);
    const int* table = in.block_tables + static_cast<long long>(blockIdx.y) * in.max_num_blocks_per_seq;

    float sums[kPasses] = {};
    for (int start = from; start < to; start += BLOCK) {
        const long long block = table[start / BLOCK];
        const T* values = in.value_cache + block * in.kv_block_stride + kv_head * in.kv_head_stride +
                          row * BLOCK + column;
        const int valid = to - start - column;
        const float* weight = weights + (start - from) + column;
#pragma unroll
        for (int pass = 0; pass < kPasses; ++pass) {
            const Vector<T> piece(values + pass * kRows * BLOCK);
#pragma unroll
            for (int lane = 0; lane < kLanes; ++lane) {
                if (lane < valid) sums[pass] += weight[lane] * widen(piece.lane[lane]);
            }
        }
    }
#pragma unroll
    for (int pass = 0; pass < kPasses; ++pass) {
        float sum = sums[pass];
        for (int offset = kPerRow / 2; offset > 0; offset /= 2) {
            sum += __shfl_xor_sync(0xffffffffu, sum, offset);
        }
        if (column == 0) out[row + pass * kRows] = narrow<T>(sum * factor);
    }
}

}  // namespace gpu_agent
