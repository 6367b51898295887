// Fused kernels of the training step, each in as few passes over its tensors as there can be.
//
// Activations are larger than caches, so that a pass costs what reading and writing memory costs.
// quantize_configs/native/operators.py declares what every operator computes. Tensors are float32,
// channels last. Built against TensorFlow's C interface, with -ffp-contract=off: what is rounded in
// TensorFlow's own operators is rounded here. Sums are taken in blocks of a fixed size, in float32
// within a block and in float64 over blocks, so that results do not depend on the threads.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "kernel.h"

namespace qfa {
namespace {

constexpr int64_t kBlock = 1 << 12;       // elements of a block of a sum
constexpr float kConstant = 1e-8f;        // variance of a channel that is constant

struct Settings {
  int64_t threads = 1;
  bool pass_at_bounds = true;
  bool stop_constant = true;
  float epsilon = 0.0f;
  int32_t activation = 0;
};

template <bool kGrid, bool kNorm>
void* Create(TF_OpKernelConstruction* construction) {
  Attributes attributes(construction);
  auto* settings = new Settings;
  settings->threads = attributes.Int("threads");
  if (kGrid) settings->pass_at_bounds = attributes.Flag("pass_at_bounds");
  if (kNorm) {
    settings->epsilon = attributes.Float("epsilon");
    settings->activation = static_cast<int32_t>(attributes.Int("activation"));
    settings->stop_constant = attributes.Flag("stop_constant");
  }
  return settings;
}

// Rows and channels of a tensor, channels last.
struct Shape {
  int64_t rows, channels;
  explicit Shape(const TF_Tensor* tensor) {
    channels = TF_NumDims(tensor) ? TF_Dim(tensor, TF_NumDims(tensor) - 1) : 1;
    rows = channels ? TF_TensorElementCount(tensor) / channels : 0;
  }
  int64_t rows_of_block() const {
    return std::max<int64_t>(1, kBlock / std::max<int64_t>(1, channels));
  }
  int64_t blocks() const { return (rows + rows_of_block() - 1) / rows_of_block(); }
};

// ---------------------------------------------------------------- extremes of the channels

void Extremes(void* kernel, TF_OpKernelContext* context) {
  Call call(context);
  const auto& settings = *static_cast<Settings*>(kernel);
  TF_Tensor* tensor = call.Input(0);
  const Shape shape(tensor);
  const int64_t channels = shape.channels;
  float* low = call.Output(0, {channels});
  float* high = call.Output(1, {channels});
  if (!call.ok()) return;
  if (shape.rows == 0) return call.Refuse("Extremes of a tensor without values.");
  const float* x = static_cast<const float*>(TF_TensorData(tensor));
  const int64_t parts = std::max<int64_t>(1, std::min(settings.threads, shape.rows));
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
          lows[c] = values[c] < lows[c] ? values[c] : lows[c];
          highs[c] = values[c] > highs[c] ? values[c] : highs[c];
        }
      }
    }
  });
  std::copy(found.begin(), found.begin() + channels, low);
  std::copy(found.begin() + channels, found.begin() + 2 * channels, high);
  for (int64_t part = 1; part < parts; ++part) {
    for (int64_t c = 0; c < channels; ++c) {
      low[c] = std::min(low[c], found[2 * part * channels + c]);
      high[c] = std::max(high[c], found[(2 * part + 1) * channels + c]);
    }
  }
}

// ---------------------------------------------------------------- fake quantization

struct Grid {
  float scale, zero_point, low, high, inverse;
  bool finite, enabled;
  Grid(Call& call, int first) {
    scale = call.Float(first);
    zero_point = call.Float(first + 1);
    low = (call.Float(first + 2) - zero_point) * scale;
    high = (call.Float(first + 3) - zero_point) * scale;
    enabled = call.Bool(first + 4);
    finite = std::isfinite(scale * 32768.0f);
    inverse = 1.0f / (finite ? scale : 1.0f);
  }
  float step() const { return finite ? scale : 1.0f; }
};

inline float Clipped(float x, float low, float high) {
  x = x < low ? low : x;
  return x > high ? high : x;
}

