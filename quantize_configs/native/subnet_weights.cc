// The parts of weights that a subnet has, and smaller depthwise kernels out of the largest one.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "kernel.h"

namespace qfa {
namespace {

int32_t Width(Call& call, int index) {
  return *static_cast<const int32_t*>(TF_TensorData(call.Input(index)));
}

// ---------------------------------------------------------------- the leading part

struct TakeSettings {
  int64_t first, second;  // axes; second is -1 where one alone is cut
  std::vector<int64_t> shape;
};

void* CreateTake(TF_OpKernelConstruction* construction) {
  Attributes attributes(construction);
  return new TakeSettings{attributes.Int("first"), attributes.Int("second"),
                          attributes.Ints("shape")};
}

// A tensor as [outer, first, middle, second, inner], of which leading parts of two axes are taken.
struct Part {
  std::vector<int64_t> shape;
  int64_t outer = 1, middle = 1, inner = 1, whole_first, whole_second = 1, first, second = 1;
  bool fits;
  Part(const TakeSettings& settings, int64_t one, int64_t other) : shape(settings.shape) {
    whole_first = shape[settings.first];
    first = shape[settings.first] = one;
    if (settings.second >= 0) {
      whole_second = shape[settings.second];
      second = shape[settings.second] = other;
    }
    const int64_t last = settings.second < 0 ? settings.first : settings.second;
    const int64_t rank = static_cast<int64_t>(shape.size());
    for (int64_t axis = 0; axis < rank; ++axis) {
      if (axis < settings.first) outer *= shape[axis];
      if (axis > settings.first && axis < last) middle *= shape[axis];
      if (axis > last) inner *= shape[axis];
    }
    fits = first >= 0 && first <= whole_first && second >= 0 && second <= whole_second;
  }
  // copy(offset in the whole, offset in the part, count) for all runs of neighbours.
  template <typename Copy>
  void ForEachRun(const Copy& copy) const {
    const int64_t run = second * inner, stride = whole_second * inner;
    for (int64_t i = 0; i < outer; ++i) {
      for (int64_t j = 0; j < first; ++j) {
        for (int64_t k = 0; k < middle; ++k) {
          copy(((i * whole_first + j) * middle + k) * stride, ((i * first + j) * middle + k) * run,
               run);
        }
      }
    }
  }
};

void Take(void* kernel, TF_OpKernelContext* context) {
  Call call(context);
  const float* values = call.Floats(0);
  const Part part(*static_cast<TakeSettings*>(kernel), Width(call, 1), Width(call, 2));
  if (!part.fits) return call.Refuse("A part of a weight is larger than the whole.");
  float* y = call.Output(0, part.shape);
  if (!call.ok()) return;
  part.ForEachRun([&](int64_t whole, int64_t own, int64_t count) {
    std::memcpy(y + own, values + whole, count * sizeof(float));
  });
}

void TakeGradient(void* kernel, TF_OpKernelContext* context) {
  Call call(context);
  const auto& settings = *static_cast<TakeSettings*>(kernel);
  const float* upstream = call.Floats(0);
  const Part part(settings, Width(call, 1), Width(call, 2));
  if (!part.fits) return call.Refuse("A part of a weight is larger than the whole.");
  float* to_values = call.Output(0, settings.shape);
  if (!call.ok()) return;
  int64_t count = 1;
  for (int64_t size : settings.shape) count *= size;
  std::fill_n(to_values, count, 0.0f);
  part.ForEachRun([&](int64_t whole, int64_t own, int64_t count) {
    std::memcpy(to_values + whole, upstream + own, count * sizeof(float));
  });
}

// ---------------------------------------------------------------- elastic depthwise kernels

struct KernelSettings {
  std::vector<int64_t> sizes, shape;  // ascending; of the largest kernel, [K, K, C, 1]
};

void* CreateKernel(TF_OpKernelConstruction* construction) {
  Attributes attributes(construction);
  return new KernelSettings{attributes.Ints("sizes"), attributes.Ints("shape")};
}

// Flat kernels [size * size, C] of all sizes from the largest down to the chosen one.
class Chain {
 public:
  Chain(const KernelSettings& settings, const float* kernel, int64_t channels, int64_t size,
        const std::vector<const float*>& matrices)
      : settings_(settings), channels_(channels), flat_(settings.sizes.size()) {
    last_ = static_cast<int64_t>(settings.sizes.size()) - 1;
    const int64_t largest = settings.sizes[last_], whole = settings.shape[2];
    flat_[last_].resize(largest * largest * channels);
    for (int64_t row = 0; row < largest * largest; ++row) {
      std::copy_n(kernel + row * whole, channels, &flat_[last_][row * channels]);
    }
    for (chosen_ = last_; chosen_ > 0 && settings.sizes[chosen_] != size;) {
      const int64_t rows = Rows(--chosen_);
      flat_[chosen_].assign(rows * channels, 0.0f);
      for (int64_t row = 0; row < rows; ++row) {
        for (int64_t i = 0; i < rows; ++i) {
          Add(matrices[chosen_][row * rows + i], Centre(chosen_, i), &flat_[chosen_][row * channels]);
        }
      }
    }
  }
  int64_t chosen() const { return chosen_; }
  bool fits(int64_t size) const { return settings_.sizes[chosen_] == size; }
  const std::vector<float>& result() const { return flat_[chosen_]; }

