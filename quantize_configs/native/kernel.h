// What every kernel of this library is made of: threads, the tensors of a call, registration.
//
// Built against TensorFlow's C interface, with -ffp-contract=off: what is rounded in TensorFlow's
// own operators is rounded here. Activations are larger than caches, so that a pass costs what
// reading and writing memory costs: kernels make as few as there can be. The files in Python beside
// them say what every operator computes. Tensors are float32, channels last.

#ifndef QUANTIZE_CONFIGS_NATIVE_KERNEL_H_
#define QUANTIZE_CONFIGS_NATIVE_KERNEL_H_

#include <algorithm>
#include <cstdint>
#include <thread>
#include <vector>

#include "tensorflow/c/kernels.h"
#include "tensorflow/c/ops.h"
#include "tensorflow/c/tf_status.h"
#include "tensorflow/c/tf_tensor.h"

namespace qfa {

constexpr int64_t kShare = 1 << 17;  // elements that are worth a thread

// Runs work(begin, end) over [0, count) on several threads.
template <typename Work>
void Parallel(int64_t count, int64_t cost, int64_t threads, const Work& work) {
  const int64_t useful = std::max<int64_t>(1, count * cost / kShare);
  const int64_t parts = std::max<int64_t>(1, std::min({threads, useful, count}));
  std::vector<std::thread> others;
  for (int64_t part = 1; part < parts; ++part) {
    others.emplace_back([&, part] { work(count * part / parts, count * (part + 1) / parts); });
  }
  work(0, count / parts);
  for (auto& other : others) other.join();
}

// The tensors of one call; frees what it read.
class Call {
 public:
  explicit Call(TF_OpKernelContext* context) : context_(context), status_(TF_NewStatus()) {}
  ~Call() {
    for (TF_Tensor* tensor : held_) TF_DeleteTensor(tensor);
    if (TF_GetCode(status_) != TF_OK) TF_OpKernelContext_Failure(context_, status_);
    TF_DeleteStatus(status_);
  }
  TF_Tensor* Input(int index) {
    TF_Tensor* tensor = nullptr;
    TF_GetInput(context_, index, &tensor, status_);
    if (tensor != nullptr) held_.push_back(tensor);
    return tensor;
  }
  const float* Floats(int index) { return static_cast<const float*>(TF_TensorData(Input(index))); }
  float Float(int index) { return *Floats(index); }
  bool Bool(int index) { return *static_cast<const bool*>(TF_TensorData(Input(index))); }
  float* Output(int index, const std::vector<int64_t>& shape) {
    int64_t count = 1;
    for (int64_t size : shape) count *= size;
    TF_Tensor* tensor = TF_AllocateOutput(context_, index, TF_FLOAT, shape.data(),
                                          static_cast<int>(shape.size()), count * sizeof(float),
                                          status_);
    if (tensor == nullptr) return nullptr;
    held_.push_back(tensor);
    return static_cast<float*>(TF_TensorData(tensor));
  }
  float* Like(int index, const TF_Tensor* tensor) {
    std::vector<int64_t> shape;
    for (int axis = 0; axis < TF_NumDims(tensor); ++axis) shape.push_back(TF_Dim(tensor, axis));
    return Output(index, shape);
  }
  // An output that is an input with another shape, and no copy.
  void Reshaped(int index, const TF_Tensor* tensor, const std::vector<int64_t>& shape) {
    TF_Tensor* result = TF_AllocateTensor(TF_FLOAT, nullptr, 0, sizeof(float));
    held_.push_back(result);
    TF_TensorBitcastFrom(tensor, TF_FLOAT, result, shape.data(), static_cast<int>(shape.size()),
                         status_);
    if (ok()) TF_SetOutput(context_, index, result, status_);
  }
  bool ok() const { return TF_GetCode(status_) == TF_OK; }
  void Refuse(const char* message) { TF_SetStatus(status_, TF_INVALID_ARGUMENT, message); }

