"""The training step: the subnets of a step, their summed gradient, the update.

Subnets run one after the other or several side by side, with the same sums in the same order.

Under a `tf.distribute` strategy every replica runs the same subnets on its own images; gradients
and metrics are averaged over replicas, normalization and quantizer ranges are those of the replica.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from qfa_tf.layers import Mode
from qfa_tf.training.driver import TrainingDriver, without_driver
from qfa_tf.training.fixed_subnet import FixedSubnet
from qfa_tf.training.guard import StepGuard, all_finite
from qfa_tf.training.learning_rate import check_rate, current_rate
from qfa_tf.training.memory import default_subnets_at_once
from qfa_tf.training.recipe import Recipe
from qfa_tf.training.sampling import SubnetSampler
from quantize_configs.errors import InvalidInputError, StateError
from quantize_configs.fake_quantization import FLOAT_BITS

TEACHER, LARGEST = "teacher", "largest"
ADVICE = (
    "The weights are those from before: lower the learning rate, or compile with a lower clip_norm "
    "of the training, and go on, or load weights saved earlier."
)


class BoundTraining:
    """A `QFATraining` together with the supernet it trains.

    Attributes:
      image_source: From the number of a step to its images, all replicas together; learned
        activation grids start from them. `fit` and the training loop of a run set it.
      batch_source: From the number of a step to the images and labels of each replica, to find out
        where it went wrong; without one, the guard keeps them. The training loop of a run sets it.
      guard: Of the weights.
      advice: What to do when the training diverges; the training loop of a run has its own.
    """

    def __init__(self, recipe: Recipe, net):
        if net.optimizer is not None:
            check_rate(net.optimizer)
        self.recipe = recipe
        self._net = net
        space = net.space
        self.image_source: Callable[[int], tf.Tensor | None] | None = None
        self.batch_source: Callable[[int], Iterable[tuple[tf.Tensor, tf.Tensor]]] | None = None
        self.guard = StepGuard()
        self.advice = ADVICE
        self._learns_in_place = recipe.distillation == "in_place"
        self._largest_float = tf.constant(space.encode(space.largest(bits=FLOAT_BITS)), tf.int32)
        if recipe.architecture is None:
            bits = [stage.bits for stage in recipe.stages]
            self.sampler: SubnetSampler | FixedSubnet = SubnetSampler(
                space, bits, recipe.random_subnets, recipe.seed
            )
            self._teacher = self._largest_float
            self._only_largest = [stage.subnets == LARGEST for stage in recipe.stages]
        else:
            float_stages = [stage.is_float for stage in recipe.stages]
            fixed = FixedSubnet(space, recipe.architecture, float_stages)
            self.sampler = fixed
            self._teacher = tf.constant(fixed.float_twin, tf.int32)
            self._only_largest = [False] * len(recipe.stages)
        self._trained_rows = [self._rows_in_stage(stage) for stage in range(len(recipe.stages))]
        ends, total = [], 0
        for stage in recipe.stages[:-1]:
            assert stage.steps is not None, "only the last stage has no end"
            total += stage.steps
            ends.append(total)
        self._stage_ends = tf.constant(ends, tf.int64, shape=[len(ends)])
        signature = [
            tf.TensorSpec([None, None, None, space.input_channels], tf.float32),
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([space.n_genes], tf.int32),
            tf.TensorSpec([None, net.heads.size], tf.float32),
            tf.TensorSpec([], tf.float32),
            tf.TensorSpec([2], tf.int64),
        ]
        # What XLA compiles must be traced for it: gradients of conditions are others otherwise.
        traced: dict[str, Any] = {"autograph": False, "jit_compile": bool(net.jit_compile) or None}
        self.subnet_gradients = tf.function(
            self._subnet_gradients, input_signature=signature, **traced
        )
        # Not inlined: TensorFlow rewrites chains of additions into another order.
        self._sums = tf.function(
            lambda *pairs: tf.nest.map_structure(tf.add, *pairs),
            autograph=False,
            experimental_attributes={"_noinline": True},
        )
        signature[1] = tf.TensorSpec([None, None], tf.float32)
        self.weighted_gradients = tf.function(
            self._subnet_gradients,
            input_signature=[*signature, tf.TensorSpec([None], tf.float32)],
            **traced,
        )

    def stage_of(self, step: tf.Tensor) -> tf.Tensor:
        """Index of the stage that a step belongs to, int32 scalar."""
        return tf.reduce_sum(tf.cast(self._stage_ends <= tf.cast(step, tf.int64), tf.int32))

    @property
    def roles(self) -> tuple[str, ...]:
        """Roles of the subnets of a step, in order."""
        return (TEACHER,) * self._learns_in_place + self.sampler.roles

    def roles_in_stage(self, stage: int) -> tuple[str, ...]:
        """Roles that are trained in a stage; the metrics of others are NaN there."""
        return tuple(self.roles[row] for row in self._trained_rows[stage])

    def drive(self, function: Callable[[Iterator], dict[str, tf.Tensor]]) -> TrainingDriver:
        """A train function of Keras, driven already or not, with what belongs around a step."""
        return TrainingDriver(self._net, without_driver(function))

    def figures(self, step: int, logs: Mapping[str, tf.Tensor]) -> dict[str, float]:
        """What `step` returned, as numbers, without those of roles at rest in that stage."""
        trained = self.roles_in_stage(int(self.stage_of(step)))
        at_rest = set(self.roles) - set(trained)
        return {
            key: float(value) for key, value in logs.items() if key.partition("_")[0] not in at_rest
        }

    def genomes(self, step: tf.Tensor) -> tf.Tensor:
        """Genomes of a step by role, int32 [len(roles), n_genes], trained in this stage or not."""
        stage = self.stage_of(step)
        genomes = self.sampler.draw(step, stage)
        if self._learns_in_place:
            genomes = tf.concat([self._teacher[None], genomes], 0)
        if any(self._only_largest):
            is_largest = np.array([[role == LARGEST] for role in self.roles])
            alone = tf.gather(self._only_largest, stage)
            genomes = tf.where(is_largest & alone, self._largest_float, genomes)
        return genomes

    def begin_step(self, step: int) -> None:
        """What `TrainingDriver` does before each step, outside any replica.

        Where the first stage that quantizes follows float ones, the weight steps start anew from
        the weights that were trained meanwhile, as LSQ starts from trained weights; so do learned
        activation grids, from the images of that step. Grids that have no values start at step 0.

        Raises:
          StateError: Grids have to start, and there are no images.
        """
        start = 0
        if step == 0 and self._net.precision.unstarted.any():
            self._start_activations(step, replace=False)
        for before, stage in zip(self.recipe.stages, self.recipe.stages[1:], strict=False):
            assert before.steps is not None, "only the last stage has no end"
            start += before.steps
            if step == start and before.is_float and not stage.is_float:
                self._net.reset_steps()
                if self._net.precision.learns_grids:
                    self._start_activations(step, replace=True)

    def _start_activations(self, step: int, replace: bool) -> None:
        images = None if self.image_source is None else self.image_source(step)
        if images is None:
            raise StateError(
                "Learned activation grids start from training images, and this data cannot be read "
                "ahead. Give fit a tf.data.Dataset, or call net.start_activations(images) before "
                "training and set net.training_method.image_source."
            )
        self._net.start_activations(images, replace=replace, architecture=self.recipe.architecture)

    def step(self, images, labels, weights=None) -> dict[str, tf.Tensor]:
        """Trains one step, unless something of it is not finite.

        Args:
          images: float32 [N, height, width, channels].
          labels: As the task of the net reads them: integers [N], or rows float32 [N, any].
          weights: float32 [N], factors of the losses of the images; None for ones.

        Returns:
          Loss and figures of the task, such as the accuracy, per role of subnet, NaN for roles at
          rest, and the norm of the gradient.
        """
        net, recipe = self._net, self.recipe
        gradients_of = self.subnet_gradients
        if weights is None and labels.shape.rank == 1:
            labels, weights = tf.cast(labels, tf.int32), ()
        else:
            gradients_of = self.weighted_gradients
            if labels.shape.rank == 1:
                labels = tf.one_hot(labels, net.space.num_classes)
            weights = (tf.ones(tf.shape(images)[:1]) if weights is None else weights,)
        step = tf.cast(net.optimizer.iterations, tf.int64)
        genomes = self.genomes(step)
        rows, count = self._rows(self.stage_of(step))
        logits = tf.zeros([tf.shape(images)[0], net.heads.size])
        if recipe.distillation == "external" and recipe.teacher is not None:
            logits = tf.stop_gradient(tf.cast(recipe.teacher(images), tf.float32))
            if not logits.shape.is_compatible_with([None, net.heads.size]):
                raise InvalidInputError(
                    f"The teacher must give logits [N, {net.heads.size}], one for each "
                    f"class of the space. Received: {logits.shape.as_list()}."
                )
        replica = tf.distribute.get_replica_context()
        at_once = self.subnets_at_once(images.shape[0])
        evenly = not self._learns_in_place and isinstance(count, int) and count % at_once == 0

        def run_subnet(position, teacher_logits):
            row = tf.gather(rows, position)
            seed = self.dropout_seed(step, row, replica.replica_id_in_sync_group)
            genome, share = tf.gather(genomes, row), self.share(position)
            loss, logits, gradients = gradients_of(
                images, labels, genome, teacher_logits, share, seed, *weights
            )
            figures = net.task.measured(labels, logits)
            measured = tf.stack([loss, *(tf.reduce_mean(values) for values in figures)])
            return row, measured, logits, gradients

        def nothing():
            """A subnet that is not there: it waits for none, and its figures have a row of none."""
            none = tf.constant(len(self.roles)), tf.zeros([1 + len(net.task.figures)])
            return *none, tf.zeros_like(logits), self._zeros()

        def add_subnets(position, total, teacher_logits, results):
            end = tf.minimum(position + at_once, count)
            if self._learns_in_place:  # the others learn from what it answers
                end = tf.where(position == 0, 1, end)
            first = run_subnet(position, teacher_logits)
            found = [first]
            # Nothing that one of them computes is read by another: they run side by side.
            for place in range(1, at_once):
                run = functools.partial(run_subnet, position + place, teacher_logits)
                is_there = position + place < end
                found.append(run() if evenly else tf.cond(is_there, run, nothing))
            for row, measured, _, gradients in found:  # one after the other, whoever ran first
                total = self._sums(total, gradients)
                results = tf.tensor_scatter_nd_update(results, [[row]], [measured])
            if self._learns_in_place:
                # A single image would broadcast to an unknown number of them.
                chosen = tf.where(position == 0, first[2], teacher_logits)
                teacher_logits = tf.ensure_shape(chosen, teacher_logits.shape)
            return end, total, teacher_logits, results

        # A loop with one function, not one per subnet: the graph holds a single subnet.
        _, total, _, results = tf.while_loop(
            lambda position, *_: position < count,
            add_subnets,
            (
                tf.constant(0),
                self._zeros(),
                logits,
                tf.fill([len(self.roles) + 1, 1 + len(net.task.figures)], np.nan),
            ),
            parallel_iterations=1,  # the next subnets need what the last ones left
        )
        results = results[:-1]
        if replica.num_replicas_in_sync > 1:
            total = replica.all_reduce(tf.distribute.ReduceOp.MEAN, total)
        losses = tf.gather(results[:, 0], rows)  # those at the end repeat a trained one
        batch = None if net.jit_compile else (images, labels)
        norm = self._apply(total, losses, batch)
        shares = float(replica.num_replicas_in_sync)  # Keras sums metrics over replicas
        metrics, results = {"gradient_norm": norm / shares}, results / shares
        for role in dict.fromkeys(self.roles):
            members = [row for row, name in enumerate(self.roles) if name == role]
            found = tf.unstack(tf.reduce_mean(tf.gather(results, members), 0))
            names = ("loss", *net.task.figures)
            metrics |= {f"{role}_{n}": value for n, value in zip(names, found, strict=True)}
        return metrics

    def _zeros(self) -> list[tf.Tensor]:
        return [tf.zeros(variable.shape) for variable in self._net.trainable_variables]

    def subnets_at_once(self, batch_size: int | None) -> int:
        """How many subnets of a step run side by side: what `compile` was told, or the default."""
        net = self._net
        if net.jit_compile:
            return 1
        asked = net.subnets_at_once or default_subnets_at_once(
            net.space,
            batch_size,
            net.distribute_strategy.num_replicas_in_sync,
            sum(4 * variable.shape.num_elements() for variable in net.trainable_variables),
        )
        return min(asked, len(self.roles))

    def share(self, position) -> tf.Tensor:
        """Weight of the teacher in the loss of the subnet trained at `position`, float32 scalar."""
        weight = tf.constant(float(self.recipe.distillation_weight))
        if self._learns_in_place:  # the first one is the teacher, or alone
            return tf.where(position > 0, weight, 0.0)
        return weight if self.recipe.distillation == "external" else tf.zeros([])

    def dropout_seed(self, step, row, replica) -> tf.Tensor:
        """Seed of the dropout of one subnet on one replica, int64 [2]."""
        seed = tf.stack([tf.constant(self.recipe.seed, tf.int64), tf.cast(step, tf.int64)])
        for part in (row, replica):
            seed = tf.random.experimental.stateless_fold_in(seed, tf.cast(part, tf.int64))
        return seed

    def _rows_in_stage(self, stage: int) -> list[int]:
        """Rows of `genomes` that a stage trains."""
        if self._only_largest[stage]:
            return [self.roles.index(LARGEST)]
        rows = list(range(len(self.roles)))
        if self._learns_in_place and isinstance(self.sampler, FixedSubnet):
            genome = self.sampler.stage_genomes[stage]
            if np.array_equal(genome, self.sampler.float_twin):  # it would teach itself
                rows.remove(self.roles.index(TEACHER))
        return rows

    def _rows(self, stage):
        """Rows of `genomes` that a stage trains, int32 vector, and their number."""
        counts = [len(rows) for rows in self._trained_rows]
        if min(counts) == len(self.roles):
            return tf.constant(self._trained_rows[0]), len(self.roles)
        padded = [rows + rows[-1:] * (len(self.roles) - len(rows)) for rows in self._trained_rows]
        return tf.gather(padded, stage), tf.gather(counts, stage)

    def _subnet_gradients(
        self, images, labels, genome, teacher_logits, share, dropout_seed, weights=None
    ):
        """Loss, logits and gradients of one subnet; traced once for all of them."""
        given = labels, genome, teacher_logits, share, dropout_seed, weights

        # No gradient goes through the choice of a resolution.
        def run(resized):
            return self._gradients_of_resized(resized, *given)

        computed = tf.cast(images, self.recipe.compute_dtype)
        return self._net.at_resolution(computed, genome, run)

    def _gradients_of_resized(
        self, images, labels, genome, teacher_logits, share, dropout_seed, weights
    ):
        net = self._net
        variables = net.trainable_variables
        options = {"dropout_seed": dropout_seed} if net.dropout else {}
        with tf.GradientTape() as tape:
            logits, _ = net.run_subnet(Mode.TRAIN, images, genome, resized=True, **options)
            logits = tf.cast(logits, tf.float32)
            loss = self._loss(labels, logits, teacher_logits, share, weights)
        gradients = tape.gradient(
            loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
        for gradient, variable in zip(gradients, variables, strict=True):
            gradient.set_shape(variable.shape)
        return loss, logits, gradients

    def _loss(self, labels, logits, teacher_logits, share, weights=None):
        smoothing = self.recipe.label_smoothing
        losses = self._net.task.losses(labels, logits, teacher_logits, share, smoothing)
        return tf.reduce_mean(losses if weights is None else weights * losses)

    def _apply(self, gradients, losses, batch):
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
        # The norm is finite if all gradients are.
        is_finite = all_finite([norm, losses, current_rate(net.optimizer)])
        self.guard.apply(net.optimizer, gradients, variables, is_finite, batch)
        return norm
