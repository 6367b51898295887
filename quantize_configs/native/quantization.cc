// Ranges and fake quantization, each in one pass.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "grid.h"
#include "kernel.h"
#include "reduction.h"

namespace qfa {
namespace {

struct Settings {
  int64_t threads;
  bool pass_at_bounds;
};

template <bool kGradient>
void* Create(TF_OpKernelConstruction* construction) {
  Attributes attributes(construction);
  return new Settings{attributes.Int("threads"),
                      kGradient && attributes.Flag("pass_at_bounds")};
}

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

const bool registered = [] {
  Register({"QfaExtremes", {"x: float"}, {"low: float", "high: float"}, {}, Unknown,
            Create<false>, Extremes, Delete<Settings>});
  Register({"QfaFakeQuantize",
            {"x: float", "scale: float", "zero_point: float", "qmin: float", "qmax: float",
             "enabled: bool"},
            {"x_hat: float"}, {}, FirstLikeInput<0>, Create<false>, Quantize,
            Delete<Settings>});
  Register({"QfaFakeQuantizeGradient",
            {"upstream: float", "x: float", "scale: float", "zero_point: float", "qmin: float",
             "qmax: float", "enabled: bool"},
            {"to_x: float", "to_scale: float", "to_zero_point: float"},
            {"pass_at_bounds: bool = true"},
            FirstLikeInput<1>, Create<true>, QuantizeGradient, Delete<Settings>});
  return true;
}();

}  // namespace
}  // namespace qfa