void Quantize(void* kernel, TF_OpKernelContext* context) {
  Call call(context);
  const auto& settings = *static_cast<Settings*>(kernel);
  TF_Tensor* tensor = call.Input(0);
  const Grid grid(call, 1);
  float* y = call.Like(0, tensor);
  if (!call.ok()) return;
  const float* x = static_cast<const float*>(TF_TensorData(tensor));
  const int64_t count = TF_TensorElementCount(tensor);
  const float low = grid.low, high = grid.high, inverse = grid.inverse, step = grid.step();
  Parallel(count, 1, settings.threads, [&](int64_t begin, int64_t end) {
    if (!grid.enabled) {
      std::memcpy(y + begin, x + begin, (end - begin) * sizeof(float));
      return;
    }
#pragma omp simd
    for (int64_t i = begin; i < end; ++i) {
      y[i] = std::rint(Clipped(x[i], low, high) * inverse) * step;
    }
  });
}

template <bool kPassAtBounds>
void GradientOfBlock(const float* upstream, const float* x, float* to_x, int64_t count,
                     const Grid& grid, double* sums) {
  const float low = grid.low, high = grid.high, inverse = grid.inverse, step = grid.step();
  float of_scale = 0.0f, outside = 0.0f;
#pragma omp simd reduction(+ : of_scale, outside)
  for (int64_t i = 0; i < count; ++i) {
    const float value = x[i], given = upstream[i];
    const float x_hat = std::rint(Clipped(value, low, high) * inverse) * step;
    const bool inside = kPassAtBounds ? (value >= low) & (value <= high)
                                      : (value > low) & (value < high);
    to_x[i] = inside ? given : 0.0f;
    of_scale += given * (inside ? x_hat - value : x_hat);
    outside += inside ? 0.0f : given;
  }
  sums[0] = of_scale;
  sums[1] = outside;
}

void QuantizeGradient(void* kernel, TF_OpKernelContext* context) {
  Call call(context);
  const auto& settings = *static_cast<Settings*>(kernel);
  const float* upstream = call.Floats(0);
  TF_Tensor* tensor = call.Input(1);
  const Grid grid(call, 2);
  float* to_x = call.Like(0, tensor);
  float* to_scale = call.Output(1, {});
  float* to_zero_point = call.Output(2, {});
  if (!call.ok()) return;
  const float* x = static_cast<const float*>(TF_TensorData(tensor));
  const int64_t count = TF_TensorElementCount(tensor);
  *to_scale = *to_zero_point = 0.0f;
  if (!grid.enabled) {
    Parallel(count, 1, settings.threads, [&](int64_t begin, int64_t end) {
      std::memcpy(to_x + begin, upstream + begin, (end - begin) * sizeof(float));
    });
    return;
  }
  const int64_t blocks = (count + kBlock - 1) / kBlock;
  std::vector<double> sums(2 * blocks);
  const auto of_block = settings.pass_at_bounds ? GradientOfBlock<true> : GradientOfBlock<false>;
  Parallel(blocks, kBlock, settings.threads, [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block) {
      const int64_t begin = block * kBlock, size = std::min(kBlock, count - begin);
      of_block(upstream + begin, x + begin, to_x + begin, size, grid, &sums[2 * block]);
    }
  });
  double of_scale = 0.0, outside = 0.0;
  for (int64_t block = 0; block < blocks; ++block) {
    of_scale += sums[2 * block];
    outside += sums[2 * block + 1];
  }
  // A grid that is not finite tells of it here, as in TensorFlow's operators.
  *to_scale = grid.finite ? static_cast<float>(of_scale / grid.scale) : NAN;
  *to_zero_point = static_cast<float>(-outside * grid.scale);
}

// ---------------------------------------------------------------- normalization and activation

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

