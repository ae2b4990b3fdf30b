// What the arithmetic needs to be the same code on a GPU and on the host.
#pragma once

#include <cstddef>
#include <cstdint>

#ifdef __CUDACC__
#define IZNET_HD __host__ __device__ __forceinline__
#define IZNET_UNROLL _Pragma("unroll")
#define IZNET_UNROLL_ONCE _Pragma("unroll 1")
#define IZNET_UNROLL_TWICE _Pragma("unroll 2")
#else
#include <cmath>
#include <cstring>
#define IZNET_HD inline
#define IZNET_UNROLL
#define IZNET_UNROLL_ONCE
#define IZNET_UNROLL_TWICE
#endif

namespace iznet {

/// A value that no kernel writes: through the read-only cache on a GPU.
template <class T>
IZNET_HD T load(const T* address) {
#ifdef __CUDA_ARCH__
  return __ldg(address);
#else
  return *address;
#endif
}

struct alignas(16) Quad {
  float x, y, z, w;
};

/// Four neighbouring floats in one transaction. The address is a multiple of 16 bytes.
IZNET_HD Quad load_quad(const float* address) {
#ifdef __CUDA_ARCH__
  const float4 v = __ldg(reinterpret_cast<const float4*>(address));
  return {v.x, v.y, v.z, v.w};
#else
  return *reinterpret_cast<const Quad*>(address);
#endif
}

/// a·b + c, rounded once: the same bits on a GPU and on the host.
IZNET_HD float fused(float a, float b, float c) {
#ifdef __CUDACC__
  return fmaf(a, b, c);
#else
  return std::fmaf(a, b, c);
#endif
}

IZNET_HD float clamp(float value, float low, float high) {
  return value < low ? low : value > high ? high : value;
}

IZNET_HD bool finite(float value) { return value - value == 0.0f; }

/// The largest whole number that is not above `value`.
IZNET_HD int whole(float value) {
  const int toward_zero = static_cast<int>(value);
  return toward_zero - (value < static_cast<float>(toward_zero) ? 1 : 0);
}

/// Half-precision bits, rounded to nearest, ties to even. The host follows IEEE 754 by hand, as C++17 has no such type.
IZNET_HD uint16_t half_bits(float value) {
#ifdef __CUDA_ARCH__
  uint16_t bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
#elif defined(__CUDACC__)
  return static_cast<uint16_t>(value);  // nvcc compiles a host side too; nothing runs it
#else
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const uint32_t sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);
  const int exponent = static_cast<int>(magnitude >> 23) - 112;
  uint32_t mantissa = magnitude & 0x7fffffu;
  int dropped = 13;
  if (exponent < 1) {  // a subnormal half: its last bit stands for 2^-24
    if (exponent < -10) return static_cast<uint16_t>(sign);
    mantissa |= 0x800000u;
    dropped += 1 - exponent;
  }
  const uint32_t kept = (exponent < 1 ? 0u : static_cast<uint32_t>(exponent) << 10) + (mantissa >> dropped);
  const uint32_t rest = mantissa & ((1u << dropped) - 1), tie = 1u << (dropped - 1);
  return static_cast<uint16_t>(sign | (kept + (rest > tie || (rest == tie && (kept & 1u)) ? 1u : 0u)));
#endif
}

}  // namespace iznet
