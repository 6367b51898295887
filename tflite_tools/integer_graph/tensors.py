"""Tensors of the integer graph: element types, quantization parameters, constants."""

import dataclasses
import enum
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from quantize_configs.errors import InvalidInputError


class DataType(enum.StrEnum):
    """Element type of a tensor as LiteRT stores it.

    INT4, INT2 and FLOAT16 exist only as weights, UINT8 only as the type of an image at the input
    or of an output, INT64 only as the bias of a layer with INT16 activations.
    """

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"
    UINT8 = "uint8"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    INT4 = "int4"
    INT2 = "int2"

    @property
    def bits(self) -> int:
        """Bits one element takes in the flatbuffer."""
        return {
            "float32": 32,
            "float16": 16,
            "int64": 64,
            "int32": 32,
            "int16": 16,
            "int8": 8,
            "uint8": 8,
            "int4": 4,
            "int2": 2,
        }[self]

    @property
    def is_integer(self) -> bool:
        """True for every type but FLOAT32 and FLOAT16."""
        return self not in (DataType.FLOAT32, DataType.FLOAT16)

    @property
    def numpy_type(self) -> np.dtype:
        """NumPy type that holds one element; INT4 and INT2 codes live in int8 arrays."""
        return np.dtype("int8" if self in (DataType.INT4, DataType.INT2) else str(self))

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest code of an integer type.

        Raises:
          InvalidInputError: The type is FLOAT32 or FLOAT16.
        """
        if not self.is_integer:
            raise InvalidInputError(f"{self.name} has no code limits; ask only for integer types.")
        if self is DataType.UINT8:
            return 0, 255
        return -(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1


@dataclasses.dataclass(frozen=True, eq=False)
class Quantization:
    """Affine quantization: real = scale * (code - zero_point).

    The float32 values given are the float32 values in the flatbuffer; nothing is re-derived.

    Attributes:
      scale: float32, shape [] for one scale per tensor or [channels] for one per channel; positive
        and finite. Stored read-only.
      zero_point: Code of real zero.
      axis: Axis of the tensor that a per-channel scale runs along; ignored for one scale.
    """

    scale: np.ndarray
    zero_point: int = 0
    axis: int = 0

    if TYPE_CHECKING:  # what may be given; what is stored stands above

        def __init__(
            self, scale: npt.ArrayLike, zero_point: int | np.number = 0, axis: int = 0
        ) -> None: ...

    def __post_init__(self) -> None:
        scale = np.array(self.scale, dtype=np.float32)
        if scale.ndim > 1 or scale.size == 0:
            raise InvalidInputError(
                f"A quantization scale is one number or a vector with one number per channel. "
                f"Received: an array of shape {scale.shape}."
            )
        if not (np.isfinite(scale).all() and (scale > 0).all()):
            raise InvalidInputError(
                "Quantization scales must be positive, finite and representable in float32. "
                f"Received: {self.scale!r}."
            )
        if int(self.zero_point) != self.zero_point:
            raise InvalidInputError(f"A zero point is an integer. Received: {self.zero_point!r}.")
        scale.setflags(write=False)
        object.__setattr__(self, "scale", scale)
        object.__setattr__(self, "zero_point", int(self.zero_point))

    @property
    def is_per_channel(self) -> bool:
        """True if the scale is a vector (also when it has a single entry)."""
        return self.scale.ndim == 1

    @property
    def scales(self) -> np.ndarray:
        """The scale as a float32 vector of shape [channels] or [1]."""
        return np.atleast_1d(self.scale)

    def per_channel(self, channels: int, axis: int = 0) -> "Quantization":
        """The same quantization with one scale for each of `channels` channels."""
        return Quantization(np.broadcast_to(self.scales, (channels,)), self.zero_point, axis)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Quantization):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[Any, ...]:
        axis = self.axis if self.is_per_channel else 0
        return self.scale.shape, self.scale.tobytes(), self.zero_point, axis


@dataclasses.dataclass(frozen=True, eq=False)
class Tensor:
    """One tensor of the graph, an activation or a constant.

    Attributes:
      name: Unique in the graph; the name in the flatbuffer and in every report.
      shape: Dimensions. An activation has batch 1 in the first place; the runtime and the
        interpreter accept any batch.
      dtype: Element type.
      quantization: Scale and zero point; None for FLOAT32 and FLOAT16.
      data: Codes of a constant, an integer array of `shape` (INT4 and INT2 unpacked, in int8), or
        values of a FLOAT32 or FLOAT16 constant. None for an activation.
    """

    name: str
    shape: tuple[int, ...]
    dtype: DataType
    quantization: Quantization | None = None
    data: np.ndarray | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise InvalidInputError("A tensor needs a name, for example that of its layer.")
        shape = tuple(int(size) for size in self.shape)
        if any(size < 1 for size in shape):
            raise InvalidInputError(
                f"Tensor {self.name!r}: every dimension must be at least 1 (the batch is 1). "
                f"Received shape: {tuple(self.shape)}."
            )
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "dtype", DataType(self.dtype))
        if self.data is not None:
            object.__setattr__(self, "data", self._stored_codes(self.data))

    def _stored_codes(self, data: Any) -> np.ndarray:
        values = np.asarray(data)
        is_float = not self.dtype.is_integer and values.dtype == self.dtype.numpy_type
        if not is_float and (not self.dtype.is_integer or values.dtype.kind not in "iu"):
            raise InvalidInputError(
                f"Constant {self.name!r}: constants are integer codes, or floats of the type of a "
                f"float tensor. Received: {values.dtype} values for a {self.dtype} tensor. "
                "Quantize them first."
            )
        if values.shape != self.shape:
            raise InvalidInputError(
                f"Constant {self.name!r}: the data has shape {values.shape}, the tensor "
                f"{self.shape}."
            )
        if is_float:
            return self._frozen(values)
        low, high = self.dtype.limits
        if values.size and (values.min() < low or values.max() > high):
            raise InvalidInputError(
                f"Constant {self.name!r}: {self.dtype} codes lie in [{low}, {high}]. "
                f"Received codes in [{values.min()}, {values.max()}]."
            )
        return self._frozen(values)

    def _frozen(self, values: np.ndarray) -> np.ndarray:
        values = np.array(values, dtype=self.dtype.numpy_type, order="C")
        values.setflags(write=False)
        return values

    @property
    def grid(self) -> Quantization:
        """The quantization of a tensor that must have one.

        Raises:
          InvalidInputError: It has none.
        """
        if self.quantization is None:
            raise InvalidInputError(f"The {self.dtype} tensor {self.name!r} has no quantization.")
        return self.quantization

    @property
    def codes(self) -> np.ndarray:
        """The data of a constant.

        Raises:
          InvalidInputError: The tensor is an activation.
        """
        if self.data is None:
            raise InvalidInputError(f"The tensor {self.name!r} is no constant.")
        return self.data

    @property
    def stored_bytes(self) -> int:
        """Bytes of one image's values, or of a constant in the flatbuffer."""
        return -(-math.prod(self.shape) * self.dtype.bits // 8)

    @property
    def is_constant(self) -> bool:
        """True if the tensor carries data."""
        return self.data is not None