 private:
  TF_OpKernelContext* context_;
  TF_Status* status_;
  std::vector<TF_Tensor*> held_;
};

// The attributes of an operator; a missing one is told to TensorFlow.
class Attributes {
 public:
  explicit Attributes(TF_OpKernelConstruction* construction)
      : construction_(construction), status_(TF_NewStatus()) {}
  ~Attributes() {
    if (TF_GetCode(status_) != TF_OK) TF_OpKernelConstruction_Failure(construction_, status_);
    TF_DeleteStatus(status_);
  }
  int64_t Int(const char* name) {
    int64_t value = 0;
    TF_OpKernelConstruction_GetAttrInt64(construction_, name, &value, status_);
    return value;
  }
  float Float(const char* name) {
    float value = 0.0f;
    TF_OpKernelConstruction_GetAttrFloat(construction_, name, &value, status_);
    return value;
  }
  std::vector<int64_t> Ints(const char* name) {
    int32_t count = 0, unused = 0;
    TF_OpKernelConstruction_GetAttrSize(construction_, name, &count, &unused, status_);
    std::vector<int64_t> values(std::max<int32_t>(0, count));
    TF_OpKernelConstruction_GetAttrInt64List(construction_, name, values.data(), count, status_);
    return values;
  }
  bool Flag(const char* name) {
    TF_Bool value = 0;
    TF_OpKernelConstruction_GetAttrBool(construction_, name, &value, status_);
    return value;
  }

 private:
  TF_OpKernelConstruction* construction_;
  TF_Status* status_;
};

// ---------------------------------------------------------------- registration

template <typename Settings>
void Delete(void* kernel) {
  delete static_cast<Settings*>(kernel);
}

// The first output has the shape of one of the inputs; Python declares those of the others.
template <int kSource>
void FirstLikeInput(TF_ShapeInferenceContext* context, TF_Status* status) {
  TF_ShapeHandle* shape = TF_NewShapeHandle();
  TF_ShapeInferenceContextSetUnknownShape(context, status);
  TF_ShapeInferenceContextGetInput(context, kSource, shape, status);
  TF_ShapeInferenceContextSetOutput(context, 0, shape, status);
  TF_DeleteShapeHandle(shape);
}

inline void Unknown(TF_ShapeInferenceContext* context, TF_Status* status) {
  TF_ShapeInferenceContextSetUnknownShape(context, status);
}

struct Declaration {
  const char* name;
  std::vector<const char*> inputs, outputs, attributes;
  void (*infer)(TF_ShapeInferenceContext*, TF_Status*);
  void* (*create)(TF_OpKernelConstruction*);
  void (*compute)(void*, TF_OpKernelContext*);
  void (*destroy)(void*);
};

inline void Register(const Declaration& declaration) {
  TF_Status* status = TF_NewStatus();
  TF_OpDefinitionBuilder* builder = TF_NewOpDefinitionBuilder(declaration.name);
  for (const char* one : declaration.inputs) TF_OpDefinitionBuilderAddInput(builder, one);
  for (const char* one : declaration.outputs) TF_OpDefinitionBuilderAddOutput(builder, one);
  TF_OpDefinitionBuilderAddAttr(builder, "threads: int = 1");
  for (const char* one : declaration.attributes) TF_OpDefinitionBuilderAddAttr(builder, one);
  TF_OpDefinitionBuilderSetShapeInferenceFunction(builder, declaration.infer);
  TF_RegisterOpDefinition(builder, status);
  TF_KernelBuilder* kernel = TF_NewKernelBuilder(declaration.name, "CPU", declaration.create,
                                                 declaration.compute, declaration.destroy);
  TF_RegisterKernelBuilder(declaration.name, kernel, status);
  TF_DeleteStatus(status);
}

}  // namespace qfa

#endif  // QUANTIZE_CONFIGS_NATIVE_KERNEL_H_
