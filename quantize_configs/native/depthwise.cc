// Depthwise convolution and its gradients.
//
// A few channels of some rows are packed with the zeros around them, which keeps the taps of the
// kernel in the fastest cache and free of conditions. Gradients of kernels are summed in float32
// within groups of images that follow from the shapes alone, and in float64 over these.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernel.h"
#include "lanes.h"

namespace qfa {
namespace {

constexpr int64_t kTile = 8;            // positions of a row that are computed at once
constexpr int64_t kStrip = 1 << 17;     // elements of the rows that are taken together
constexpr int64_t kGroups = 32;         // sums of a gradient that are kept apart

struct Settings {
  int64_t threads, stride;
  bool same;
};

void* Create(TF_OpKernelConstruction* construction) {
  Attributes attributes(construction);
  return new Settings{attributes.Int("threads"), attributes.Int("stride"),
                      attributes.Flag("same")};
}

int64_t RoundedUp(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

// Images [N, H, W, C].
struct Images {
  int64_t count, height, width, channels;
  Images(int64_t count, int64_t height, int64_t width, int64_t channels)
      : count(count), height(height), width(width), channels(channels) {}
  explicit Images(const TF_Tensor* tensor)
      : count(TF_Dim(tensor, 0)), height(TF_Dim(tensor, 1)), width(TF_Dim(tensor, 2)),
        channels(TF_Dim(tensor, 3)) {}
  int64_t size() const { return height * width * channels; }
  int64_t rows_of_strip() const {
    return std::max<int64_t>(kTile, kStrip / std::max<int64_t>(1, width * channels));
  }
};

// How a kernel moves over the input.
struct Geometry {
  int64_t rows, columns, stride, top = 0, left = 0, height, width;
  Geometry(const Images& x, const TF_Tensor* kernel, const Settings& settings)
      : rows(TF_Dim(kernel, 0)), columns(TF_Dim(kernel, 1)), stride(settings.stride) {
    if (settings.same) {
      height = (x.height + stride - 1) / stride;
      width = (x.width + stride - 1) / stride;
      top = std::max<int64_t>(0, (height - 1) * stride + rows - x.height) / 2;
      left = std::max<int64_t>(0, (width - 1) * stride + columns - x.width) / 2;
    } else {
      height = std::max<int64_t>(0, (x.height - rows + stride) / stride);
      width = std::max<int64_t>(0, (x.width - columns + stride) / stride);
    }
  }
};

// Some channels of a rectangle of an image, which may reach beyond it, where zeros are.
void Pack(const float* image, const Images& shape, int64_t channel, int64_t top, int64_t rows,
          int64_t left, int64_t columns, Lanes* to) {
  const int64_t count = shape.channels - channel;
  const int64_t first = std::clamp<int64_t>(-left, 0, columns);
  const int64_t last = std::clamp<int64_t>(shape.width - left, first, columns);
  for (int64_t row = top; row < top + rows; ++row, to += columns) {
    if (row < 0 || row >= shape.height) {
      std::fill(to, to + columns, Lanes{});
      continue;
    }
    const float* from = image + (row * shape.width + left) * shape.channels + channel;
    std::fill(to, to + first, Lanes{});
    for (int64_t i = first; i < last; ++i) to[i] = Load(from + i * shape.channels, count);
    std::fill(to + last, to + columns, Lanes{});
  }
}

// Brings rows of an image near in the order in which they lie in memory; some channels of them at a
// time, as they are used, would come several times slower.
template <int kWrite>
void Fetch(const float* image, const Images& shape, int64_t top, int64_t rows) {
  const int64_t first = std::clamp<int64_t>(top, 0, shape.height);
  const int64_t last = std::clamp<int64_t>(top + rows, first, shape.height);
  const float* end = image + last * shape.width * shape.channels;
  for (const float* at = image + first * shape.width * shape.channels; at < end; at += 16) {
    __builtin_prefetch(at, kWrite, 2);
    asm volatile("");  // or GCC takes the function for one without effect
  }
}

// Some channels of a kernel of which every `step`-th row and column is taken, from an offset on;
// turned around for the gradient of the input.
void PackKernel(const float* kernel, const Geometry& geometry, int64_t channels, int64_t channel,
                int64_t row, int64_t column, int64_t step, bool turned, Lanes* to) {
  const int64_t rows = (geometry.rows - row + step - 1) / step;
  const int64_t columns = (geometry.columns - column + step - 1) / step;
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      const int64_t at = (row + i * step) * geometry.columns + column + j * step;
      const int64_t place = i * columns + j;
      to[turned ? rows * columns - 1 - place : place] =
          Load(kernel + at * channels + channel, channels - channel);
    }
  }
}

// Correlation of one packed row of windows with a packed kernel: count results, `step` apart.
template <int64_t kStride>
void Correlate(const Lanes* x, int64_t pitch, const Lanes* kernel, int64_t rows, int64_t columns,
               int64_t stride, float* to, int64_t step, int64_t count, int64_t channels) {
  const int64_t distance = kStride ? kStride : stride;
  for (int64_t first = 0; first < count; first += kTile) {
    Lanes sums[kTile];  // in registers: only ever read at places that the compiler knows
    for (int64_t t = 0; t < kTile; ++t) sums[t] = Lanes{};
    const Lanes* taps = kernel;
    for (int64_t i = 0; i < rows; ++i) {
      const Lanes* from = x + i * pitch + first * distance;
      for (int64_t j = 0; j < columns; ++j, ++from) {
        const Lanes tap = *taps++;
        for (int64_t t = 0; t < kTile; ++t) {
          sums[t] = MultiplyAdd(from[t * distance], tap, sums[t]);
        }
      }
    }
    float* result = to + first * step;
    for (int64_t t = 0; t < kTile; ++t, result += step) {
      if (first + t < count) Store(sums[t], result, channels);
    }
  }
}

void Convolve(void* kernel, TF_OpKernelContext* context) {
  Call call(context);
  const auto& settings = *static_cast<Settings*>(kernel);
  TF_Tensor* tensor = call.Input(0);
  TF_Tensor* taps = call.Input(1);
  const Images shape(tensor);
  const Geometry geometry(shape, taps, settings);
  float* y = call.Output(0, {shape.count, geometry.height, geometry.width, shape.channels});
  if (!call.ok()) return;
  if (TF_Dim(taps, 2) != shape.channels || TF_Dim(taps, 3) != 1) {
    return call.Refuse("A depthwise kernel must be [rows, columns, channels, 1].");
  }
  const auto* x = static_cast<const float*>(TF_TensorData(tensor));
  const auto* values = static_cast<const float*>(TF_TensorData(taps));
  const int64_t stride = geometry.stride, channels = shape.channels;
  const auto correlate = stride == 1   ? Correlate<1>
                         : stride == 2 ? Correlate<2>
                                       : Correlate<0>;
  const int64_t height = std::min(geometry.height, shape.rows_of_strip() / stride + 1);
  if (height == 0 || geometry.width == 0) return;
  const int64_t strips = (geometry.height + height - 1) / height;
  const int64_t pitch = (RoundedUp(geometry.width, kTile) - 1) * stride + geometry.columns;
  const int64_t cost = height * geometry.width * channels * geometry.rows;
  Parallel(shape.count * strips, cost, settings.threads, [&](int64_t begin, int64_t end) {
    std::vector<Lanes> packed(((height - 1) * stride + geometry.rows) * pitch);
    std::vector<Lanes> packed_kernel(geometry.rows * geometry.columns);
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t image = unit / strips, top = unit % strips * height;
      const int64_t rows = std::min(height, geometry.height - top);
      float* results = y + (image * geometry.height + top) * geometry.width * channels;
      const Images made(1, geometry.height, geometry.width, channels);
      Fetch<0>(x + image * shape.size(), shape, top * stride - geometry.top,
               (rows - 1) * stride + geometry.rows);
      Fetch<1>(y + image * made.size(), made, top, rows);
      for (int64_t channel = 0; channel < channels; channel += kLanes) {
        PackKernel(values, geometry, channels, channel, 0, 0, 1, false, packed_kernel.data());
        Pack(x + image * shape.size(), shape, channel, top * stride - geometry.top,
             (rows - 1) * stride + geometry.rows, -geometry.left, pitch, packed.data());
        for (int64_t row = 0; row < rows; ++row) {
          correlate(&packed[row * stride * pitch], pitch, packed_kernel.data(), geometry.rows,
                    geometry.columns, stride,
                    results + row * geometry.width * channels + channel, channels,
                    geometry.width, channels - channel);
        }
      }
    }
  });
}

