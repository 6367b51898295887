"""How a subnet becomes a file."""

import dataclasses

from qfa_tf.space import FLOAT_BITS, SearchSpace

DEFAULT_FLOAT_SITES = "int8"
DEFAULT_RUNTIME = "xnnpack"


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """How a subnet becomes a file.

    Attributes:
      weight_container: See `tflite_tools.convert`.
      input_type: See `tflite_tools.convert`; images of bytes stand for 0 to 1, as in training.
      output_type: See `tflite_tools.convert`.
      float_sites: What sites become that the space keeps in float; see `QFASupernet.extract`.
      softmax: Whether the file answers with probabilities rather than logits.
      runtime: Kernels that the file will run on; see `tflite_tools.convert`.
    """

    weight_container: str = "auto"
    input_type: str = "uint8"
    output_type: str = "float32"
    float_sites: str = DEFAULT_FLOAT_SITES
    softmax: bool = False
    runtime: str = DEFAULT_RUNTIME

    @property
    def output_name(self) -> str:
        """What the answer is called in the signature of the file."""
        return "probabilities" if self.softmax else "logits"

    @property
    def conversion(self) -> dict[str, str]:
        """The arguments of `tflite_tools.convert`, the runtime where it is not the default."""
        chosen = {} if self.runtime == DEFAULT_RUNTIME else {"runtime": self.runtime}
        return {
            "weight_container": self.weight_container,
            "input_type": self.input_type,
            "output_type": self.output_type,
            **chosen,
        }

    def for_space(self, space: SearchSpace) -> "ExportOptions":
        """The options without those that have no effect on the subnets of a space."""
        if any(FLOAT_BITS in pair for pair in space.fixed_bits.values()):
            return self
        return dataclasses.replace(self, float_sites=DEFAULT_FLOAT_SITES)
