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
        if self.bits != (FLOAT_BITS,):
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
        teacher = space.encode(space.largest(bits=FLOAT_BITS))
        self._teacher = tf.constant(teacher, tf.int32)
        ends, total = [], 0
        for stage in recipe.stages[:-1]:
            total += stage.steps
            ends.append(total)
        self._stage_ends = tf.constant(ends, tf.int64, shape=[len(ends)])
        self.subnet_gradients = tf.function(self._subnet_gradients, reduce_retracing=True)

    def stage_of(self, step: tf.Tensor) -> tf.Tensor:
        """Index of the stage that a step belongs to, int32 scalar."""
        return tf.reduce_sum(tf.cast(self._stage_ends <= tf.cast(step, tf.int64), tf.int32))

    def step(self, images, labels) -> dict[str, tf.Tensor]:
        """Trains one step; returns loss and accuracy per role of subnet."""
        net, recipe = self._net, self.recipe
        step = net.optimizer.iterations
        genomes = self.sampler.draw(step, self.stage_of(step))
        total, logs = None, {}
        teacher_logits = tf.zeros([tf.shape(images)[0], net.space.num_classes])
        subnets = list(zip(self.sampler.roles, tf.unstack(genomes), strict=True))
        weight = tf.constant(recipe.distillation)
        if recipe.distillation:
            subnets.insert(0, ("teacher", self._teacher))
        for role, genome in subnets:
            share = tf.zeros([]) if role == "teacher" else weight
            loss, logits, gradients = self.subnet_gradients(
                images, labels, genome, teacher_logits, share
            )
            if role == "teacher":
                teacher_logits = logits
            total = gradients if total is None else [a + b for a, b in zip(total, gradients)]
            hits = tf.equal(tf.argmax(logits, -1), tf.cast(labels, tf.int64))
            logs.setdefault(role, []).append((loss, tf.reduce_mean(tf.cast(hits, tf.float32))))
        norm = self._apply(total)
        metrics = {"gradient_norm": norm}
        for role, values in logs.items():
            metrics[f"{role}_loss"] = tf.add_n([loss for loss, _ in values]) / len(values)
            metrics[f"{role}_accuracy"] = tf.add_n([hit for _, hit in values]) / len(values)
        return metrics

    def _subnet_gradients(self, images, labels, genome, teacher_logits, distillation):
        """Loss, logits and gradients of one subnet; traced once for all of them."""
        net = self._net
        variables = net.trainable_variables
        with tf.GradientTape() as tape:
            logits, _ = net.run_subnet(images, genome, mode=Mode.TRAIN)
            loss = self._loss(labels, logits, teacher_logits, distillation)
        gradients = tape.gradient(
            loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        return loss, logits, [tf.convert_to_tensor(gradient) for gradient in gradients]

    def _loss(self, labels, logits, teacher_logits, distillation):
        smoothing, classes = self.recipe.label_smoothing, self._net.space.num_classes
        targets = tf.one_hot(labels, classes) * (1.0 - smoothing) + smoothing / classes
        targets += distillation * tf.nn.softmax(teacher_logits)
        return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(targets, logits))

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