// Two sums per channel over all rows: of_row(row, first, second) adds a row to both.
template <typename OfRow>
std::vector<double> ChannelSums(const Shape& shape, int64_t threads, const OfRow& of_row) {
  const int64_t channels = shape.channels, size = shape.rows_of_block();
  // Blocks side by side make groups of a fixed size, whose sums are kept apart and added in order.
  const int64_t blocks = shape.blocks(), groups = std::min<int64_t>(blocks, 64);
  std::vector<double> sums(2 * groups * channels, 0.0);
  Parallel(groups, shape.rows * channels / std::max<int64_t>(1, groups), threads,
           [&](int64_t first, int64_t last) {
             std::vector<float> own(2 * channels);
             for (int64_t group = first; group < last; ++group) {
               double* total = &sums[2 * group * channels];
               for (int64_t block = blocks * group / groups; block < blocks * (group + 1) / groups;
                    ++block) {
                 std::fill(own.begin(), own.end(), 0.0f);
                 const int64_t end = std::min(shape.rows, (block + 1) * size);
                 for (int64_t row = block * size; row < end; ++row) {
                   of_row(row, own.data(), own.data() + channels);
                 }
                 for (int64_t i = 0; i < 2 * channels; ++i) total[i] += own[i];
               }
             }
           });
  for (int64_t group = 1; group < groups; ++group) {
    for (int64_t i = 0; i < 2 * channels; ++i) sums[i] += sums[2 * group * channels + i];
  }
  return sums;
}

template <int kActivation>
void NormalizeRows(const float* x, float* y, const Shape& shape, const float* mean,
                   const float* scale, const float* offset, int64_t threads) {
  const int64_t channels = shape.channels;
  Parallel(shape.rows, channels, threads, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      const float* from = x + row * channels;
      float* to = y + row * channels;
#pragma omp simd
      for (int64_t c = 0; c < channels; ++c) {
        to[c] = Activated<kActivation>((from[c] - mean[c]) * scale[c] + offset[c]);
      }
    }
  });
}

void Normalize(void* kernel, TF_OpKernelContext* context) {
  Call call(context);
  const auto& settings = *static_cast<Settings*>(kernel);
  TF_Tensor* tensor = call.Input(0);
  const float *gamma = call.Floats(1), *beta = call.Floats(2);
  const Shape shape(tensor);
  const int64_t channels = shape.channels;
  float* y = call.Like(0, tensor);
  float* mean = call.Output(1, {channels});
  float* variance = call.Output(2, {channels});
  if (!call.ok()) return;
  if (shape.rows == 0) return call.Refuse("Normalization of a tensor without values.");
  const float* x = static_cast<const float*>(TF_TensorData(tensor));
  // Around the first row, which keeps the variance of a constant channel at exactly 0.
  const std::vector<double> sums =
      ChannelSums(shape, settings.threads, [&](int64_t row, float* first, float* second) {
        const float* values = x + row * channels;
#pragma omp simd
        for (int64_t c = 0; c < channels; ++c) {
          const float distance = values[c] - x[c];
          first[c] += distance;
          second[c] += distance * distance;
        }
      });
  std::vector<float> scale(channels);
  const double count = static_cast<double>(shape.rows);
  for (int64_t c = 0; c < channels; ++c) {
    const double distance = sums[c] / count;
    const double spread = sums[channels + c] / count - distance * distance;
    mean[c] = static_cast<float>(x[c] + distance);
    variance[c] = static_cast<float>(spread < 0.0 ? 0.0 : spread);
    scale[c] = gamma[c] / std::sqrt(variance[c] + settings.epsilon);
  }
  const auto rows = settings.activation == kRelu        ? NormalizeRows<kRelu>
                    : settings.activation == kRelu6     ? NormalizeRows<kRelu6>
                    : settings.activation == kHardSwish ? NormalizeRows<kHardSwish>
                                                        : NormalizeRows<kLinear>;
  rows(x, y, shape, mean, scale.data(), beta, settings.threads);
}

