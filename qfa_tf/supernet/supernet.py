"""QFASupernet: all subnets of a search space in one graph."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import tensorflow as tf

from qfa_tf.keras_models import read_model
from qfa_tf.layers import ElasticSite, Mode, SiteChoice, SqueezeExcite, StatisticsLayout
from qfa_tf.layers.arithmetic import arithmetic_of
from qfa_tf.layers.execution import EXECUTIONS, Execution
from qfa_tf.layers.observing import Observer
from qfa_tf.layers.precision import PrecisionBank
from qfa_tf.network.outputs import why_no_logits
from qfa_tf.space import Architecture, SearchSpace
from qfa_tf.supernet import (
    activation_start,
    epoch_means,
    extraction,
    fitting,
    inputs,
    measuring,
    model_start,
    pretrained,
    saving,
    site_layers,
    summary,
)
from qfa_tf.supernet.calibration import Calibration, require_calibration
from qfa_tf.supernet.choices import Choice, ChoiceTables
from qfa_tf.supernet.forward import ForwardPass, execution_of
from qfa_tf.supernet.heads import Heads
from qfa_tf.supernet.options import SupernetOptions
from qfa_tf.supernet.tasks import Classes, GivenTask, Task
from qfa_tf.supernet.validation import SubnetValidation
from quantize_configs.arguments import whole_number
from quantize_configs.errors import InvalidInputError, InvalidTypeError, StateError
from quantize_configs.keras_backend import keras, require_tf_keras
from quantize_configs.options import options_of, with_options

CALIBRATION_BATCHES = 30
_BROUGHT = ("weighted_metrics", "steps_per_execution")
_NOT_COMPILED = "Call compile(optimizer=..., training=QFATraining(...)) before fit."


@with_options(SupernetOptions)
@keras.saving.register_keras_serializable(package="qfa_tf")
class QFASupernet(keras.Model):
    """Weight-sharing supernet over kernel, width, depth, resolution and bits.

    The genome of the subnet is a tensor: one traced graph serves all subnets. Images come at the
    largest resolution of the space (or any other) and are resized to that of the subnet.

    Args:
      space: Search space.
      num_classes: Outputs; those of the space when None.
      {options}
      name: Of the model.

    Example:
      net = QFASupernet(SearchSpace.from_preset("digits_tiny"), num_classes=10)
      net.compile(optimizer=keras.optimizers.SGD(0.1), training=QFATraining())
      net.fit(dataset, epochs=10)
      arch = net.space.largest(bits=4)
      calibration = net.calibrate(dataset, arch)
      net.evaluate_architecture(arch, validation, calibration)
      subnet = net.extract(arch, calibration)
    """

    def __init__(
        self,
        space: SearchSpace,
        num_classes: int | None = None,
        *,
        name: str = "qfa_supernet",
        **options: Any,
    ):
        chosen = {key: options.pop(key) for key in options_of(SupernetOptions) if key in options}
        # Whatever the global policy of Keras: `compute_dtype` of the training says what computes.
        super().__init__(name=name, **{"dtype": "float32", **options})
        if not isinstance(space, SearchSpace):
            raise InvalidTypeError(
                f"space must be a SearchSpace. Received: {space!r}. "
                "Take one from SearchSpace.from_preset(name)."
            )
        if num_classes is not None and num_classes != space.num_classes:
            space = space.replace(num_classes=num_classes)
        self.space = space
        if "narrow_bits" in chosen:
            chosen["narrow_bits"] = tuple(chosen["narrow_bits"])
        for option, value in dataclasses.asdict(SupernetOptions(**chosen)).items():
            setattr(self, option, value)
        has_static_shapes = EXECUTIONS[self.execution].has_static_shapes
        self.arithmetic = arithmetic_of(self.zero_point, has_static_shapes)
        self.layout = StatisticsLayout(space.network)
        self.heads = Heads.of(space.network)
        self.task: Task = Classes(space.num_classes)
        # None until compile; what uses them asks for that first.
        self.model_start: model_start.ModelStart | None = None
        self.training_method: Any = None
        self.subnets_at_once: int | None = None
        self.fitting: Any = None
        self.validation: Any = None
        self._build_layers()
        self._compiled = self._compile_modes()
        self.built = True

    @classmethod
    def from_model(
        cls,
        model: keras.Model,
        space: SearchSpace | None = None,
        *,
        sort_channels: bool = True,
        pixel_range: tuple[float, float] = (0.0, 1.0),
        supernet: Mapping[str, Any] = MappingProxyType({}),
        **options: Any,
    ) -> "QFASupernet":
        """A supernet that starts as a trained Keras model.

        Its largest float subnet computes what the model computes, see `calibration_of_model`. The
        model is the teacher of `QFATraining(distillation="external")`.

        Args:
          model: Functional or sequential `tf_keras` model, see `SearchSpace.from_model`.
          space: Of `SearchSpace.from_model(model, ...)`; made from `options` when None.
          sort_channels: Whether the channels of each group are sorted by importance.
          pixel_range: See `SearchSpace.from_model`.
          supernet: Options of `QFASupernet` itself, such as {"zero_point": "integer"}.
          **options: Of `SearchSpace.from_model`, such as `weight_bits`.

        Raises:
          UnsupportedError: A layer has no elastic counterpart; the sentence names it.
          InvalidInputError: The space was made from another model, or options contradict it.
        """
        if space is not None and options:
            raise InvalidInputError(
                f"Give a space, or options to make one with. Received: a space and {list(options)}."
            )
        if space is None:
            space = SearchSpace.from_model(model, pixel_range=pixel_range, **options)
        net = cls(space, **supernet)
        net.start_from_model(model, sort_channels=sort_channels, pixel_range=pixel_range)
        return net

    def start_from_model(
        self,
        model: keras.Model,
        *,
        sort_channels: bool = True,
        pixel_range: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        """Fills a supernet of the space of a model with the values of the model; see `from_model`.

        Raises:
          InvalidInputError: The space was made from another model.
        """
        reading = read_model(model, pixel_range)
        self.model_start = model_start.fill_from_model(self, reading, sort_channels)

    # Structure.

    def _build_layers(self) -> None:
        self._sites = site_layers.build_sites(self)
        excites = site_layers.build_squeeze_excites(self)
        # Checkpoints know the weights of a squeeze-excite by its slot.
        self._blocks = site_layers.by_slot(self.space.network, excites)
        layers: dict[str, ElasticSite | SqueezeExcite] = {**self._sites, **excites}
        self._layer_of_node = MappingProxyType(layers)
        quantizers = {name: layer.quantizers for name, layer in self._sites.items()}
        kernels = None if self.zero_point == "fractional" else self._kernels_of
        self.precision = PrecisionBank(quantizers, kernels, name="precision")
        self.precision.build()
        self.reset_steps()
        self._choices = ChoiceTables(self.space, self.precision)

    def _kernels_of(self, site: str) -> list[tf.Tensor]:
        return self._sites[site].kernels()

    def _compile_modes(self) -> dict[str, tf.types.experimental.PolymorphicFunction]:
        """The forward pass of each mode; the signatures admit one trace for all subnets."""
        images = tf.TensorSpec([None, None, None, self.space.input_channels], tf.float32)
        genome = tf.TensorSpec([self.space.n_genes], tf.int32)
        statistics = tf.TensorSpec([self.layout.size], tf.float32)
        compiled = {}
        for mode in Mode:
            signature = [images, genome] + [statistics] * mode.takes_statistics
            compiled[mode.value] = tf.function(
                functools.partial(self.run_subnet, mode),
                input_signature=signature,
                autograph=False,
            )
        return compiled

    def forward_of(self, mode: Mode) -> tf.types.experimental.PolymorphicFunction:
        """The compiled `run_subnet` of a mode."""
        return self._compiled[mode.value]

    def site_layer(self, name: str) -> ElasticSite:
        """The layer of a site, such as "s1.b0.expand"."""
        return self._sites[name]

    def reset_steps(self) -> None:
        """Starts all weight steps anew from the kernels as they are (LSQ's initial values)."""
        for name, layer in self._sites.items():
            if layer.weight_quantizer is not None:
                self.precision.set_steps(name, layer.initial_steps())

    def start_activations(
        self, images, *, replace: bool = False, architecture: Architecture | None = None
    ) -> None:
        """Gives learned activation grids their first values; nothing to do for "batch".

        Training does it before its first step, and again where quantization follows a float stage.

        Args:
          images: float32 [N, H, W, channels], a batch of training images.
          replace: Whether grids that have values already start anew, too.
          architecture: A subnet whose sites start from what they read in it; by default, and at
            all other sites, that is the largest subnet.
        """
        if self.precision.learns_grids:
            images = self.check_images(images)
            activation_start.start_activations(self, images, replace, architecture)

    def layer(self, name: str) -> ElasticSite | SqueezeExcite:
        """The layer of a site or of a squeeze-excite, such as "s1.b0.se"."""
        return self._layer_of_node[name]

    def choices_of(self, genome: tf.Tensor, execution: Execution) -> dict[str, Choice]:
        """What a genome, int32 [n_genes], chose for every node, as its layer takes it."""
        return self._choices.read(genome, execution)

    def site_choices(self, genome: tf.Tensor) -> dict[str, SiteChoice]:
        """What a genome, int32 [n_genes], chose for every site, where tensors are sliced."""
        chosen = self.choices_of(genome, EXECUTIONS["sliced"])
        return {name: choice for name, choice in chosen.items() if isinstance(choice, SiteChoice)}

    @property
    def decayed_weights(self) -> list[tf.Variable]:
        """Weights that weight decay applies to: kernels and kernel transforms."""
        return [
            weight for layer in self._layer_of_node.values() for weight in layer.decayed_weights
        ]

    # One subnet.

    def call(self, images, genome=None, training=False, calibration: Calibration | None = None):
        """Logits of one subnet, or what its outputs are.

        Args:
          images: float [N, H, W, channels].
          genome: int32 [n_genes], or an Architecture.
          training: Use the statistics of the batch, with gradients in mind.
          calibration: Statistics to use outside training. Without one the statistics are those
            of the batch as well.

        Returns:
          float32 [N, num_classes]; [N, height, width, channels] where the output is a map; a dict
          by name of the output where there are several.
        """
        if genome is None:
            raise ValueError(
                "Give the genome of the subnet: net(images, genome=space.encode(arch))"
            )
        genome = self.as_genome(genome)
        images = self.check_images(images)
        if training or calibration is None:
            return self.heads.unpack(self.forward_of(Mode.TRAIN)(images, genome)[0])
        frozen = self.forward_of(Mode.FROZEN)
        return self.heads.unpack(frozen(images, genome, calibration.statistics)[0])

    def as_genome(self, genome) -> tf.Tensor:
        """int32 [n_genes] from an Architecture, an array or a tensor, checked where possible."""
        if isinstance(genome, Architecture):
            genome = self.space.encode(genome)
        if not tf.is_tensor(genome):
            self.space.validate(np.asarray(genome)[None])
        return tf.ensure_shape(tf.cast(genome, tf.int32), [self.space.n_genes])

    def run_subnet(
        self,
        mode: Mode,
        images,
        genome,
        statistics=None,
        dropout_seed=None,
        observer: Observer | None = None,
        resized: bool = False,
    ):
        """The forward pass that everything else compiles.

        Args:
          mode: Where statistics come from.
          images: float [N, H, W, channels].
          genome: int32 [n_genes].
          statistics: float32 [layout.size] in FROZEN mode.
          dropout_seed: int64 [2]; with it the classifier's inputs are dropped at the rate of the
            net.
          observer: Of sites and squeeze-excites, in an eager pass.
          resized: Whether the images have the size of the genome already, see `at_resolution`.

        Returns:
          (rows [N, heads.size], statistics): the outputs side by side, logits [N, num_classes] of
          a classifier; the vector that was measured in CALIBRATE mode, an empty one otherwise.
        """

        def run(images):
            forward = ForwardPass(self, mode, genome, statistics, dropout_seed, observer)
            return forward.run(images)

        return run(images) if resized else self.at_resolution(images, genome, run, observer)

    def at_resolution(
        self,
        images: tf.Tensor,
        genome: tf.Tensor,
        run: Callable[[tf.Tensor], Any],
        observer: Observer | None = None,
    ) -> Any:
        """What `run` makes of images resized to the resolution of a genome; see `Execution`."""
        choice = self.space.network.resolution
        chosen = self.space.lookup(choice.name).read(genome)
        return execution_of(self, observer).at_resolution(images, choice.values, chosen, run)

    # Calibration, evaluation, extraction.

    def calibrate(
        self, dataset: Iterable, arch: Architecture, batches: int = CALIBRATION_BATCHES
    ) -> Calibration:
        """Measures the statistics of one subnet; the supernet is not modified.

        Activation ranges are means over batches in which ranges and normalization are those of the
        batch (section 7 of the method notes of QFA). With fractional zero points the normalization
        statistics are means over the same passes, as in the paper. Integer ones differ between
        batches by whole codes, so they are measured in a second pass, with the ranges that the
        subnet will have and in batches as large as memory allows: values that are equal in many
        images, such as a background, take one code in the subnet, but may take another in a batch
        whose mean is another. The first pass is on a quarter of the batches (a quarter of `batches`
        where `dataset` does not tell its length), the second on all. The extremes of site outputs
        are kept for the 8-bit tensors of deployment.

        Args:
          dataset: Batches of images or of (images, labels); training images, in the training
            batch size.
          arch: The subnet.
          batches: Most batches to use.

        Raises:
          ValueError: `dataset` is empty or its images do not fit.
          ArchitectureError: `arch` is not of this space.
        """
        return measuring.calibrate(self, dataset, arch, batches)

    def calibration_of_model(self) -> Calibration:
        """The statistics of the model that this supernet was made from, of the largest subnet.

        The architecture is `space.float_twin(space.largest())`. Sites with fixed bits have no
        ranges in it: `answers_in_float` runs it; for everything else there is `calibrate`.

        Raises:
          StateError: The supernet was not made by `from_model`.
        """
        return model_start.model_calibration(self, self._start())

    def answers_in_float(self, images, arch: Architecture, calibration: Calibration) -> Any:
        """What `call` gives, without any quantizer, not even those of sites with fixed bits.

        Args:
          images: float [N, H, W, channels].
          arch: The subnet; its bits are of no account.
          calibration: Of that subnet.
        """
        rows = model_start.answers_in_float(self, images, arch, calibration)
        return self.heads.unpack(rows)

    @property
    def teacher(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """The model that this supernet was made from, from images to logits [N, classes].

        Outputs of other shapes lie side by side in rows, see `Heads`.

        Raises:
          StateError: The supernet was not made by `from_model`.
        """
        return self._start().teacher

    def _start(self) -> model_start.ModelStart:
        if self.model_start is None:
            raise StateError(
                "This supernet was not made from a model, or it was read from a file, which does "
                "not hold the model. Make it by QFASupernet.from_model(model), and load weights."
            )
        return self.model_start

    def evaluate_architecture(
        self, arch: Architecture, dataset: Iterable, calibration: Calibration
    ) -> dict[str, float]:
        """Accuracy and cross-entropy of one calibrated subnet, or what `compile` was given.

        Args:
          arch: The subnet.
          dataset: Batches of (images, integer labels), or labels as for `fit`.
          calibration: Result of `calibrate` for `arch`.

        Returns:
          {"accuracy": share of images in [0, 1], "loss": mean cross-entropy, "images": count}; with
          a loss and metrics of `compile` these, by name, in place of the accuracy.
        """
        return measuring.evaluate(self, arch, dataset, calibration)

    def extract(
        self,
        arch: Architecture,
        calibration: Calibration,
        *,
        deployment_grids: bool = True,
        weight_container: str = "auto",
        float_sites: str = "int8",
    ) -> keras.Model:
        """One subnet as a functional Keras model quantized through TFMOT.

        Args:
          arch: The subnet.
          calibration: Result of `calibrate` for `arch`.
          deployment_grids: Whether tensors that training leaves in float get 8-bit grids and
            biases are rounded to the integers of the accumulators, as deployment needs it.
            Without them the model computes what the supernet computes.
          weight_container: The one the model will be converted with, see `tflite_tools.convert`;
            it decides how finely biases are rounded.
          float_sites: What becomes of sites that the space keeps in float: "int8" (8 bits),
            "float32", or "float16" (float32 with weights stored as float16).

        Returns:
          Model from images [N, resolution, resolution, channels] to logits.
        """
        require_calibration(calibration, self.space, arch)
        return extraction.extract(
            self, arch, calibration, deployment_grids, weight_container, float_sites
        )

    def check_images(self, images) -> tf.Tensor:
        """Images as float32, bytes divided by 255.

        Raises:
          InvalidInputError: They do not fit the space, or were never scaled.
        """
        images = inputs.as_images(images, self.space.input_channels)
        if tf.executing_eagerly():
            inputs.check_pixels(images)
        return images

    # Training.

    def compile(
        self,
        optimizer="sgd",
        training=None,
        loss=None,
        metrics=None,
        loss_weights=None,
        subnets_at_once=None,
        **kwargs,
    ) -> None:
        """Prepares `fit`.

        Without a loss the net classifies: cross-entropy, label smoothing, accuracy. With one it
        does what the loss says, for outputs of any shape; a teacher's part of the loss is the
        squared difference of the outputs then (`GivenTask`).

        Args:
          optimizer: A `tf_keras` optimizer, or the name of one.
          training: `QFATraining` or `OQATraining`.
          loss: Name, function or `keras.losses.Loss`; by name of the output where there are
            several and they differ.
          metrics: Names, functions or metrics of `tf_keras`, by name of the output where there are
            several. `evaluate_architecture` measures them all, `fit` and `evaluate` those that are
            a function of each image.
          loss_weights: By name of the output.
          subnets_at_once: How many subnets of a step to compute side by side, which takes as many
            times the memory for activations and changes no result; by default one for two cores,
            as far as memory goes. One where XLA compiles the step.
          **kwargs: As for `keras.Model.compile`, except steps_per_execution. With jit_compile=True
            XLA compiles the step, for the execution "masked".

        Raises:
          TypeError: The optimizer is one of Keras 3.
          InvalidInputError: There is no training method, something that it brings is given, or loss
            and metrics are not known, name no output, or are missing where the outputs are no
            logits of classes.
        """
        if not isinstance(optimizer, str):
            require_tf_keras(optimizer, "optimizer")
        brought = [name for name in _BROUGHT if kwargs.get(name)]
        if training is None or brought:
            raise InvalidInputError(
                "A supernet is trained by a method, which makes its steps: "
                f"compile({optimizer!r}, training=QFATraining()). Received: "
                + (f"{', '.join(brought)}." if brought else "no training.")
            )
        if kwargs.get("jit_compile") and not EXECUTIONS[self.execution].has_static_shapes:
            raise InvalidInputError(
                "jit_compile=True asks XLA to compile the step, which needs static shapes: "
                "QFASupernet(space, execution='masked'). Received: "
                f"execution={self.execution!r}."
            )
        if subnets_at_once is not None:
            subnets_at_once = whole_number("subnets_at_once", subnets_at_once, 1)
        self.subnets_at_once = subnets_at_once
        if loss is not None:
            self.task = GivenTask(self.heads, loss, metrics, loss_weights)
        elif metrics or loss_weights or why_no_logits(self.space.network):
            why = why_no_logits(self.space.network) or "metrics or loss_weights are given"
            raise InvalidInputError(
                "compile needs loss= for metrics and for nets that give no logits of classes, such "
                f"as loss='mse'. Here {why}; the shapes of the outputs: {dict(self.heads.shapes)}."
            )
        else:
            self.task = Classes(self.space.num_classes)
        super().compile(optimizer=optimizer, **kwargs)
        self.training_method = training.bind(self)
        self.fitting = fitting.Fitting()
        self.validation = SubnetValidation(self)

    def fit(self, *args, **kwargs):
        """As `keras.Model.fit`, with the same arguments.

        Images are float32 or uint8 (then divided by 255), labels integers or one-hot rows. The
        history, the callbacks and the progress bar get means over the steps of each epoch: loss
        and accuracy by role of subnet, and "loss" and "accuracy", their means over all subnets.
        With `validation_data` the same figures of `evaluate` follow after each epoch, as
        "val_loss", "val_largest_accuracy" and so on. Weight steps start anew at the first stage
        that is not in float.

        Raises:
          InvalidInputError: Images or labels do not fit, or a callback cannot save a supernet.
          DivergedError: Several steps in a row were not finite; the weights are those before them.
        """
        if self.training_method is None:
            raise StateError(_NOT_COMPILED)
        return self.fitting.fit(self, super().fit, *args, **kwargs)

    def evaluate(self, *args, calibration_data=None, **kwargs):
        """As `keras.Model.evaluate`: loss and accuracy of the smallest, the largest and one subnet.

        That one is drawn at random, always the same. The smallest has the fewest bits of the
        training stage, the largest the most. Each is calibrated first. For one subnet of your
        choice see `evaluate_architecture`.

        Args:
          *args: As for `keras.Model.evaluate`.
          calibration_data: Training images to calibrate on, in any form that `fit` takes; by
            default the first batches of the last `fit`.
          **kwargs: As for `keras.Model.evaluate`.

        Raises:
          InvalidInputError: There are no images to calibrate on, or images or labels do not fit.
        """
        if self.training_method is None:
            raise StateError(_NOT_COMPILED)
        self.fitting.calibrate(self, calibration_data)
        self.validation.reset()
        return self.fitting.evaluate(super().evaluate, *args, **kwargs)

    def predict(self, *args, **kwargs):
        """Refused: only a subnet has answers.

        Raises:
          InvalidInputError: Always; it says what answers instead.
        """
        raise InvalidInputError(
            "A supernet has no answers of its own. Take those of a subnet: "
            "net.extract(arch, net.calibrate(training_images, arch)).predict(images); or, without "
            "extracting it, net(images, genome=arch, calibration=calibration)."
        )

    predict_on_batch = predict

    def make_train_function(self, force=False):
        """That of Keras, with what `TrainingDriver` does around every step.

        Within `fit` it returns means over the epoch so far.
        """
        function = epoch_means.without_totals(super().make_train_function(force))
        if self.training_method is not None:
            # A step that makes variables is traced twice.
            self.optimizer.build(self.trainable_variables)
            function = self.training_method.drive(function)
        means = None if self.fitting is None else self.fitting.means
        return function if means is None else epoch_means.Accumulating(function, means)

    def make_test_function(self, force=False):
        """That of Keras, returning means over the images so far."""
        function = epoch_means.without_totals(super().make_test_function(force))
        return epoch_means.Accumulating(function, self.validation)

    @tf.autograph.experimental.do_not_convert
    def train_step(self, data):
        """One step of the training method on a batch (images, labels[, weights])."""
        if self.training_method is None:
            raise StateError(_NOT_COMPILED)
        return self.training_method.step(*self._read_batch(data))

    @tf.autograph.experimental.do_not_convert
    def test_step(self, data):
        """Sums over a batch of what `evaluate` measures."""
        return self.validation.sums(*self._read_batch(data))

    def _read_batch(self, data):
        return inputs.read_batch(data, self.space.input_channels, self.task)

    def save(self, filepath, overwrite=True, save_format=None, **kwargs) -> None:
        """Saves the supernet, its optimizer and its training in one `.keras` file.

        `keras.models.load_model(filepath)` reads it.

        Raises:
          InvalidInputError: The file would be of a format that cannot hold a supernet.
        """
        saving.check_path(filepath)
        super().save(filepath, overwrite=overwrite, save_format=save_format, **kwargs)

    def get_compile_config(self):
        """See `keras.Model`; None where the recipe has a teacher, which no file holds."""
        return saving.compile_config(self)

    def compile_from_config(self, config):
        """See `keras.Model`."""
        saving.compile_again(self, config)

    def summary(self, *args, print_fn=None, **kwargs) -> None:
        """Prints what there is to choose, what the subnets cost, and the weights by block.

        Args:
          *args: Ignored; the layers are no list of one network.
          print_fn: Prints one line; `print` by default.
          **kwargs: Ignored, as are those of `keras.Model.summary`.
        """
        del args, kwargs
        for line in summary.summary_lines(self):
            (print_fn or print)(line)

    @property
    def metrics_names(self):
        """Names of what `evaluate` returns, in order."""
        return [] if self.validation is None else list(self.validation.names)

    def trace_counts(self) -> dict[str, int]:
        """How often each compiled function was traced; 1 at most, whatever the subnets."""
        functions = dict(self._compiled)
        if self.training_method is not None:
            functions["subnet_gradients"] = self.training_method.subnet_gradients
        return {
            name: function.experimental_get_tracing_count() for name, function in functions.items()
        }

    @classmethod
    def from_pretrained(cls, name: str) -> "QFASupernet":
        """A trained supernet: its subnets are calibrated, measured and extracted as they are.

        Args:
          name: One of `QFASupernet.pretrained()`, or the path of an .npz file that
            `scripts/make_pretrained.py` wrote.

        Raises:
          InvalidInputError: There is none.
          PretrainedError: Its files are damaged, or of another version.
        """
        found = pretrained.read_pretrained(name)
        net = cls(found.space, **found.facts["options"])
        pretrained.assign_weights(net, found.arrays, found.name)
        return net

    @staticmethod
    def pretrained() -> list[str]:
        """Names of the trained supernets that come along."""
        return pretrained.pretrained_names()

    def get_config(self):
        """Constructor arguments."""
        options = {name: getattr(self, name) for name in options_of(SupernetOptions)}
        plain = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in options.items()
        }
        return {"space": self.space.to_json(), **plain}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Rebuilds the supernet, with fresh weights, from `get_config`."""
        config = dict(config)
        return cls(SearchSpace.from_json(config.pop("space")), **config)