// The gradient of the input: for each remainder of positions by the stride a correlation of
// `upstream` with every stride-th row and column of the turned kernel.
void GradientOfInput(const float* upstream, const Images& given, const float* kernel,
                     const Geometry& geometry, const Images& shape, float* to_x,
                     int64_t threads) {
  const int64_t stride = geometry.stride, channels = shape.channels;
  // Position p of the input is `outer * stride + phase - top`.
  const int64_t first = geometry.top / stride;
  const int64_t outer = (shape.height - 1 + geometry.top) / stride + 1 - first;
  const int64_t first_column = geometry.left / stride;
  const int64_t outer_columns = (shape.width - 1 + geometry.left) / stride + 1 - first_column;
  const int64_t most = (geometry.rows + stride - 1) / stride;
  const int64_t most_columns = (geometry.columns + stride - 1) / stride;
  const int64_t height = std::min(outer, shape.rows_of_strip() / stride + 1);
  const int64_t strips = (outer + height - 1) / height;
  const int64_t pitch = RoundedUp(outer_columns, kTile) + most_columns + kTile;
  const int64_t cost = height * stride * shape.width * channels * geometry.rows;
  Parallel(shape.count * strips, cost, threads, [&](int64_t begin, int64_t end) {
    std::vector<Lanes> packed((height + most - 1) * pitch);
    std::vector<Lanes> packed_kernel(geometry.rows * geometry.columns);
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t image = unit / strips, top = first + unit % strips * height;
      const int64_t rows = std::min(height, first + outer - top);
      float* results = to_x + image * shape.size();
      Fetch<0>(upstream + image * given.size(), given, top - most + 1, rows + most - 1);
      Fetch<1>(results, shape, top * stride - geometry.top, rows * stride);
      for (int64_t channel = 0; channel < channels; channel += kLanes) {
        Pack(upstream + image * given.size(), given, channel, top - most + 1, rows + most - 1,
             first_column - most_columns + 1, pitch, packed.data());
        for (int64_t phase = 0; phase < stride * stride; ++phase) {
          const int64_t down = phase / stride, right = phase % stride;
          const int64_t taps = (geometry.rows - down + stride - 1) / stride;
          const int64_t columns = (geometry.columns - right + stride - 1) / stride;
          PackKernel(kernel, geometry, channels, channel, down, right, stride, true,
                     packed_kernel.data());
          // The columns of this phase that lie within the image.
          const int64_t skipped = first_column * stride + right < geometry.left;
          const int64_t start = (first_column + skipped) * stride + right - geometry.left;
          const int64_t count = (shape.width - start + stride - 1) / stride;
          for (int64_t row = 0; row < rows; ++row) {
            const int64_t place = (top + row) * stride + down - geometry.top;
            if (place < 0 || place >= shape.height) continue;
            Correlate<1>(&packed[(row + most - taps) * pitch + most_columns - columns + skipped],
                         pitch, packed_kernel.data(), taps, columns, 1,
                         results + (place * shape.width + start) * channels + channel,
                         stride * channels, count, channels - channel);
          }
        }
      }
    }
  });
}

