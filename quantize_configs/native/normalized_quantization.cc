// Normalization, activation and the quantization that follows, without the map between them.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "grid.h"
#include "kernel.h"
#include "normalization.h"
#include "reduction.h"

namespace qfa {
namespace {

void NormalizeMoments(void* kernel, TF_OpKernelContext* context) {
  Call call(context);
  const auto& settings = *static_cast<Normalization*>(kernel);
  TF_Tensor* tensor = call.Input(0);
  const float *gamma = call.Floats(1), *beta = call.Floats(2);
  const Shape shape(tensor);
  float* mean = call.Output(0, {shape.channels});
  float* variance = call.Output(1, {shape.channels});
  float* low = call.Output(2, {shape.channels});
  float* high = call.Output(3, {shape.channels});
  if (!call.ok()) return;
  if (shape.rows == 0) return call.Refuse("Normalization of a tensor without values.");
  const float* x = static_cast<const float*>(TF_TensorData(tensor));
  if (settings.activation == kHardSwish) {
    Moments<false>(x, shape, settings.threads, mean, variance);
  } else {
    const auto found = Moments<true>(x, shape, settings.threads, mean, variance);
    std::copy_n(found.lows.begin(), shape.channels, low);
    std::copy_n(found.highs.begin(), shape.channels, high);
  }
  const std::vector<float> scale = Scale(gamma, variance, shape, settings.epsilon);
  const auto extremes = WITH_ACTIVATION(NormalizedExtremes, settings.activation);
  extremes(x, shape, mean, scale.data(), beta, settings.threads, low, high);
}

void NormalizeQuantize(void* kernel, TF_OpKernelContext* context) {
  Call call(context);
  const auto& settings = *static_cast<Normalization*>(kernel);
  TF_Tensor* tensor = call.Input(0);
  const float *gamma = call.Floats(1), *beta = call.Floats(2);
  const float *mean = call.Floats(3), *variance = call.Floats(4);
  const Grid grid(call, 5);
  const Shape shape(tensor);
  float* y = call.Like(0, tensor);
  if (!call.ok()) return;
  const float* x = static_cast<const float*>(TF_TensorData(tensor));
  const std::vector<float> scale = Scale(gamma, variance, shape, settings.epsilon);
  const auto rows = WITH_ACTIVATION(NormalizeQuantizeRows, settings.activation);
  rows(x, y, shape, mean, scale.data(), beta, grid, settings.threads);
}

// The gradient through normalization, activation and quantization, all computed anew.
template <int kActivation>
void QuantizedGradientRows(const float* upstream, const float* x, const float* gamma,
                           const float* beta, const float* mean, const float* variance,
                           const Grid& grid, float* to_x, float* to_gamma, float* to_beta,
                           float* to_grid, const Shape& shape, const Normalization& settings) {
  const int64_t channels = shape.channels;
  const float low = grid.low, high = grid.high, step_inverse = grid.inverse, step = grid.step();
  const std::vector<float> scale = Scale(gamma, variance, shape, settings.epsilon);
  const ChannelReduction<4, false> found(
      shape, settings.threads, [&](int64_t row, float* first, float*, float*) {
        const float *values = x + row * channels, *given = upstream + row * channels;
        float *second = first + channels, *of_scale = second + channels;
        float* outside = of_scale + channels;
#pragma omp simd
        for (int64_t c = 0; c < channels; ++c) {
          const float centred = values[c] - mean[c];
          const float normalized = centred * scale[c] + beta[c];
          const float value = Activated<kActivation>(normalized);
          const float x_hat = std::rint(Clipped(value, low, high) * step_inverse) * step;
          const bool inside = (value >= low) & (value <= high);
          const float passed = inside ? given[c] : 0.0f;
          const float own = passed * Derivative<kActivation>(normalized);
          first[c] += own;
          second[c] += own * centred;
          of_scale[c] += given[c] * (inside ? x_hat - value : x_hat);
          outside[c] += given[c] - passed;
        }
      });
  double scales = 0.0, outsides = 0.0;
  for (int64_t c = 0; c < channels; ++c) {
    scales += found.sums[2 * channels + c];
    outsides += found.sums[3 * channels + c];
  }
  grid.WriteGradient(scales, outsides, to_grid);
  const InputGradient to_input(found.sums.data(), scale, variance, shape, settings, to_gamma,
                               to_beta);
  to_input.Write(upstream, x, mean, to_x, shape, settings.threads,
                 [&](float given, float centred, int64_t c) {
                   const float normalized = centred * scale[c] + beta[c];
                   const float value = Activated<kActivation>(normalized);
                   const float passed = (value >= low) & (value <= high) ? given : 0.0f;
                   return passed * Derivative<kActivation>(normalized);
                 });
}

void NormalizeQuantizeGradient(void* kernel, TF_OpKernelContext* context) {
  Call call(context);
  const auto& settings = *static_cast<Normalization*>(kernel);
  const float* upstream = call.Floats(0);
  TF_Tensor* tensor = call.Input(1);
  const float *gamma = call.Floats(2), *beta = call.Floats(3);
  const float *mean = call.Floats(4), *variance = call.Floats(5);
  const Grid grid(call, 6);
  const Shape shape(tensor);
  float* to_x = call.Like(0, tensor);
  float* to_gamma = call.Output(1, {shape.channels});
  float* to_beta = call.Output(2, {shape.channels});
  float* to_grid = call.Output(3, {kGridSize});
  if (!call.ok()) return;
  const float* x = static_cast<const float*>(TF_TensorData(tensor));
  if (grid.enabled) {
    const auto rows = WITH_ACTIVATION(QuantizedGradientRows, settings.activation);
    rows(upstream, x, gamma, beta, mean, variance, grid, to_x, to_gamma, to_beta, to_grid, shape,
         settings);
  } else {
    grid.WriteGradient(0.0, 0.0, to_grid);
    const auto rows = WITH_ACTIVATION(GradientRows, settings.activation);
    rows(upstream, x, gamma, beta, mean, variance, to_x, to_gamma, to_beta, shape, settings);
  }
}

const bool registered = [] {
  const auto attributes = NormalizationAttributes();
  Register({"QfaNormalizeMoments", {"x: float", "gamma: float", "beta: float"},
            {"mean: float", "variance: float", "low: float", "high: float"}, attributes,
            Unknown, CreateNormalization, NormalizeMoments, Delete<Normalization>});
  Register({"QfaNormalizeQuantize",
            {"x: float", "gamma: float", "beta: float", "mean: float", "variance: float",
             "grid: float"},
            {"x_hat: float"}, attributes, FirstLikeInput<0>, CreateNormalization, NormalizeQuantize,
            Delete<Normalization>});
  Register({"QfaNormalizeQuantizeGradient",
            {"upstream: float", "x: float", "gamma: float", "beta: float", "mean: float",
             "variance: float", "grid: float"},
            {"to_x: float", "to_gamma: float", "to_beta: float", "to_grid: float"},
            attributes, FirstLikeInput<1>, CreateNormalization, NormalizeQuantizeGradient,
            Delete<Normalization>});
  return true;
}();

}  // namespace
}  // namespace qfa
