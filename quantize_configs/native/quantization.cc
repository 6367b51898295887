// Ranges, the grids that cover them, and fake quantization, each in one pass.

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

constexpr double kSmallestStep = 1.1920928955078125e-07;  // 2^-23, see `grid_of_range`
constexpr double kMiddle = 0.25;                          // see `grid_of_range`

struct Settings {
  int64_t threads;
  bool pass_at_bounds;
};

template <bool kBounds>
void* Create(TF_OpKernelConstruction* construction) {
  Attributes attributes(construction);
  return new Settings{attributes.Int("threads"), kBounds && attributes.Flag("pass_at_bounds")};
}

struct RangeSettings {
  bool nearest;
};

void* CreateBatchGrid(TF_OpKernelConstruction* construction) {
  Attributes attributes(construction);
  return new RangeSettings{attributes.Flag("nearest")};
}

void Extremes(void* kernel, TF_OpKernelContext* context) {
  Call call(context);
  const auto& settings = *static_cast<Settings*>(kernel);
  TF_Tensor* tensor = call.Input(0);
  const Shape shape(tensor);
  float* low = call.Output(0, {shape.channels});
  float* high = call.Output(1, {shape.channels});
  if (!call.ok()) return;
  if (shape.rows == 0) return call.Refuse("Extremes of a tensor without values.");
  const float* x = static_cast<const float*>(TF_TensorData(tensor));
  ChannelExtremes(x, shape, settings.threads, low, high);
}

// `grid_of_range`, and what BatchQuant learns of a grid.
void BatchGrid(void* kernel, TF_OpKernelContext* context) {
  Call call(context);
  const auto& settings = *static_cast<RangeSettings*>(kernel);
  const double low = call.Float(0), high = call.Float(1);
  const float least = call.Float(2), most = call.Float(3);
  const float factor = call.Float(4), offset = call.Float(5);
  const bool enabled = call.Bool(6), empty = low == high;
  float* grid = call.Output(0, {kGridSize});
  if (!call.ok()) return;
  const double qmin = least, qmax = most;
  const double step = empty ? 1.0 : std::max((high - low) / (qmax - qmin), kSmallestStep);
  double zero_point = qmin - std::rint(low / step);
  const double middle = (qmin + qmax) / 2.0, distance = middle - (qmin - low / step);
  if (!settings.nearest && std::abs(distance) < 0.5) {
    zero_point = std::floor(middle) + (distance < kMiddle ? 1.0 : 0.0);
  }
  zero_point = empty ? 0.0 : std::max(std::min(zero_point, qmax), qmin);
  const float moved = std::rint(static_cast<float>(zero_point) + offset);
  grid[0] = static_cast<float>(step) / factor;
  grid[1] = std::max(std::min(moved, most), least);
  grid[2] = least;
  grid[3] = most;
  grid[4] = enabled ? 1.0f : 0.0f;
}

void BatchGridGradient(void*, TF_OpKernelContext* context) {
  Call call(context);
  const float *to_grid = call.Floats(0), *grid = call.Floats(1);
  const float factor = call.Float(2);
  float* to_factor = call.Output(0, {});
  if (!call.ok()) return;
  *to_factor = to_grid[0] * (-grid[0] / factor);
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
  float* to_grid = call.Output(1, {kGridSize});
  if (!call.ok()) return;
  const float* x = static_cast<const float*>(TF_TensorData(tensor));
  const int64_t count = TF_TensorElementCount(tensor);
  if (!grid.enabled) {
    grid.WriteGradient(0.0, 0.0, to_grid);
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
  grid.WriteGradient(of_scale, outside, to_grid);
}

// Steps per channel, zero point 0: the arithmetic of `_quantize_on_any_grid`.
struct ChannelGrid {
  const float* steps;
  float qmin, qmax;
  bool enabled;
  int64_t channels, rows;
  ChannelGrid(Call& call, const TF_Tensor* x, int first) {
    TF_Tensor* tensor = call.Input(first);
    steps = static_cast<const float*>(TF_TensorData(tensor));
    qmin = call.Float(first + 1);
    qmax = call.Float(first + 2);
    enabled = call.Bool(first + 3);
    channels = TF_TensorElementCount(tensor);
    rows = channels ? TF_TensorElementCount(x) / channels : 0;
    if (rows * channels != TF_TensorElementCount(x)) call.Refuse("Steps are not those of channels.");
  }
};

void QuantizeChannels(void* kernel, TF_OpKernelContext* context) {
  Call call(context);
  const auto& settings = *static_cast<Settings*>(kernel);
  TF_Tensor* tensor = call.Input(0);
  const ChannelGrid grid(call, tensor, 1);
  float* y = call.Like(0, tensor);
  if (!call.ok()) return;
  const float* x = static_cast<const float*>(TF_TensorData(tensor));
  const int64_t channels = grid.channels;
  if (!grid.enabled) {
    std::memcpy(y, x, grid.rows * channels * sizeof(float));
    return;
  }
  const float qmin = grid.qmin, qmax = grid.qmax;
  Parallel(grid.rows, channels, settings.threads, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* from = x + row * channels;
      float* to = y + row * channels;
#pragma omp simd
      for (int64_t c = 0; c < channels; ++c) {
        to[c] = std::rint(Clipped(from[c] / grid.steps[c], qmin, qmax)) * grid.steps[c];
      }
    }
  });
}

