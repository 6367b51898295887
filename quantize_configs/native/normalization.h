// Batch normalization with the statistics of the batch, and the activation that follows.

#ifndef QUANTIZE_CONFIGS_NATIVE_NORMALIZATION_H_
#define QUANTIZE_CONFIGS_NATIVE_NORMALIZATION_H_

#include <cmath>
#include <cstdint>
#include <vector>

#include "grid.h"
#include "kernel.h"
#include "reduction.h"

namespace qfa {

constexpr float kConstant = 1e-8f;  // variance of a channel that is constant

struct Normalization {
  int64_t threads;
  float epsilon;
  int32_t activation;
  bool stop_constant;
};

inline void* CreateNormalization(TF_OpKernelConstruction* construction) {
  Attributes attributes(construction);
  return new Normalization{attributes.Int("threads"), attributes.Float("epsilon"),
                           static_cast<int32_t>(attributes.Int("activation")),
                           attributes.Flag("stop_constant")};
}

inline std::vector<const char*> NormalizationAttributes() {
  return {"epsilon: float", "activation: int = 0", "stop_constant: bool = true"};
}

enum Activation { kLinear, kRelu, kRelu6, kHardSwish };

template <int kActivation>
inline float Activated(float y) {
  if (kActivation == kRelu) return y < 0.0f ? 0.0f : y;
  if (kActivation == kRelu6) return Clipped(y, 0.0f, 6.0f);
  if (kActivation == kHardSwish) return y * (Clipped(y + 3.0f, 0.0f, 6.0f) * (1.0f / 6.0f));
  return y;
}

template <int kActivation>
inline float Derivative(float y) {
  if (kActivation == kRelu) return y > 0.0f ? 1.0f : 0.0f;
  if (kActivation == kRelu6) return (y > 0.0f) & (y < 6.0f) ? 1.0f : 0.0f;
  if (kActivation == kHardSwish) {
    const float inner = y + 3.0f;
    const bool inside = (inner > 0.0f) & (inner < 6.0f);
    return (Clipped(inner, 0.0f, 6.0f) + (inside ? y : 0.0f)) * (1.0f / 6.0f);
  }
  return 1.0f;
}

// `last` is what becomes of every value in the end.
template <int kActivation, typename Last>
void NormalizeEach(const float* x, float* y, const Shape& shape, const float* mean,
                   const float* scale, const float* offset, int64_t threads, const Last& last) {
  const int64_t channels = shape.channels;
  Parallel(shape.rows, channels, threads, [&](int64_t first, int64_t end) {
    for (int64_t row = first; row < end; ++row) {
      const float* from = x + row * channels;
      float* to = y + row * channels;
#pragma omp simd
      for (int64_t c = 0; c < channels; ++c) {
        to[c] = last(Activated<kActivation>((from[c] - mean[c]) * scale[c] + offset[c]));
      }
    }
  });
}

template <int kActivation>
void NormalizeRows(const float* x, float* y, const Shape& shape, const float* mean,
                   const float* scale, const float* offset, int64_t threads) {
  NormalizeEach<kActivation>(x, y, shape, mean, scale, offset, threads,
                             [](float value) { return value; });
}

// The same, quantized where the grid is enabled.
template <int kActivation>
void NormalizeQuantizeRows(const float* x, float* y, const Shape& shape, const float* mean,
                           const float* scale, const float* offset, const Grid& grid,
                           int64_t threads) {
  if (!grid.enabled) {
    return NormalizeRows<kActivation>(x, y, shape, mean, scale, offset, threads);
  }
  const float low = grid.low, high = grid.high, inverse = grid.inverse, step = grid.step();
  NormalizeEach<kActivation>(x, y, shape, mean, scale, offset, threads, [=](float value) {
    return std::rint(Clipped(value, low, high) * inverse) * step;
  });
}

// Extremes of the channels of the same. Where the activation is monotonic, `lows` and `highs` are
// those of x before.
template <int kActivation>
void NormalizedExtremes(const float* x, const Shape& shape, const float* mean, const float* scale,
                        const float* offset, int64_t threads, float* lows, float* highs) {
  const int64_t channels = shape.channels;
  if (kActivation != kHardSwish) {  // monotonic, rounded or not: the ends stay the ends
    for (int64_t c = 0; c < channels; ++c) {
      const float one = Activated<kActivation>((lows[c] - mean[c]) * scale[c] + offset[c]);
      const float other = Activated<kActivation>((highs[c] - mean[c]) * scale[c] + offset[c]);
      lows[c] = Lower(one, other);
      highs[c] = Higher(one, other);
    }
    return;
  }
  const ChannelReduction<0, true> found(
      shape, threads, [&](int64_t row, float*, float* low, float* high) {
        const float* values = x + row * channels;
#pragma omp simd
        for (int64_t c = 0; c < channels; ++c) {
          const float y = Activated<kActivation>((values[c] - mean[c]) * scale[c] + offset[c]);
          low[c] = Lower(low[c], y);
          high[c] = Higher(high[c], y);
        }
      });
  std::copy_n(found.lows.begin(), channels, lows);
  std::copy_n(found.highs.begin(), channels, highs);
}

// Mean and biased variance of the channels, and the extremes of x where kExtremes.
template <bool kExtremes>
ChannelReduction<2, kExtremes> Moments(const float* x, const Shape& shape, int64_t threads,
                                       float* mean, float* variance) {
  const int64_t channels = shape.channels;
  // Around the first row, which keeps the variance of a constant channel at exactly 0.
  ChannelReduction<2, kExtremes> found(
      shape, threads, [&](int64_t row, float* sums, float* lows, float* highs) {
        const float* values = x + row * channels;
        float* squares = sums + channels;
#pragma omp simd
        for (int64_t c = 0; c < channels; ++c) {
          const float distance = values[c] - x[c];
          sums[c] += distance;
          squares[c] += distance * distance;
          if (kExtremes) {
            lows[c] = Lower(lows[c], values[c]);
            highs[c] = Higher(highs[c], values[c]);
          }
        }
      });
  const double count = static_cast<double>(shape.rows);
  for (int64_t c = 0; c < channels; ++c) {
    const double distance = found.sums[c] / count;
    const double spread = found.sums[channels + c] / count - distance * distance;
    mean[c] = static_cast<float>(x[c] + distance);
    variance[c] = static_cast<float>(spread < 0.0 ? 0.0 : spread);
  }
  return found;
}

inline std::vector<float> Scale(const float* gamma, const float* variance, const Shape& shape,
                                float epsilon) {
  std::vector<float> scale(shape.channels);
  for (int64_t c = 0; c < shape.channels; ++c) {
    scale[c] = gamma[c] / std::sqrt(variance[c] + epsilon);
  }
  return scale;
}

// Calls function<activation> with the activation of a kernel.
#define WITH_ACTIVATION(function, activation)              \
  ((activation) == kRelu        ? function<kRelu>          \
   : (activation) == kRelu6     ? function<kRelu6>         \
   : (activation) == kHardSwish ? function<kHardSwish>     \
                                : function<kLinear>)

// The gradient of what is normalized, `gain * (own - constant - centred * slope)` where `own` is
// that of the normalized value; and those of gain and offset.
struct InputGradient {
  std::vector<float> gain, constant, slope;

