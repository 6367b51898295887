// Maps as rows of channels and back, without a copy and without the tensors of a shape.

#include <cstdint>
#include <vector>

#include "kernel.h"
#include "reduction.h"

namespace qfa {
namespace {

struct Nothing {};

void* Create(TF_OpKernelConstruction*) { return new Nothing; }

void Rows(void*, TF_OpKernelContext* context) {
  Call call(context);
  TF_Tensor* tensor = call.Input(0);
  const Shape shape(tensor);
  if (call.ok()) call.Reshaped(0, tensor, {shape.rows, shape.channels});
}

void LikeRows(void*, TF_OpKernelContext* context) {
  Call call(context);
  TF_Tensor *tensor = call.Input(0), *like = call.Input(1);
  if (!call.ok()) return;
  const Shape own(tensor), other(like);
  if (own.rows != other.rows) return call.Refuse("Rows are not those of the map.");
  std::vector<int64_t> shape;
  for (int axis = 0; axis + 1 < TF_NumDims(like); ++axis) shape.push_back(TF_Dim(like, axis));
  shape.push_back(own.channels);
  call.Reshaped(0, tensor, shape);
}

const bool registered = [] {
  Register({"QfaRows", {"x: float"}, {"rows: float"}, {}, Unknown, Create, Rows,
            Delete<Nothing>});
  Register({"QfaLikeRows", {"rows: float", "like: float"}, {"y: float"}, {}, Unknown, Create,
            LikeRows, Delete<Nothing>});
  return true;
}();

}  // namespace
}  // namespace qfa
