"""The OQA training recipe: one supernet per uniform bit-width, each from the one before."""

import dataclasses
from typing import TYPE_CHECKING

from qfa_tf.space import SearchSpace
from qfa_tf.supernet.inheritance import inherit
from qfa_tf.training.options import InheritanceOptions
from qfa_tf.training.qfa import QFATraining, TrainingStage
from qfa_tf.training.step import BoundTraining
from quantize_configs.errors import InvalidInputError
from quantize_configs.fake_quantization import FLOAT_BITS
from quantize_configs.keras_backend import keras
from quantize_configs.options import same_option

if TYPE_CHECKING:
    from qfa_tf.supernet import QFASupernet


@keras.saving.register_keras_serializable(package="qfa_tf")
@dataclasses.dataclass(frozen=True)
class OQATraining(QFATraining):
    """Recipe of one phase of OQA (Once Quantization-Aware Training, ICCV 2021).

    A phase trains a supernet whose weights and inputs all have the same bits: float first, then
    for example 4 bits, 3 bits and 2 bits, each in a supernet of its own that starts from the one
    before (`start_from`). The subnets of a step, distillation and loss are those of `QFATraining`,
    because the training code of OQA was never published. With `distillation="in_place"` the
    teacher is the largest subnet at the bits of the phase. One `architecture` alone has no such
    teacher: at the bits of the phase it would be its own.

    Attributes:
      stages: All with the same single bit-width; (32,) in the float phase.
      inheritance: How `start_from` makes steps of wider ones, see `qfa_tf.supernet.inherit`.

    Example:
      space = SearchSpace.from_preset("fashion_mnist")
      uniform = space.replace(name="fashion_mnist_w3", weight_bits=(3,), activation_bits=(3,))
      net = QFASupernet(uniform, activation_quantizer="lsq", shared_step=True)
      training = OQATraining(stages=(TrainingStage((3,)),))
      training.start_from(net_of_4_bits, net)
      net.compile(optimizer=keras.optimizers.SGD(0.02), training=training)
      net.fit(dataset, epochs=10)
    """

    stages: tuple[TrainingStage, ...] = (TrainingStage((4,)),)
    inheritance: str = same_option(InheritanceOptions, "inheritance")

    def __post_init__(self):
        super().__post_init__()
        bits = {stage.bits for stage in self.stages}
        if len(bits) > 1 or len(self.stages[0].bits) > 1:
            raise InvalidInputError(
                "A phase of OQA has one bit-width: all stages need the same bits, such as (4,), or "
                "(32,) in the float phase. Train other bits in a phase of their own. Received: "
                f"{[stage.bits for stage in self.stages]}."
            )

    @property
    def bits(self) -> int:
        """The bit-width of the phase; 32 is float."""
        return self.stages[0].bits[0]

    def start_from(self, parent: "QFASupernet", net: "QFASupernet") -> None:
        """Fills the supernet of this phase with what the one before learned."""
        inherit(parent, net, self.inheritance)

    def bind(self, net) -> BoundTraining:
        """The training of one supernet.

        Raises:
          InvalidInputError: The supernet has other quantizers, or other bits to choose from.
          ArchitectureError: `architecture` is of another space.
        """
        self.check_supernet(net.space, net.activation_quantizer, net.shared_step)
        return super().bind(net)

    def check_supernet(
        self, space: SearchSpace, activation_quantizer: str, shared_step: bool
    ) -> None:
        """Raises ValueError unless a supernet of these settings fits the phase."""
        if activation_quantizer != "lsq" or not shared_step:
            raise InvalidInputError(
                "OQA needs a supernet with activation_quantizer='lsq' and shared_step=True. "
                f"Received: {activation_quantizer!r} and {shared_step}."
            )
        offered = {*space.weight_bits, *space.activation_bits}
        if self.bits != FLOAT_BITS and offered != {self.bits}:
            raise InvalidInputError(
                f"A phase of {self.bits} bits needs a space with these bits alone: "
                f"space.replace(name=..., weight_bits=({self.bits},), activation_bits="
                f"({self.bits},)). Received: {space.name!r} with {sorted(offered)} bits."
            )
