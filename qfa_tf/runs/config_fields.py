"""Every key of a config as a flat table, from its sections: kinds of values, checks, texts."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from qfa_tf.runs.config_sections import REQUIRED, SECTIONS
from qfa_tf.runs.errors import ConfigError
from qfa_tf.space import SearchSpace
from quantize_configs.errors import InvalidInputError
from quantize_configs.options import Option, options_of

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
_TYPES = {
    bool: "bool",
    int: "int",
    float: "number",
    str: "string",
    tuple[int, ...]: "ints",
    tuple[float, ...]: "numbers",
    tuple[float, float]: "numbers",
    tuple[str, ...]: "strings",
    tuple[tuple[int, ...], ...]: "tuples of ints",
    int | tuple[int, ...]: "int or ints",
    float | tuple[float, ...]: "number or numbers",
}
"""The kind of each annotation of a section."""
_ITEMS = {"ints": "int", "numbers": "number", "strings": "string", "tuples of ints": "ints"}


@dataclasses.dataclass(frozen=True)
class Field:
    """What a key holds.

    Attributes:
      kind: One of `KINDS`.
      option: Its default, its choices and bounds, and what it means.
    """

    kind: str
    option: Option

    @property
    def default(self) -> Any:
        """Value when a config leaves it out; `REQUIRED` when none may."""
        return self.option.default

    def check(self, key: str, value: Any) -> None:
        """Raises ConfigError unless `value` is allowed."""
        if not _is(self.kind, value):
            raise ConfigError(f"config.{key} must be {KINDS[self.kind]}. Received: {value!r}.")
        try:
            dataclasses.replace(self.option, name=f"config.{key}").check(value)
        except InvalidInputError as error:
            raise ConfigError(str(error)) from None


def _fields() -> dict[str, Field]:
    space = Option("space", REQUIRED, KINDS["space"])
    found = {"space": Field("space", space)}
    for section, owner in SECTIONS.items():
        types: dict[str, Any] = {field.name: field.type for field in dataclasses.fields(owner)}
        for name, one in options_of(owner).items():
            found[f"{section}.{name}"] = Field(_TYPES[types[name]], one)
    return found


FIELDS = _fields()
"""Dotted key to field."""


def option_rows(section: str) -> Iterator[str]:
    """The keys of a section as rows of a Markdown table: key, default, meaning."""
    for name, one in options_of(SECTIONS[section]).items():
        default = "" if one.is_required else f"`{_text(one.default)}`"
        allowed = f" ({one.allowed})" if one.choices is not None else ""
        yield f"| `{section}.{name}` | {default} | {one.help}{allowed} |"


def option_lines() -> Iterator[str]:
    """All keys as lines of help for a program."""
    for key, field in FIELDS.items():
        default = "required" if field.option.is_required else _text(field.default)
        yield f"  --config.{key}: {field.option.help} ({default})"


def _text(default: Any) -> str:
    return f'"{default}"' if isinstance(default, str) else str(default)


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
