"""What the parts of a supernet know of the whole."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import tensorflow as tf

from qfa_tf.layers import ElasticSite, SqueezeExcite, StatisticsLayout
from qfa_tf.layers.arithmetic import FastArithmetic
from qfa_tf.layers.execution import Execution
from qfa_tf.layers.precision import PrecisionBank
from qfa_tf.space import SearchSpace
from qfa_tf.supernet.heads import Heads
from qfa_tf.supernet.tasks import Task


class Supernet(Protocol):
    """A `QFASupernet`, described without importing it: its own parts import this."""

    name: str
    space: SearchSpace
    layout: StatisticsLayout
    precision: PrecisionBank
    arithmetic: FastArithmetic
    zero_point: str
    estimator: str
    factor_start: str
    padding: str
    narrow_bits: tuple[int, ...]
    weight_start: str
    activation_quantizer: str
    shared_step: bool
    signed_inputs: str
    norm_epsilon: float
    constant_channels: str
    classifier_start: str
    depthwise_start: str
    residual_gain: float
    execution: str
    dropout: float
    training_method: Any
    jit_compile: Any
    subnets_at_once: int | None
    optimizer: Any
    validation: Any
    heads: Heads
    task: Task
    distribute_strategy: tf.distribute.Strategy
    weights: list[tf.Variable]
    trainable_weights: list[tf.Variable]
    trainable_variables: list[tf.Variable]

    def site_layer(self, name: str) -> ElasticSite:
        """The layer of a site."""

    def layer(self, name: str) -> ElasticSite | SqueezeExcite:
        """The layer of a site or of a squeeze-excite."""

    def choices_of(self, genome: tf.Tensor, execution: Execution) -> Mapping[str, Any]:
        """What a genome chose for every node."""

    def as_genome(self, genome: Any) -> tf.Tensor:
        """int32 [n_genes]."""

    def check_images(self, images: Any) -> tf.Tensor:
        """Images as a tensor."""

    def forward_of(self, mode: Any) -> Any:
        """The compiled `run_subnet` of a mode."""

    def run_subnet(
        self,
        mode: Any,
        images: tf.Tensor,
        genome: tf.Tensor,
        statistics: Any = None,
        dropout_seed: Any = None,
        observer: Any = None,
        resized: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """(logits, statistics) of one subnet."""

    def calibrate(self, dataset: Iterable, arch: Any, batches: int = ...) -> Any:
        """The `Calibration` of a subnet."""

    def evaluate_architecture(
        self, arch: Any, dataset: Iterable, calibration: Any
    ) -> dict[str, float]:
        """Loss and metrics of a calibrated subnet."""

    def compile(self, optimizer: Any = ..., training: Any = ..., **kwargs: Any) -> None:
        """Prepares `fit`."""

    def reset_steps(self) -> None:
        """Starts all weight steps anew."""
