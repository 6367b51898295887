// Normalization and activation, and their gradients: two passes each.

#include <cstdint>
#include <vector>

#include "kernel.h"
#include "normalization.h"
#include "reduction.h"

namespace qfa {
namespace {

void Normalize(void* kernel, TF_OpKernelContext* context) {
  Call call(context);
  const auto& settings = *static_cast<Normalization*>(kernel);
  TF_Tensor* tensor = call.Input(0);
  const float *gamma = call.Floats(1), *beta = call.Floats(2);
  const Shape shape(tensor);
  float* y = call.Like(0, tensor);
  float* mean = call.Output(1, {shape.channels});
  float* variance = call.Output(2, {shape.channels});
  if (!call.ok()) return;
  if (shape.rows == 0) return call.Refuse("Normalization of a tensor without values.");
  const float* x = static_cast<const float*>(TF_TensorData(tensor));
  Moments<false>(x, shape, settings.threads, mean, variance);
  const std::vector<float> scale = Scale(gamma, variance, shape, settings.epsilon);
  const auto rows = WITH_ACTIVATION(NormalizeRows, settings.activation);
  rows(x, y, shape, mean, scale.data(), beta, settings.threads);
}

void NormalizeGradient(void* kernel, TF_OpKernelContext* context) {
  Call call(context);
  const auto& settings = *static_cast<Normalization*>(kernel);
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
  const auto rows = WITH_ACTIVATION(GradientRows, settings.activation);
  rows(upstream, x, gamma, beta, mean, variance, to_x, to_gamma, to_beta, shape, settings);
}

const bool registered = [] {
  const auto attributes = NormalizationAttributes();
  Register({"QfaNormalize", {"x: float", "gamma: float", "beta: float"},
            {"y: float", "mean: float", "variance: float"}, attributes,
            FirstLikeInput<0>, CreateNormalization, Normalize, Delete<Normalization>});
  Register({"QfaNormalizeGradient",
            {"upstream: float", "x: float", "gamma: float", "beta: float", "mean: float",
             "variance: float"},
            {"to_x: float", "to_gamma: float", "to_beta: float"}, attributes,
            FirstLikeInput<1>, CreateNormalization, NormalizeGradient, Delete<Normalization>});
  return true;
}();

}  // namespace
}  // namespace qfa