template <int kActivation>
void GradientRows(const float* upstream, const float* x, const float* gamma, const float* beta,
                  const float* mean, const float* variance, float* to_x, float* to_gamma,
                  float* to_beta, const Shape& shape, const Settings& settings) {
  const int64_t channels = shape.channels;
  std::vector<float> scale(channels), gain(channels), slope(channels), constant(channels);
  std::vector<double> inverse(channels);
  for (int64_t c = 0; c < channels; ++c) {
    const float deviation = std::sqrt(variance[c] + settings.epsilon);
    scale[c] = gamma[c] / deviation;
    inverse[c] = 1.0 / deviation;
    gain[c] = settings.stop_constant && variance[c] < kConstant ? 0.0f : scale[c];
  }
  const std::vector<double> sums =
      ChannelSums(shape, settings.threads, [&](int64_t row, float* first, float* second) {
        const float *values = x + row * channels, *given = upstream + row * channels;
#pragma omp simd
        for (int64_t c = 0; c < channels; ++c) {
          const float centred = values[c] - mean[c];
          const float own =
              given[c] * Derivative<kActivation>(centred * scale[c] + beta[c]);
          first[c] += own;
          second[c] += own * centred;
        }
      });
  for (int64_t c = 0; c < channels; ++c) {
    to_beta[c] = static_cast<float>(sums[c]);
    to_gamma[c] = static_cast<float>(sums[channels + c] * inverse[c]);
    constant[c] = static_cast<float>(sums[c] / shape.rows);
    slope[c] = static_cast<float>(sums[channels + c] * inverse[c] * inverse[c] / shape.rows);
  }
  Parallel(shape.rows, channels, settings.threads, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float *values = x + row * channels, *given = upstream + row * channels;
      float* result = to_x + row * channels;
#pragma omp simd
      for (int64_t c = 0; c < channels; ++c) {
        const float centred = values[c] - mean[c];
        const float own = given[c] * Derivative<kActivation>(centred * scale[c] + beta[c]);
        result[c] = gain[c] * (own - constant[c] - centred * slope[c]);
      }
    }
  });
}

void NormalizeGradient(void* kernel, TF_OpKernelContext* context) {
  Call call(context);
  const auto& settings = *static_cast<Settings*>(kernel);
  const float* upstream = call.Floats(0);
  TF_Tensor* tensor = call.Input(1);
  const float *gamma = call.Floats(2), *beta = call.Floats(3);
  const float *mean = call.Floats(4), *variance = call.Floats(5);
  const Shape shape(tensor);
  float* to_x = call.Like(0, tensor);
  float* to_gamma = call.Output(1, {shape.channels});
  float* to_beta = call.Output(2, {shape.channels});
  if (!call.ok()) return;
  const float* x = static_cast<const float*>(TF_TensorData(tensor));
  const auto rows = settings.activation == kRelu        ? GradientRows<kRelu>
                    : settings.activation == kRelu6     ? GradientRows<kRelu6>
                    : settings.activation == kHardSwish ? GradientRows<kHardSwish>
                                                        : GradientRows<kLinear>;
  rows(upstream, x, gamma, beta, mean, variance, to_x, to_gamma, to_beta, shape, settings);
}

// ---------------------------------------------------------------- registration

const bool registered = [] {
  const char* const pass = "pass_at_bounds: bool = true";
  const std::vector<const char*> norm = {"epsilon: float", "activation: int = 0",
                                         "stop_constant: bool = true"};
  Register({"QfaExtremes", {"x: float"}, {"low: float", "high: float"}, {}, Unknown,
            Create<false, false>, Extremes, Delete<Settings>});
  Register({"QfaFakeQuantize",
            {"x: float", "scale: float", "zero_point: float", "qmin: float", "qmax: float",
             "enabled: bool"},
            {"x_hat: float"}, {}, FirstLikeInput<0>, Create<false, false>, Quantize,
            Delete<Settings>});
  Register({"QfaFakeQuantizeGradient",
            {"upstream: float", "x: float", "scale: float", "zero_point: float", "qmin: float",
             "qmax: float", "enabled: bool"},
            {"to_x: float", "to_scale: float", "to_zero_point: float"}, {pass},
            FirstLikeInput<1>, Create<true, false>, QuantizeGradient, Delete<Settings>});
  Register({"QfaNormalize", {"x: float", "gamma: float", "beta: float"},
            {"y: float", "mean: float", "variance: float"}, norm, FirstLikeInput<0>,
            Create<false, true>, Normalize, Delete<Settings>});
  Register({"QfaNormalizeGradient",
            {"upstream: float", "x: float", "gamma: float", "beta: float", "mean: float",
             "variance: float"},
            {"to_x: float", "to_gamma: float", "to_beta: float"}, norm, FirstLikeInput<1>,
            Create<false, true>, NormalizeGradient, Delete<Settings>});
  return true;
}();

}  // namespace
}  // namespace qfa
