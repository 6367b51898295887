// Sums and extremes of the channels of a tensor, in one pass.
//
// Sums are taken in blocks of a fixed size, in float32 within a block and in float64 over blocks,
// so that results do not depend on the threads.

#ifndef QUANTIZE_CONFIGS_NATIVE_REDUCTION_H_
#define QUANTIZE_CONFIGS_NATIVE_REDUCTION_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernel.h"

namespace qfa {

constexpr int64_t kBlock = 1 << 12;  // elements of a block of a sum

// Rows and channels of a tensor, channels last.
struct Shape {
  int64_t rows, channels;
  Shape(int64_t rows, int64_t channels) : rows(rows), channels(channels) {}
  explicit Shape(const TF_Tensor* tensor) {
    channels = TF_NumDims(tensor) ? TF_Dim(tensor, TF_NumDims(tensor) - 1) : 1;
    rows = channels ? TF_TensorElementCount(tensor) / channels : 0;
  }
  int64_t rows_of_block() const {
    return std::max<int64_t>(1, kBlock / std::max<int64_t>(1, channels));
  }
  int64_t blocks() const { return (rows + rows_of_block() - 1) / rows_of_block(); }
};

// The smaller and the larger of two numbers, or the one that is none, as in TensorFlow.
inline float Lower(float one, float other) {
  return (one <= other) | (one != one) ? one : other;
}
inline float Higher(float one, float other) {
  return (one >= other) | (one != one) ? one : other;
}

// kSums sums per channel over all rows: of_row(row, sums, lows, highs) adds a row to them. Where
// kExtremes, it also keeps the smallest and largest values of each channel.
template <int kSums, bool kExtremes>
struct ChannelReduction {
  std::vector<double> sums;
  std::vector<float> lows, highs;

  template <typename OfRow>
  ChannelReduction(const Shape& shape, int64_t threads, const OfRow& of_row) {
    const int64_t channels = shape.channels, size = shape.rows_of_block();
    // Blocks side by side make groups of a fixed size, whose sums are added in order.
    const int64_t blocks = shape.blocks(), groups = std::min<int64_t>(blocks, 64);
    sums.assign(kSums * groups * channels, 0.0);
    if (kExtremes) {
      lows.assign(groups * channels, INFINITY);
      highs.assign(groups * channels, -INFINITY);
    }
    Parallel(groups, shape.rows * channels / std::max<int64_t>(1, groups), threads,
             [&](int64_t first, int64_t last) {
               std::vector<float> own(kSums * channels);
               for (int64_t group = first; group < last; ++group) {
                 float* low = kExtremes ? &lows[group * channels] : nullptr;
                 float* high = kExtremes ? &highs[group * channels] : nullptr;
                 for (int64_t block = blocks * group / groups;
                      block < blocks * (group + 1) / groups; ++block) {
                   std::fill(own.begin(), own.end(), 0.0f);
                   const int64_t end = std::min(shape.rows, (block + 1) * size);
                   for (int64_t row = block * size; row < end; ++row) {
                     of_row(row, own.data(), low, high);
                   }
                   double* total = sums.data() + kSums * group * channels;
                   for (int64_t i = 0; i < kSums * channels; ++i) total[i] += own[i];
                 }
               }
             });
    for (int64_t group = 1; group < groups; ++group) {
      const double* total = sums.data() + kSums * group * channels;
      for (int64_t i = 0; i < kSums * channels; ++i) sums[i] += total[i];
      for (int64_t c = 0; kExtremes && c < channels; ++c) {
        lows[c] = Lower(lows[c], lows[group * channels + c]);
        highs[c] = Higher(highs[c], highs[group * channels + c]);
      }
    }
  }
};

// Smallest and largest value of each channel; there are rows.
inline void ChannelExtremes(const float* x, const Shape& shape, int64_t threads, float* low,
                            float* high) {
  const int64_t channels = shape.channels;
  const int64_t parts = std::max<int64_t>(1, std::min(threads, shape.rows));
  std::vector<float> found(2 * parts * channels);
  Parallel(parts, (shape.rows / parts) * channels, parts, [&](int64_t first, int64_t last) {
    for (int64_t part = first; part < last; ++part) {
      float* lows = &found[2 * part * channels];
      float* highs = lows + channels;
      const int64_t begin = shape.rows * part / parts, end = shape.rows * (part + 1) / parts;
      std::copy(x + begin * channels, x + (begin + 1) * channels, lows);
      std::copy(lows, lows + channels, highs);
      for (int64_t row = begin + 1; row < end; ++row) {
        const float* values = x + row * channels;
#pragma omp simd
        for (int64_t c = 0; c < channels; ++c) {
          lows[c] = Lower(lows[c], values[c]);
          highs[c] = Higher(highs[c], values[c]);
        }
      }
    }
  });
  std::copy(found.begin(), found.begin() + channels, low);
  std::copy(found.begin() + channels, found.begin() + 2 * channels, high);
  for (int64_t part = 1; part < parts; ++part) {
    for (int64_t c = 0; c < channels; ++c) {
      low[c] = Lower(low[c], found[2 * part * channels + c]);
      high[c] = Higher(high[c], found[(2 * part + 1) * channels + c]);
    }
  }
}

}  // namespace qfa

#endif  // QUANTIZE_CONFIGS_NATIVE_REDUCTION_H_
