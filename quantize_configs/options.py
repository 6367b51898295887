"""Options that are declared once: name, default, allowed values and what they mean.

A class with options is a dataclass whose fields are made by `option`. Its constructor, its checks,
its `get_config`, the keys of a recipe, `--help` and the tables of the documentation all read them
from there. Nothing here, nor in `quantizer_options`, imports TensorFlow.
"""

import dataclasses
import inspect
import math
import operator
import textwrap
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from quantize_configs.errors import InvalidInputError

_KEY = "option"


@dataclasses.dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
      name: Of the argument, the attribute and the key of a recipe.
      default: Its value when it is not given; `dataclasses.MISSING` when it must be.
      help: What it decides, one phrase without a full stop.
      choices: Every value it may have; None when it is no choice of names.
      minimum: Smallest value of a number; None for no bound.
      maximum: Largest value of a number; None for no bound.
      above: What a number must exceed; None for no bound.
      below: What a number must stay under; None for no bound.

    Choices and bounds hold for each item of a tuple, and not for None where that is the default.
    """

    name: str
    default: Any
    help: str
    choices: tuple[str, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None

    @property
    def is_required(self) -> bool:
        """Whether there is no default."""
        return self.default is dataclasses.MISSING

    def check(self, value: Any) -> None:
        """Raises InvalidInputError unless `value` is allowed."""
        if value is None and self.default is None:
            return
        for item in value if isinstance(value, tuple | list) else (value,):
            if self.choices is not None and item not in self.choices:
                raise InvalidInputError(
                    f"{self.name} must be one of {self.choices}. Received: {value!r}."
                )
            if isinstance(item, float) and not math.isfinite(item):
                raise InvalidInputError(f"{self.name} must be finite. Received: {value!r}.")
            bounds = [text for text, holds in self._bounds(item) if not holds]
            if bounds:
                raise InvalidInputError(f"{self.name} must be {bounds[0]}. Received: {value!r}.")

    def _bounds(self, item: Any = 0) -> list[tuple[str, bool]]:
        """(bound for people, whether a number keeps it)."""
        bounds = (
            ("at least", self.minimum, operator.ge),
            ("at most", self.maximum, operator.le),
            ("above", self.above, operator.gt),
            ("below", self.below, operator.lt),
        )
        return [
            (f"{text} {bound}", keeps(item, bound))
            for text, bound, keeps in bounds
            if bound is not None
        ]

    @property
    def allowed(self) -> str:
        """The allowed values for people."""
        if self.choices is not None:
            return ", ".join(f'"{choice}"' for choice in self.choices)
        kind = [] if self.is_required else [type(self.default).__name__]
        return ", ".join([*kind, *(text for text, _ in self._bounds())])


def option(
    default: Any,
    help: str,
    *,
    choices: tuple[str, ...] | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> Any:
    """A dataclass field that is an option; see `Option`."""
    bounds = {"minimum": minimum, "maximum": maximum, "above": above, "below": below}
    metadata = {_KEY: {"help": help, "choices": choices, **bounds}}
    return dataclasses.field(default=default, metadata=metadata)


def same_option(owner: type, name: str, **changes: Any) -> Any:
    """A dataclass field like an option of another class, but for some of its attributes."""
    declared = dataclasses.asdict(options_of(owner)[name])
    return option(**{key: value for key, value in (declared | changes).items() if key != "name"})


def options_of(owner: Any) -> Mapping[str, Option]:
    """The options of a dataclass or of an instance of one, by name, in order."""
    return {
        field.name: Option(field.name, field.default, **field.metadata[_KEY])
        for field in dataclasses.fields(owner)
        if _KEY in field.metadata
    }


Class = TypeVar("Class", bound=type)


def with_options(owner: type) -> Callable[[Class], Class]:
    """Decorator of a class whose constructor takes the options of a dataclass as `**options`.

    Its signature lists them with their defaults, and the line `{options}` of its docstring becomes
    one entry for each of them.
    """

    def add(cls: Class) -> Class:
        fields = {field.name: field for field in dataclasses.fields(owner)}
        constructor: Any = cls.__init__  # type: ignore[misc]  # of this very class
        signature = inspect.signature(constructor)
        own = [one for one in signature.parameters.values() if one.name != "options"]
        options = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=one.default,
                annotation=fields[name].type,
            )
            for name, one in options_of(owner).items()
        ]
        more = inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD)
        constructor.__signature__ = signature.replace(parameters=[*own, *options, more])
        entries = "\n".join(
            textwrap.fill(
                f"{name}: {one.help} ({one.allowed}; {one.default!r} by default).",
                width=100,
                initial_indent=" " * 6,
                subsequent_indent=" " * 8,
            )
            for name, one in options_of(owner).items()
        )
        cls.__doc__ = (cls.__doc__ or "").replace(" " * 6 + "{options}", entries)
        return cls

    return add


def check_options(instance: object) -> None:
    """Raises InvalidInputError unless every option of a dataclass instance is allowed."""
    for name, declared in options_of(instance).items():
        declared.check(getattr(instance, name))


def option_table(owner: type, prefix: str = "") -> str:
    """The options of a class as a Markdown table.

    Args:
      owner: Dataclass.
      prefix: In front of each name, such as "supernet.".
    """
    rows = ["| option | default | allowed | meaning |", "|---|---|---|---|"]
    for name, one in options_of(owner).items():
        default = f'"{one.default}"' if isinstance(one.default, str) else str(one.default)
        rows.append(f"| `{prefix}{name}` | `{default}` | {one.allowed} | {one.help} |")
    return "\n".join(rows)


def help_text(owner: type) -> str:
    """The options of a class as lines of help for a program."""
    lines = []
    for name, one in options_of(owner).items():
        lines.append(f"  {name}: {one.help} ({one.allowed}; {one.default!r} by default)")
    return "\n".join([inspect.cleandoc(owner.__doc__ or "").split("\n", 1)[0], *lines])
