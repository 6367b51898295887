"""Every key of a config: the kind of its value, its default and its bounds."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from qfa_tf.runs.errors import ConfigError
from qfa_tf.space import SearchSpace

REQUIRED = object()
"""Default of the keys that every config must have."""

KINDS = {
    "space": "the name of a preset, a SearchSpace, or the fields of SearchSpace.to_json()",
    "bool": "True or False",
    "int": "an int",
    "number": "a number",
    "string": "a string",
    "ints": "a tuple of ints",
    "numbers": "a tuple of numbers",
    "strings": "a tuple of strings",
    "tuples of ints": "a tuple of tuples of ints",
    "int or ints": "an int, or a tuple with one int per stage",
    "number or numbers": "a number, or a tuple with one number per stage",
}
_ITEMS = {"ints": "int", "numbers": "number", "strings": "string", "tuples of ints": "ints"}


@dataclasses.dataclass(frozen=True)
class Field:
    """What a key holds.

    Attributes:
      kind: One of `KINDS`.
      default: Value when a config leaves it out; `REQUIRED` when none may.
      minimum: Smallest value, of numbers and of each number of a tuple.
      maximum: Largest value of a number.
      choices: Allowed strings, of strings and of each string of a tuple.
    """

    kind: str
    default: Any = REQUIRED
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] | None = None

    def check(self, key: str, value: Any) -> None:
        """Raises ConfigError unless `value` is allowed."""
        if not _is(self.kind, value):
            raise ConfigError(f"config.{key} must be {KINDS[self.kind]}. Received: {value!r}.")
        for item in _items(value):
            if self.minimum is not None and item < self.minimum:
                raise ConfigError(
                    f"config.{key} must be at least {self.minimum}. Received: {value!r}."
                )
            if self.maximum is not None and item > self.maximum:
                raise ConfigError(
                    f"config.{key} must be at most {self.maximum}. Received: {value!r}."
                )
            if self.choices is not None and item not in self.choices:
                raise ConfigError(
                    f"config.{key} must be one of {self.choices}. Received: {value!r}."
                )


FIELDS = {
    "space": Field("space"),
    "supernet.zero_point": Field("string", "integer", choices=("integer", "fractional")),
    "supernet.estimator": Field(
        "string", "channel_mean", choices=("channel_mean", "sample_mean", "min_max")
    ),
    "supernet.padding": Field("string", "same", choices=("same", "symmetric")),
    "supernet.narrow_bits": Field("ints", (8,)),
    "supernet.activation_quantizer": Field(
        "string", "batch", choices=("batch", "lsq", "lsq_plus", "pact")
    ),
    "supernet.shared_step": Field("bool", False),
    "supernet.signed_inputs": Field("string", "offset", choices=("offset", "signed", "clip")),
    "data.name": Field("string"),
    "data.search_validation": Field("int", 0, minimum=0),
    "data.test": Field("int", 0, minimum=0),
    "data.calibration": Field("int", 0, minimum=0),
    "data.eval_crop": Field("number", 0.0, minimum=0, maximum=1),
    "data.memory_limit": Field("int", 0, minimum=0),
    "data.calibration_batches": Field("int", minimum=1),
    "data.calibration_batch_size": Field("int", 0, minimum=0),
    "data.max_shift": Field("int", 0, minimum=0),
    "data.random_resized_crop": Field("numbers", (), minimum=0, maximum=1),
    "data.flip": Field("bool", False),
    "data.brightness": Field("number", 0.0, minimum=0, maximum=1),
    "data.contrast": Field("number", 0.0, minimum=0, maximum=1),
    "data.saturation": Field("number", 0.0, minimum=0, maximum=1),
    "training.batch_size": Field("int", minimum=1),
    "training.steps_per_epoch": Field("int", minimum=1),
    "training.stage_bits": Field("tuples of ints"),
    "training.stage_steps": Field("ints", minimum=1),
    "training.stage_subnets": Field("strings", (), choices=("all", "largest")),
    "training.architecture": Field("string", ""),
    "training.method": Field("string", "qfa", choices=("qfa", "oqa")),
    "training.initial_checkpoint": Field("string", ""),
    "training.inheritance": Field(
        "string", "equal_bits", choices=("equal_bits", "double", "keep_range", "power_of_two")
    ),
    "training.learning_rate": Field("number or numbers"),
    "training.warmup_steps": Field("int or ints", minimum=0),
    "training.warmup_learning_rate": Field("number", 0.0, minimum=0),
    "training.momentum": Field("number"),
    "training.clip_norm": Field("number"),
    "training.weight_decay": Field("number", minimum=0),
    "training.random_subnets": Field("int", minimum=0),
    "training.distillation": Field("string", "in_place", choices=("in_place", "external", "none")),
    "training.distillation_weight": Field("number", 1.0, minimum=0),
    "training.teacher": Field("string", ""),
    "training.label_smoothing": Field("number"),
    "training.dropout": Field("number", 0.0, minimum=0),
    "training.compute_dtype": Field("string", "float32", choices=("float32", "bfloat16")),
    "training.probe_epochs": Field("int", 5, minimum=0),
    "training.checkpoint_minutes": Field("number", 10.0, minimum=0),
    "training.seed": Field("int"),
    "search.constraints": Field("strings"),
    "search.objective": Field("string"),
    "search.population": Field("int", minimum=2),
    "search.generations": Field("int", minimum=1),
    "search.max_bits": Field("int"),
    "search.seed": Field("int"),
    "search.strategy": Field(
        "string", "nsga2", choices=("nsga2", "predictor", "refine", "random", "predicted")
    ),
    "search.evaluations": Field("int", 0, minimum=0),
    "search.minimize": Field("bool", False),
    "search.uniform_bits": Field("bool", False),
    "search.latency_tables": Field("strings", ()),
    "search.predictor": Field("string", "mlp", choices=("mlp", "gp")),
    "search.predictor_population": Field("int", 500, minimum=2),
    "search.predictor_generations": Field("int", 200, minimum=1),
    "search.sample_share": Field("number", 0.5),
    "search.sample_images": Field("int", 0, minimum=0),
    "search.sensitivity": Field("bool", True),
}
"""Dotted key to field. docs/training.md says what the keys of data and training mean,
docs/search.md those of search."""


def _is(kind: str, value: Any) -> bool:
    is_int = isinstance(value, int) and not isinstance(value, bool)
    if kind == "space":
        return isinstance(value, str | Mapping | ConfigDict | SearchSpace)
    if kind == "bool":
        return isinstance(value, bool)
    if kind == "int":
        return is_int
    if kind == "number":
        return is_int or isinstance(value, float)
    if kind == "string":
        return isinstance(value, str)
    if " or " in kind:
        return any(_is(part, value) for part in kind.split(" or "))
    is_sequence = isinstance(value, Sequence) and not isinstance(value, str)
    return is_sequence and all(_is(_ITEMS[kind], item) for item in value)


def _items(value: Any) -> Sequence:
    """What the bounds apply to."""
    is_sequence = isinstance(value, Sequence) and not isinstance(value, str)
    return value if is_sequence else (value,)
