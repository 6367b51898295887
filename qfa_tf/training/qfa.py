"""The QFA training step: sandwich rule over bits and shapes, with in-place distillation."""

import dataclasses

import tensorflow as tf

from qfa_tf.layers import Mode
from qfa_tf.training.sampling import SubnetSampler
from quantize_configs.bit_widths import BitWidths
from quantize_configs.fake_quantization import FLOAT_BITS


@dataclasses.dataclass(frozen=True)
class TrainingStage:
    """A part of the training with its own list of bits.

    Attributes:
      bits: Bit-widths that subnets may draw, out of those of the space; 32 is float.
      steps: Number of steps; None in the last stage, which has no end.
    """

    bits: tuple[int, ...]
    steps: int | None = None

    def __post_init__(self):
        object.__setattr__(self, "bits", tuple(self.bits))
        if self.bits != (FLOAT_BITS,):  # only float: a warm-up
            BitWidths.parse(self.bits)
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps of a stage must be at least 1. Received: {self.steps}.")


@dataclasses.dataclass(frozen=True)
class QFATraining:
    """Recipe of one supernet training (Quantized-for-all, NeurIPS 2021).

    In every step the float largest subnet learns from the labels; the smallest, the largest and
    some random subnets learn from the labels and from its logits, on the same images. Their
    gradients are summed. Learning from the supernet's own largest member needs no second network
    (BigNAS); the paper uses a separate float supernet as the teacher.

    Attributes:
      stages: At least one; the paper's two stages have bits (2, 3, 4, 32), then (2, 3, 4).
      random_subnets: Random subnets per step, besides the smallest and the largest.
      distillation: Weight of the cross-entropy with the teacher's probabilities; 0 turns the
        teacher off.
      label_smoothing: Share of the label spread over all classes.
      weight_decay: L2 coefficient of kernels and kernel transforms only.
      clip_norm: Largest global norm of the summed gradient.
      seed: Of the subnets.
    """

    stages: tuple[TrainingStage, ...] = (TrainingStage((2, 3, 4, 8)),)
    random_subnets: int = 4
    distillation: float = 1.0
    label_smoothing: float = 0.1
    weight_decay: float = 3e-5
    clip_norm: float = 500.0
    seed: int = 0

    def __post_init__(self):
        object.__setattr__(self, "stages", tuple(self.stages))
        if not self.stages or any(stage.steps is None for stage in self.stages[:-1]):
            raise ValueError(
                "stages must hold at least one TrainingStage, and all but the last one need "
                f"steps. Received: {self.stages}."
            )
        if self.random_subnets < 0 or not 0 <= self.label_smoothing < 1:
            raise ValueError(
                "random_subnets must be at least 0 and label_smoothing in [0, 1). Received: "
                f"{self.random_subnets} and {self.label_smoothing}."
            )

    def bind(self, net) -> "BoundTraining":
        """The training of one supernet."""
        return BoundTraining(self, net)


