// Channels side by side in one register, with a fused multiply-add where the processor has one.

#ifndef QUANTIZE_CONFIGS_NATIVE_LANES_H_
#define QUANTIZE_CONFIGS_NATIVE_LANES_H_

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__) || defined(__FMA__)
#include <immintrin.h>
#elif defined(__ARM_NEON) && defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace qfa {

#if defined(__AVX512F__)
constexpr int64_t kLanes = 16;
#elif defined(__FMA__)
constexpr int64_t kLanes = 8;
#else
constexpr int64_t kLanes = 4;
#endif

typedef float Lanes __attribute__((vector_size(kLanes * sizeof(float))));

inline Lanes MultiplyAdd(Lanes a, Lanes b, Lanes c) {
#if defined(__AVX512F__)
  return (Lanes)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
  return (Lanes)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__ARM_NEON) && defined(__aarch64__)
  return (Lanes)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
  return a * b + c;
#endif
}

inline Lanes Load(const float* from) {
  Lanes lanes;
  std::memcpy(&lanes, from, sizeof(lanes));
  return lanes;
}

inline void Store(Lanes lanes, float* to) { std::memcpy(to, &lanes, sizeof(lanes)); }

// The first `count` channels; zeros in the others.
inline Lanes Load(const float* from, int64_t count) {
  if (count >= kLanes) return Load(from);
#if defined(__AVX512F__)
  return (Lanes)_mm512_maskz_loadu_ps((__mmask16)((1u << count) - 1u), from);
#else
  Lanes lanes = {};
  std::memcpy(&lanes, from, count * sizeof(float));
  return lanes;
#endif
}

inline void Store(Lanes lanes, float* to, int64_t count) {
  if (count >= kLanes) return Store(lanes, to);
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(to, (__mmask16)((1u << count) - 1u), (__m512)lanes);
#else
  std::memcpy(to, &lanes, count * sizeof(float));
#endif
}

}  // namespace qfa

#endif  // QUANTIZE_CONFIGS_NATIVE_LANES_H_
