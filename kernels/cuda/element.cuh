// Element types: storage is bits, arithmetic is float.
//
// Written with PTX conversions, so that no header of the CUDA toolkit is needed to compile the kernels.
// Every source is compiled once per type, with ELEMENT defined as f16, bf16 or f32, into a module of its own: a
// driver then compiles only the type that a program uses.
#pragma once

// KERNELS(f16), KERNELS(bf16) or KERNELS(f32): two steps, so that ELEMENT is replaced before it is pasted.
#define WITH(KERNELS, ELEMENT_TYPE) KERNELS(ELEMENT_TYPE)
#define FOR_ELEMENT(KERNELS) WITH(KERNELS, ELEMENT)

namespace gpu_agent {

// IEEE 754 binary16.
struct f16 {
    unsigned short bits;
};

// bfloat16: the upper half of a binary32.
struct bf16 {
    unsigned short bits;
};

using f32 = float;

__device__ __forceinline__ float widen(float value) { return value; }

__device__ __forceinline__ float widen(f16 value) {
    float wide;
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(value.bits));
    return wide;
}

__device__ __forceinline__ float widen(bf16 value) {
    return __uint_as_float(static_cast<unsigned>(value.bits) << 16);
}

// Narrowing rounds to nearest, ties to even.
template <typename T>
__device__ __forceinline__ T narrow(float value);

template <>
__device__ __forceinline__ float narrow<float>(float value) {
    return value;
}

template <>
__device__ __forceinline__ f16 narrow<f16>(float value) {
    f16 out;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(out.bits) : "f"(value));
    return out;
}

template <>
__device__ __forceinline__ bf16 narrow<bf16>(float value) {
    bf16 out;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(out.bits) : "f"(value));
    return out;
}

// Elements in 16 bytes: the `x` of the key cache's layout, and what one thread loads at once.
template <typename T>
struct Lanes {
    static constexpr int count = 16 / sizeof(T);
};

// 16 bytes of elements, loaded in one instruction. `from` is aligned to 16 bytes.
template <typename T>
struct Vector {
    union {
        uint4 raw;
        T lane[Lanes<T>::count];
    };

    __device__ __forceinline__ explicit Vector(const T* from) : raw(*reinterpret_cast<const uint4*>(from)) {}
};

}  // namespace gpu_agent
