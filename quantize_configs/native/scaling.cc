// A number per channel times a map plus another one, the activation, and the quantization that
// follows, without the maps between them.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "grid.h"
#include "kernel.h"
#include "normalization.h"
#include "reduction.h"

namespace qfa {
namespace {

struct Scaling {
  int64_t threads;
  int32_t activation;
};

void* CreateScaling(TF_OpKernelConstruction* construction) {
  Attributes attributes(construction);
  return new Scaling{attributes.Int("threads"), static_cast<int32_t>(attributes.Int("activation"))};
}

// It is normalization around zero: x - 0 is x to the last bit.
std::vector<float> NoMean(const Shape& shape) { return std::vector<float>(shape.channels, 0.0f); }

void Scale(void* kernel, TF_OpKernelContext* context) {
  Call call(context);
  const auto& settings = *static_cast<Scaling*>(kernel);
  TF_Tensor* tensor = call.Input(0);
  const float *scale = call.Floats(1), *offset = call.Floats(2);
  const Shape shape(tensor);
  float* y = call.Like(0, tensor);
  if (!call.ok()) return;
  const auto rows = WITH_ACTIVATION(NormalizeRows, settings.activation);
  rows(static_cast<const float*>(TF_TensorData(tensor)), y, shape, NoMean(shape).data(), scale,
       offset, settings.threads);
}

void ScaleQuantize(void* kernel, TF_OpKernelContext* context) {
  Call call(context);
  const auto& settings = *static_cast<Scaling*>(kernel);
  TF_Tensor* tensor = call.Input(0);
  const float *scale = call.Floats(1), *offset = call.Floats(2);
  const Grid grid(call, 3);
  const Shape shape(tensor);
  float* y = call.Like(0, tensor);
  if (!call.ok()) return;
  const float* x = static_cast<const float*>(TF_TensorData(tensor));
  const auto rows = WITH_ACTIVATION(NormalizeQuantizeRows, settings.activation);
  rows(x, y, shape, NoMean(shape).data(), scale, offset, grid, settings.threads);
}

void ScaleExtremes(void* kernel, TF_OpKernelContext* context) {
  Call call(context);
  const auto& settings = *static_cast<Scaling*>(kernel);
  TF_Tensor* tensor = call.Input(0);
  const float *scale = call.Floats(1), *offset = call.Floats(2);
  const Shape shape(tensor);
  float* low = call.Output(0, {shape.channels});
  float* high = call.Output(1, {shape.channels});
  if (!call.ok()) return;
  const float* x = static_cast<const float*>(TF_TensorData(tensor));
  if (shape.rows == 0) return call.Refuse("Extremes of a tensor without values.");
  if (settings.activation != kHardSwish) ChannelExtremes(x, shape, settings.threads, low, high);
  const auto extremes = WITH_ACTIVATION(NormalizedExtremes, settings.activation);
  extremes(x, shape, NoMean(shape).data(), scale, offset, settings.threads, low, high);
}

const bool registered = [] {
  const std::vector<const char*> attributes = {"activation: int = 0"};
  Register({"QfaScale", {"x: float", "scale: float", "offset: float"}, {"y: float"}, attributes,
            FirstLikeInput<0>, CreateScaling, Scale, Delete<Scaling>});
  Register({"QfaScaleQuantize", {"x: float", "scale: float", "offset: float", "grid: float"},
            {"x_hat: float"}, attributes, FirstLikeInput<0>, CreateScaling, ScaleQuantize,
            Delete<Scaling>});
  Register({"QfaScaleExtremes", {"x: float", "scale: float", "offset: float"},
            {"low: float", "high: float"}, attributes, Unknown, CreateScaling, ScaleExtremes,
            Delete<Scaling>});
  return true;
}();

}  // namespace
}  // namespace qfa