  // From two sums per channel: of `own`, and of `own * centred`.
  InputGradient(const double* sums, const std::vector<float>& scale, const float* variance,
                const Shape& shape, const Normalization& settings, float* to_gamma, float* to_beta)
      : gain(scale), constant(shape.channels), slope(shape.channels) {
    const int64_t channels = shape.channels;
    for (int64_t c = 0; c < channels; ++c) {
      const double inverse = 1.0 / std::sqrt(variance[c] + settings.epsilon);
      if (settings.stop_constant && variance[c] < kConstant) gain[c] = 0.0f;
      to_beta[c] = static_cast<float>(sums[c]);
      to_gamma[c] = static_cast<float>(sums[channels + c] * inverse);
      constant[c] = static_cast<float>(sums[c] / shape.rows);
      slope[c] = static_cast<float>(sums[channels + c] * inverse * inverse / shape.rows);
    }
  }

  // Writes it; `own_of(given, centred, c)` is `own` from the gradient of the output.
  template <typename Own>
  void Write(const float* upstream, const float* x, const float* mean, float* to_x,
             const Shape& shape, int64_t threads, const Own& own_of) const {
    const int64_t channels = shape.channels;
    Parallel(shape.rows, channels, threads, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const float *values = x + row * channels, *given = upstream + row * channels;
        float* result = to_x + row * channels;
#pragma omp simd
        for (int64_t c = 0; c < channels; ++c) {
          const float centred = values[c] - mean[c];
          const float own = own_of(given[c], centred, c);
          result[c] = gain[c] * (own - constant[c] - centred * slope[c]);
        }
      }
    });
  }
};

template <int kActivation>
void GradientRows(const float* upstream, const float* x, const float* gamma, const float* beta,
                  const float* mean, const float* variance, float* to_x, float* to_gamma,
                  float* to_beta, const Shape& shape, const Normalization& settings) {
  const int64_t channels = shape.channels;
  const std::vector<float> scale = Scale(gamma, variance, shape, settings.epsilon);
  const ChannelReduction<2, false> found(
      shape, settings.threads, [&](int64_t row, float* first, float*, float*) {
        const float *values = x + row * channels, *given = upstream + row * channels;
        float* second = first + channels;
#pragma omp simd
        for (int64_t c = 0; c < channels; ++c) {
          const float centred = values[c] - mean[c];
          const float own =
              given[c] * Derivative<kActivation>(centred * scale[c] + beta[c]);
          first[c] += own;
          second[c] += own * centred;
        }
      });
  const InputGradient to_input(found.sums.data(), scale, variance, shape, settings, to_gamma,
                               to_beta);
  to_input.Write(upstream, x, mean, to_x, shape, settings.threads,
                 [&](float given, float centred, int64_t c) {
                   return given * Derivative<kActivation>(centred * scale[c] + beta[c]);
                 });
}

}  // namespace qfa

#endif  // QUANTIZE_CONFIGS_NATIVE_NORMALIZATION_H_
