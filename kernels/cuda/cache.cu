// Kernels that move the KV cache, for T in f16, bf16, f32:
//
// reshape_and_cache_T  grid (num_tokens): writes each token's key and value into its slot of the paged cache.
// gather_kv_cache_T    grid (num_tokens): reads them back into contiguous tensors, sequence after sequence.
// copy_blocks_T        grid (num_layers, num_pairs): copies whole cache blocks inside the device.
//
// Caches:  key   [num_blocks, num_kv_heads, head_size / x, block_size, x]
//          value [num_blocks, num_kv_heads, head_size, block_size]

#include "element.cuh"

namespace gpu_agent {

// Where elements lie in the two caches.
struct Paging {
    int num_heads;
    int head_size;
    int block_size;
    int x;

    __device__ long long key(long long block, int slot, int head, int dim) const {
        return (((block * num_heads + head) * (head_size / x) + dim / x) * block_size + slot) * x + dim % x;
    }

    __device__ long long value(long long block, int slot, int head, int dim) const {
        return ((block * num_heads + head) * head_size + dim) * block_size + slot;
    }
};

// A negative slot means that the token is padding and is not stored.
template <typename T>
__device__ void reshape_and_cache(const T* key, const T* value, T* key_cache, T* value_cache,
                                  const long long* slot_mapping, int key_stride, int value_stride,
                                  const Paging& paging) {
    const long long token = blockIdx.x;
    const long long position = slot_mapping[token];
    if (position < 0) return;
    const long long block = position / paging.block_size;
    const int slot = position % paging.block_size;
    for (int i = threadIdx.x; i < paging.num_heads * paging.head_size; i += blockDim.x) {
        const int head = i / paging.head_size;
        const int dim = i % paging.head_size;
        key_cache[paging.key(block, slot, head, dim)] = key[token * key_stride + i];
        value_cache[paging.value(block, slot, head, dim)] = value[token * value_stride + i];
    }
}

// cu_seq_lens [num_seqs + 1] holds where each sequence begins among the tokens; empty sequences are allowed.
template <typename T>
__device__ void gather_kv_cache(const T* key_cache, const T* value_cache, T* k_out, T* v_out,
                                const int* block_table, const int* cu_seq_lens, int num_seqs,
                                int block_table_stride, const Paging& paging) {
    const int token = blockIdx.x;
    int low = 0;
    int high = num_seqs + 1;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (cu_seq_lens[middle] <= token) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    const int seq = low - 1;
    if (seq < 0 || seq >= num_seqs) return;
    const int position = token - cu_seq_lens[seq];
    const long long block =
        block_table[static_cast<long long>(seq) * block_table_stride + position / paging.block_size];
    const int slot = position % paging.block_size;
    const int numel = paging.num_heads * paging.head_size;
    for (int i = threadIdx.x; i < numel; i += blockDim.x) {
        const int head = i / paging.head_size;
        const int dim = i % paging.head_size;
        const long long out = static_cast<long long>(token) * numel + i;
        k_out[out] = key_cache[paging.key(block, slot, head, dim)];
        v_out[out] = value_cache[paging.value(block, slot, head, dim)];
    }
}

template <typename T>
__device__ void copy_blocks(T* const* key_caches, T* const* value_caches, const long long* block_mapping,
                            int numel_per_block_key, int numel_per_block_value) {
    const long long from = block_mapping[2 * blockIdx.y];
    const long long to = block_mapping[2 * blockIdx.y + 1];
    T* keys = key_caches[blockIdx.x];
    T* values = value_caches[blockIdx.x];
    for (int i = threadIdx.x; i < numel_per_block_key; i += blockDim.x) {
        keys[to * numel_per_block_key + i] = keys[from * numel_per_block_key + i];
    }
    for (int i = threadIdx.x; i < numel_per_block_value; i += blockDim.x) {
        values[to * numel_per_block_value + i] = values[from * numel_per_block_value + i];
    }
}

}  // namespace gpu_agent

#define KERNELS_OF(T)                                                                                          \
    extern "C" __global__ void reshape_and_cache_##T(                                                          \
        const gpu_agent::T* key, const gpu_agent::T* value, gpu_agent::T* key_cache,                           \
        gpu_agent::T* value_cache, const long long* slot_mapping, int key_stride, int value_stride,            \
        int num_heads, int head_size, int block_size, int x) {                                                 \
        gpu_agent::reshape_and_cache(key, value, key_cache, value_cache, slot_mapping, key_stride,             \
                                     value_stride, {num_heads, head_size, block_size, x});                     \
    }                                                                                                          \
    extern "C" __global__ void gather_kv_cache_##T(                                                            \
        const gpu_agent::T* key_cache, const gpu_agent::T* value_cache, gpu_agent::T* k_out,                   \
        gpu_agent::T* v_out, const int* block_table, const int* cu_seq_lens, int num_seqs, int block_size,     \
        int block_table_stride, int num_kv_heads, int head_size, int x) {                                      \
        gpu_agent::gather_kv_cache(key_cache, value_cache, k_out, v_out, block_table, cu_seq_lens, num_seqs,   \
                                   block_table_stride, {num_kv_heads, head_size, block_size, x});              \
    }                                                                                                          \
    extern "C" __global__ void copy_blocks_##T(gpu_agent::T* const* key_caches,                                \
                                               gpu_agent::T* const* value_caches,                              \
                                               const long long* block_mapping, int numel_per_block_key,        \
                                               int numel_per_block_value) {                                    \
        gpu_agent::copy_blocks(key_caches, value_caches, block_mapping, numel_per_block_key,                   \
                               numel_per_block_value);                                                         \
    }

FOR_ELEMENT(KERNELS_OF)
