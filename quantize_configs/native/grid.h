// The grid of a quantizer whose zero point is an integer.

#ifndef QUANTIZE_CONFIGS_NATIVE_GRID_H_
#define QUANTIZE_CONFIGS_NATIVE_GRID_H_

#include <cmath>

#include "kernel.h"

namespace qfa {

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

}  // namespace qfa

#endif  // QUANTIZE_CONFIGS_NATIVE_GRID_H_
