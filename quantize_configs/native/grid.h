// The grid of a quantizer whose zero point is an integer.

#ifndef QUANTIZE_CONFIGS_NATIVE_GRID_H_
#define QUANTIZE_CONFIGS_NATIVE_GRID_H_

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernel.h"

namespace qfa {

// In a graph it is one tensor, float32 [5]: step, zero point, smallest and largest code, and 1 where
// it is in use or 0 where values pass unchanged. So is its gradient.
constexpr int64_t kGridSize = 5;

struct Grid {
  float scale, zero_point, low, high, inverse;
  bool finite, enabled;
  Grid(Call& call, int index) {
    static constexpr float kNone[kGridSize] = {};
    TF_Tensor* tensor = call.Input(index);
    const bool fits = TF_TensorElementCount(tensor) == kGridSize;
    if (!fits) call.Refuse("A grid is float32 [5].");
    const float* values = fits ? static_cast<const float*>(TF_TensorData(tensor)) : kNone;
    scale = values[0];
    zero_point = values[1];
    low = (values[2] - zero_point) * scale;
    high = (values[3] - zero_point) * scale;
    enabled = values[4] != 0.0f;
    finite = std::isfinite(scale * 32768.0f);
    inverse = 1.0f / (finite ? scale : 1.0f);
  }
  float step() const { return finite ? scale : 1.0f; }

  // The gradient from the sums of upstream * (x_hat - x inside) and of upstream outside.
  void WriteGradient(double of_scale, double outside, float* to_grid) const {
    std::fill_n(to_grid, kGridSize, 0.0f);
    if (!enabled) return;
    // A grid that is not finite tells of it here, as in TensorFlow's operators.
    to_grid[0] = finite ? static_cast<float>(of_scale / scale) : NAN;
    to_grid[1] = static_cast<float>(-outside * scale);
  }
};

inline float Clipped(float x, float low, float high) {
  x = x < low ? low : x;
  return x > high ? high : x;
}

}  // namespace qfa

#endif  // QUANTIZE_CONFIGS_NATIVE_GRID_H_