void QuantizeChannelsGradient(void* kernel, TF_OpKernelContext* context) {
  Call call(context);
  const auto& settings = *static_cast<Settings*>(kernel);
  const float* upstream = call.Floats(0);
  TF_Tensor* tensor = call.Input(1);
  const ChannelGrid grid(call, tensor, 2);
  float* to_x = call.Like(0, tensor);
  float* to_steps = call.Like(1, call.Input(2));
  if (!call.ok()) return;
  const float* x = static_cast<const float*>(TF_TensorData(tensor));
  const int64_t channels = grid.channels;
  if (!grid.enabled) {
    std::memcpy(to_x, upstream, grid.rows * channels * sizeof(float));
    std::fill_n(to_steps, channels, 0.0f);
    return;
  }
  const float qmin = grid.qmin, qmax = grid.qmax;
  const bool at_bounds = settings.pass_at_bounds;
  const ChannelReduction<1, false> found(
      Shape(grid.rows, channels), settings.threads, [&](int64_t row, float* sums, float*, float*) {
        const float *values = x + row * channels, *given = upstream + row * channels;
        float* result = to_x + row * channels;
#pragma omp simd
        for (int64_t c = 0; c < channels; ++c) {
          const float position = values[c] / grid.steps[c];
          const float code = std::rint(Clipped(position, qmin, qmax));
          const bool within = (position >= qmin) & (position <= qmax);
          const bool at_end = (position == qmin) | (position == qmax);
          const bool inside = within & (at_bounds | !at_end);
          result[c] = inside ? given[c] : 0.0f;
          sums[c] += given[c] * (inside ? code - position : code);
        }
      });
  for (int64_t c = 0; c < channels; ++c) {
    to_steps[c] = grid.rows ? static_cast<float>(found.sums[c]) : 0.0f;
  }
}

const bool registered = [] {
  Register({"QfaExtremes", {"x: float"}, {"low: float", "high: float"}, {}, Unknown,
            Create<false>, Extremes, Delete<Settings>});
  Register({"QfaBatchGrid",
            {"low: float", "high: float", "qmin: float", "qmax: float", "factor: float",
             "offset: float", "enabled: bool"},
            {"grid: float"}, {"nearest: bool"}, Unknown, CreateBatchGrid, BatchGrid,
            Delete<RangeSettings>});
  Register({"QfaBatchGridGradient", {"to_grid: float", "grid: float", "factor: float"},
            {"to_factor: float"}, {}, Unknown, Create<false>, BatchGridGradient,
            Delete<Settings>});
  const std::vector<const char*> bounds = {"pass_at_bounds: bool = true"};
  Register({"QfaFakeQuantize", {"x: float", "grid: float"}, {"x_hat: float"}, bounds,
            FirstLikeInput<0>, Create<true>, Quantize, Delete<Settings>});
  Register({"QfaFakeQuantizeGradient", {"upstream: float", "x: float", "grid: float"},
            {"to_x: float", "to_grid: float"}, bounds, FirstLikeInput<1>, Create<true>,
            QuantizeGradient, Delete<Settings>});
  Register({"QfaQuantizeChannels",
            {"x: float", "steps: float", "qmin: float", "qmax: float", "enabled: bool"},
            {"x_hat: float"}, bounds, FirstLikeInput<0>, Create<true>, QuantizeChannels,
            Delete<Settings>});
  Register({"QfaQuantizeChannelsGradient",
            {"upstream: float", "x: float", "steps: float", "qmin: float", "qmax: float",
             "enabled: bool"},
            {"to_x: float", "to_steps: float"}, bounds, FirstLikeInput<1>, Create<true>,
            QuantizeChannelsGradient, Delete<Settings>});
  return true;
}();

}  // namespace
}  // namespace qfa
