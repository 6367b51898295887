"""Arguments with a value for each input or output of a model."""

from collections.abc import Sequence
from typing import Any

from quantize_configs.errors import InvalidInputError


def by_name(values: Any, names: Sequence[str], role: str) -> list:
    """Values for the inputs or outputs of a model in their order.

    Args:
      values: One value where there is one name; otherwise a list in their order, or a dict by name.
      names: Of the inputs or outputs.
      role: "input" or "output", for the sentence.

    Raises:
      InvalidInputError: Other names, or another number.
    """
    if isinstance(values, dict):
        if set(values) != set(names):
            raise InvalidInputError(
                f"Give one entry for each {role} by name: {list(names)}. Received: {list(values)}."
            )
        return [values[name] for name in names]
    if len(names) == 1:
        return [values]
    if not isinstance(values, list | tuple) or len(values) != len(names):
        received = f"{len(values)}" if isinstance(values, list | tuple) else type(values).__name__
        raise InvalidInputError(
            f"The model has {len(names)} {role}s {list(names)}; give a list with one entry for "
            f"each, or a dict by name. Received: {received}."
        )
    return list(values)