// Adds the gradient of kColumns neighbouring taps of one row of a kernel.
template <int64_t kColumns>
void AddTaps(const Lanes* x, int64_t row_step, const Lanes* upstream, int64_t rows, int64_t width,
             int64_t stride, float* to, int64_t channels, int64_t count) {
  Lanes sums[kColumns];
  for (int64_t j = 0; j < kColumns; ++j) sums[j] = Lanes{};
  for (int64_t row = 0; row < rows; ++row, x += row_step, upstream += width) {
    const Lanes* from = x;
    for (int64_t column = 0; column < width; ++column, from += stride) {
      const Lanes given = upstream[column];
      for (int64_t j = 0; j < kColumns; ++j) sums[j] = MultiplyAdd(from[j], given, sums[j]);
    }
  }
  for (int64_t j = 0; j < kColumns; ++j) {
    Store(Load(to + j * channels, count) + sums[j], to + j * channels, count);
  }
}

constexpr decltype(&AddTaps<1>) kAddTaps[] = {AddTaps<1>, AddTaps<2>, AddTaps<3>, AddTaps<4>,
                                              AddTaps<5>, AddTaps<6>, AddTaps<7>};
constexpr int64_t kMostTaps = 7;

void GradientOfKernel(const float* upstream, const Images& given, const float* x,
                      const Images& shape, const Geometry& geometry, float* to_kernel,
                      int64_t threads) {
  const int64_t stride = geometry.stride, channels = shape.channels;
  const int64_t size = geometry.rows * geometry.columns * channels;
  const int64_t height =
      std::max<int64_t>(1, std::min(geometry.height, shape.rows_of_strip() / stride + 1));
  const int64_t strips = (geometry.height + height - 1) / height, units = shape.count * strips;
  const int64_t groups = std::max<int64_t>(1, std::min(units, kGroups));
  const int64_t pitch = (geometry.width - 1) * stride + geometry.columns;
  std::vector<float> sums(groups * size, 0.0f);
  const int64_t cost = units * height * geometry.width * channels * geometry.rows / groups;
  Parallel(groups, cost, threads, [&](int64_t begin, int64_t end) {
    std::vector<Lanes> packed(((height - 1) * stride + geometry.rows) * pitch);
    std::vector<Lanes> packed_upstream(height * geometry.width);
    for (int64_t unit = units * begin / groups; unit < units * end / groups; ++unit) {
      int64_t group = begin;
      while (unit >= units * (group + 1) / groups) ++group;
      const int64_t image = unit / strips, top = unit % strips * height;
      const int64_t rows = std::min(height, geometry.height - top);
      Fetch<0>(x + image * shape.size(), shape, top * stride - geometry.top,
               (rows - 1) * stride + geometry.rows);
      Fetch<0>(upstream + image * given.size(), given, top, rows);
      for (int64_t channel = 0; channel < channels; channel += kLanes) {
        Pack(x + image * shape.size(), shape, channel, top * stride - geometry.top,
             (rows - 1) * stride + geometry.rows, -geometry.left, pitch, packed.data());
        Pack(upstream + image * given.size(), given, channel, top, rows, 0, geometry.width,
             packed_upstream.data());
        for (int64_t i = 0; i < geometry.rows; ++i) {
          for (int64_t j = 0; j < geometry.columns; j += kMostTaps) {
            const int64_t taps = std::min(kMostTaps, geometry.columns - j);
            kAddTaps[taps - 1](&packed[i * pitch + j], stride * pitch, packed_upstream.data(),
                               rows, geometry.width, stride,
                               &sums[group * size + (i * geometry.columns + j) * channels +
                                     channel],
                               channels, channels - channel);
          }
        }
      }
    }
  });
  for (int64_t i = 0; i < size; ++i) {
    double total = 0.0;
    for (int64_t group = 0; group < groups; ++group) total += sums[group * size + i];
    to_kernel[i] = static_cast<float>(total);
  }
}