class BoundTraining:
    """A `QFATraining` together with the supernet it trains."""

    def __init__(self, recipe: QFATraining, net):
        self.recipe = recipe
        self._net = net
        space = net.space
        bits = [stage.bits for stage in recipe.stages]
        self.sampler = SubnetSampler(space, bits, recipe.random_subnets, recipe.seed)
        self._has_teacher = bool(recipe.distillation)
        teacher = space.encode(space.largest(bits=FLOAT_BITS))
        self._teacher = tf.constant(teacher, tf.int32)
        ends, total = [], 0
        for stage in recipe.stages[:-1]:
            total += stage.steps
            ends.append(total)
        self._stage_ends = tf.constant(ends, tf.int64, shape=[len(ends)])
        self.subnet_gradients = tf.function(
            self._subnet_gradients,
            input_signature=[
                tf.TensorSpec([None, None, None, space.input_channels], tf.float32),
                tf.TensorSpec([None], tf.int32),
                tf.TensorSpec([space.n_genes], tf.int32),
                tf.TensorSpec([None, space.num_classes], tf.float32),
                tf.TensorSpec([], tf.float32),
            ],
            autograph=False,
        )

    def stage_of(self, step: tf.Tensor) -> tf.Tensor:
        """Index of the stage that a step belongs to, int32 scalar."""
        return tf.reduce_sum(tf.cast(self._stage_ends <= tf.cast(step, tf.int64), tf.int32))

    @property
    def roles(self) -> tuple[str, ...]:
        """Roles of the subnets of a step, in order."""
        return ("teacher",) * self._has_teacher + self.sampler.roles

    def genomes(self, step: tf.Tensor) -> tf.Tensor:
        """Genomes of the subnets of a step, int32 [len(roles), n_genes]."""
        drawn = self.sampler.draw(step, self.stage_of(step))
        return tf.concat([self._teacher[None], drawn], 0) if self._has_teacher else drawn

    def step(self, images, labels) -> dict[str, tf.Tensor]:
        """Trains one step; returns loss and accuracy per role of subnet."""
        net = self._net
        labels = tf.cast(labels, tf.int32)
        genomes = self.genomes(net.optimizer.iterations)
        count = len(self.roles)
        # A loop with one call, not one call per subnet: the graph holds a single subnet.
        _, total, _, results = tf.while_loop(
            lambda index, *_: index < count,
            lambda index, *state: self._add_subnet(images, labels, genomes, index, *state),
            (
                tf.constant(0),
                [tf.zeros(variable.shape) for variable in net.trainable_variables],
                tf.zeros([tf.shape(images)[0], net.space.num_classes]),
                tf.TensorArray(tf.float32, count, element_shape=[2]),
            ),
            parallel_iterations=1,
        )
        metrics = {"gradient_norm": self._apply(total)}
        results = results.stack()
        for role in dict.fromkeys(self.roles):
            rows = [row for row, name in enumerate(self.roles) if name == role]
            loss, accuracy = tf.unstack(tf.reduce_mean(tf.gather(results, rows), 0))
            metrics |= {f"{role}_loss": loss, f"{role}_accuracy": accuracy}
        return metrics

    def _add_subnet(self, images, labels, genomes, index, total, teacher_logits, results):
        """Adds the gradients of one subnet to the sum; body of the loop over subnets."""
        is_teacher = self._has_teacher & (index == 0)
        share = tf.where(is_teacher, 0.0, self.recipe.distillation)
        loss, logits, gradients = self.subnet_gradients(
            images, labels, genomes[index], teacher_logits, share
        )
        total = [before + gradient for before, gradient in zip(total, gradients, strict=True)]
        teacher_logits = tf.where(is_teacher, logits, teacher_logits)
        hits = tf.equal(tf.argmax(logits, -1, tf.int32), labels)
        accuracy = tf.reduce_mean(tf.cast(hits, tf.float32))
        results = results.write(index, tf.stack([loss, accuracy]))
        return index + 1, total, teacher_logits, results

    def _subnet_gradients(self, images, labels, genome, teacher_logits, distillation):
        """Loss, logits and gradients of one subnet; traced once for all of them."""
        net = self._net
        variables = net.trainable_variables
        with tf.GradientTape() as tape:
            logits, _ = net.run_subnet(Mode.TRAIN, images, genome)
            loss = self._loss(labels, logits, teacher_logits, distillation)
        gradients = tape.gradient(
            loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        return loss, logits, [tf.convert_to_tensor(gradient) for gradient in gradients]

    def _loss(self, labels, logits, teacher_logits, distillation):
        smoothing, classes = self.recipe.label_smoothing, self._net.space.num_classes
        targets = tf.one_hot(labels, classes) * (1.0 - smoothing) + smoothing / classes
        targets += distillation * tf.nn.softmax(teacher_logits)
        # Not softmax_cross_entropy_with_logits, whose gradient assumes targets that sum to one.
        return -tf.reduce_mean(tf.reduce_sum(targets * tf.nn.log_softmax(logits), -1))

    def _apply(self, gradients):
        net, decay = self._net, self.recipe.weight_decay
        variables = net.trainable_variables
        decayed = {weight.ref() for weight in net.decayed_weights}
        gradients = [
            gradient + decay * tf.convert_to_tensor(variable)
            if variable.ref() in decayed
            else gradient
            for gradient, variable in zip(gradients, variables, strict=True)
        ]
        gradients, norm = tf.clip_by_global_norm(gradients, self.recipe.clip_norm)
        net.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return norm
