"""Descriptions of networks as JSON."""

import dataclasses
import json
from typing import Any

from qfa_tf.network.choices import WIDTHS, Choice
from qfa_tf.network.errors import InvalidSpaceError
from qfa_tf.network.network import Network
from qfa_tf.network.nodes import NODES, Slot
from qfa_tf.network.validation import check

SCHEMA_VERSION = 1
_TYPES = {kind.__name__: kind for kind in (*NODES, *WIDTHS)}
"""What JSON names by its type."""


def to_json(network: Network) -> str:
    """Returns a network as JSON text with a schema version."""
    return json.dumps({"schema_version": SCHEMA_VERSION, **to_fields(network)})


def from_json(text: str) -> Network:
    """Reads what `to_json` wrote.

    Raises:
      InvalidSpaceError: No JSON, another schema version, unknown or missing keys, or a network
        that contradicts itself.
    """
    try:
        fields = json.loads(text)
    except ValueError as error:
        raise InvalidSpaceError(
            f"The text of a network must be JSON as written by to_json(); this one is damaged: "
            f"{error}"
        ) from error
    version = fields.pop("schema_version", None) if isinstance(fields, dict) else None
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise InvalidSpaceError(
            f"This version reads networks of schema_version {SCHEMA_VERSION}. Received: {version!r}"
        )
    return from_fields(fields)


def to_fields(network: Network) -> dict[str, Any]:
    """Returns a network as what JSON can hold."""
    return {field.name: _encode(getattr(network, field.name)) for field in _fields(network)}


def from_fields(fields: Any) -> Network:
    """Returns the network that `to_fields` gave, checked; see `from_json` for what it raises."""
    if not isinstance(fields, dict) or set(fields) != {f.name for f in _fields(Network)}:
        raise InvalidSpaceError(
            f"A network has exactly the keys {[f.name for f in _fields(Network)]}. "
            f"Received: {sorted(fields) if isinstance(fields, dict) else fields!r}"
        )
    if not all(isinstance(value, list) for value in fields.values()):
        raise InvalidSpaceError("The choices, slots, nodes and outputs of a network are lists.")
    return check(
        Network(
            choices=tuple(_build(Choice, entry) for entry in fields["choices"]),
            slots=tuple(_build(Slot, entry) for entry in fields["slots"]),
            nodes=tuple(_decode(entry) for entry in fields["nodes"]),
            outputs=tuple(fields["outputs"]),
        )
    )


def _fields(thing: Any) -> tuple[dataclasses.Field, ...]:
    return dataclasses.fields(thing)


def _encode(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_encode(one) for one in value]
    if not dataclasses.is_dataclass(value):
        return value
    fields = {field.name: _encode(getattr(value, field.name)) for field in _fields(value)}
    kind = type(value).__name__
    return {"type": kind, **fields} if kind in _TYPES else fields


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_decode(one) for one in value)
    if not isinstance(value, dict):
        return value
    kind = value.get("type")
    if kind not in _TYPES:
        raise InvalidSpaceError(
            f"The type of a node or a width must be one of {sorted(_TYPES)}. Received: {kind!r}"
        )
    return _build(_TYPES[kind], {key: one for key, one in value.items() if key != "type"})


def _build(kind: type, fields: Any) -> Any:
    if not isinstance(fields, dict):
        raise InvalidSpaceError(f"A {kind.__name__} must be an object. Received: {fields!r}")
    try:
        return kind(**{key: _decode(value) for key, value in fields.items()})
    except TypeError as error:
        raise InvalidSpaceError(f"A {kind.__name__} cannot be read: {error}.") from error