void Gradient(void* kernel, TF_OpKernelContext* context) {
  Call call(context);
  const auto& settings = *static_cast<Settings*>(kernel);
  TF_Tensor* upstream = call.Input(0);
  TF_Tensor* tensor = call.Input(1);
  TF_Tensor* taps = call.Input(2);
  float* to_x = call.Like(0, tensor);
  float* to_kernel = call.Like(1, taps);
  if (!call.ok()) return;
  const Images given(upstream), shape(tensor);
  const Geometry geometry(shape, taps, settings);
  if (given.count != shape.count || given.height != geometry.height ||
      given.width != geometry.width || given.channels != shape.channels) {
    return call.Refuse("The gradient of a depthwise convolution has another shape.");
  }
  const auto* gradient = static_cast<const float*>(TF_TensorData(upstream));
  const auto* x = static_cast<const float*>(TF_TensorData(tensor));
  const auto* values = static_cast<const float*>(TF_TensorData(taps));
  GradientOfInput(gradient, given, values, geometry, shape, to_x, settings.threads);
  GradientOfKernel(gradient, given, x, shape, geometry, to_kernel, settings.threads);
}

const bool registered = [] {
  const std::vector<const char*> attributes = {"stride: int = 1", "same: bool = true"};
  Register({"QfaDepthwise", {"x: float", "kernel: float"}, {"y: float"}, attributes, Unknown,
            Create, Convolve, Delete<Settings>});
  Register({"QfaDepthwiseGradient", {"upstream: float", "x: float", "kernel: float"},
            {"to_x: float", "to_kernel: float"}, attributes, FirstLikeInput<1>, Create, Gradient,
            Delete<Settings>});
  return true;
}();

}  // namespace
}  // namespace qfa