  // The gradients from that of the chosen kernel: of the largest kernel, whole, and of matrices.
  void Backward(const float* upstream, const std::vector<const float*>& matrices, float* to_kernel,
                const std::vector<float*>& to_matrices) const {
    std::vector<float> given(upstream, upstream + Rows(chosen_) * channels_);
    for (int64_t level = chosen_; level < last_; ++level) {
      const int64_t rows = Rows(level), larger = settings_.sizes[level + 1];
      std::vector<float> next(larger * larger * channels_, 0.0f);
      for (int64_t row = 0; row < rows; ++row) {
        const float* from = &given[row * channels_];
        for (int64_t i = 0; i < rows; ++i) {
          const float* centre = Centre(level, i);
          float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
          for (int64_t c = 0; c < channels_; ++c) sum += from[c] * centre[c];
          to_matrices[level][row * rows + i] = sum;
          Add(matrices[level][row * rows + i], from, &next[Place(level, i) * channels_]);
        }
      }
      given.swap(next);
    }
    const int64_t whole = settings_.shape[2];
    for (int64_t row = 0; row < Rows(last_); ++row) {
      std::copy_n(&given[row * channels_], channels_, to_kernel + row * whole);
    }
  }

 private:
  int64_t Rows(int64_t level) const { return settings_.sizes[level] * settings_.sizes[level]; }
  // Where the i-th place of a kernel stands in the next larger one.
  int64_t Place(int64_t level, int64_t i) const {
    const int64_t size = settings_.sizes[level], larger = settings_.sizes[level + 1];
    const int64_t margin = (larger - size) / 2;
    return (i / size + margin) * larger + i % size + margin;
  }
  const float* Centre(int64_t level, int64_t i) const {
    return &flat_[level + 1][Place(level, i) * channels_];
  }
  void Add(float factor, const float* from, float* to) const {
#pragma omp simd
    for (int64_t c = 0; c < channels_; ++c) to[c] += factor * from[c];
  }

  const KernelSettings& settings_;
  int64_t channels_, last_, chosen_;
  std::vector<std::vector<float>> flat_;
};

std::vector<const float*> Matrices(Call& call, const KernelSettings& settings, int first) {
  std::vector<const float*> matrices;
  for (size_t level = 0; level + 1 < settings.sizes.size(); ++level) {
    matrices.push_back(call.Floats(first + static_cast<int>(level)));
  }
  return matrices;
}

void ElasticKernel(void* kernel, TF_OpKernelContext* context) {
  Call call(context);
  const auto& settings = *static_cast<KernelSettings*>(kernel);
  const int64_t channels = Width(call, 1), size = Width(call, 2);
  if (channels < 0 || channels > settings.shape[2]) return call.Refuse("No such channels.");
  const Chain chain(settings, call.Floats(0), channels, size, Matrices(call, settings, 3));
  if (!chain.fits(size)) return call.Refuse("A kernel has a size that no genome can choose.");
  float* y = call.Output(0, {size, size, channels, 1});
  if (!call.ok()) return;
  std::copy(chain.result().begin(), chain.result().end(), y);
}

void ElasticKernelGradient(void* kernel, TF_OpKernelContext* context) {
  Call call(context);
  const auto& settings = *static_cast<KernelSettings*>(kernel);
  const float* upstream = call.Floats(0);
  const int64_t channels = Width(call, 2), size = Width(call, 3);
  if (channels < 0 || channels > settings.shape[2]) return call.Refuse("No such channels.");
  const auto matrices = Matrices(call, settings, 4);
  const Chain chain(settings, call.Floats(1), channels, size, matrices);
  if (!chain.fits(size)) return call.Refuse("A kernel has a size that no genome can choose.");
  float* to_kernel = call.Output(0, settings.shape);
  std::vector<float*> to_matrices;
  for (size_t level = 0; level < matrices.size(); ++level) {
    const int64_t rows = settings.sizes[level] * settings.sizes[level];
    to_matrices.push_back(call.Output(1 + static_cast<int>(level), {rows, rows}));
    if (!call.ok()) return;
    std::fill_n(to_matrices.back(), rows * rows, 0.0f);
  }
  if (!call.ok()) return;
  std::fill_n(to_kernel, settings.shape[0] * settings.shape[1] * settings.shape[2], 0.0f);
  chain.Backward(upstream, matrices, to_kernel, to_matrices);
}

const bool registered = [] {
  const std::vector<const char*> cut = {"first: int", "second: int = -1", "shape: list(int)"};
  Register({"QfaTake", {"values: float", "one: int32", "other: int32"}, {"part: float"}, cut,
            Unknown, CreateTake, Take, Delete<TakeSettings>});
  Register({"QfaTakeGradient", {"upstream: float", "one: int32", "other: int32"},
            {"to_values: float"}, cut, Unknown, CreateTake, TakeGradient, Delete<TakeSettings>});
  const std::vector<const char*> sizes = {"sizes: list(int)", "shape: list(int)", "N: int >= 1"};
  Register({"QfaElasticKernel",
            {"kernel: float", "width: int32", "size: int32", "matrices: N * float"},
            {"chosen: float"}, sizes, Unknown, CreateKernel, ElasticKernel,
            Delete<KernelSettings>});
  Register({"QfaElasticKernelGradient",
            {"upstream: float", "kernel: float", "width: int32", "size: int32",
             "matrices: N * float"},
            {"to_kernel: float", "to_matrices: N * float"}, sizes, Unknown, CreateKernel,
            ElasticKernelGradient, Delete<KernelSettings>});
  return true;
}();

}  // namespace
}  // namespace qfa
