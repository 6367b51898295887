"""Which kernels a training computes its steps with."""

import contextlib
from collections.abc import Iterator

import rich.console

from qfa_tf.runs.messages import say
from quantize_configs.errors import InvalidInputError

NATIVE_KERNELS = ("auto", "on", "off")
"""Compiled on this machine where that is possible, in any case, or never."""


def check_native_kernels(choice: str) -> None:
    """Refuses what is not one of `NATIVE_KERNELS`.

    Raises:
      InvalidInputError: It is not.
    """
    if choice not in NATIVE_KERNELS:
        raise InvalidInputError(
            f"native_kernels must be one of {', '.join(NATIVE_KERNELS)}. Received: {choice!r}."
        )


def kernels_for(choice: str, execution: str) -> str:
    """The choice that fits an execution: native kernels compute slices, and XLA knows none.

    Raises:
      InvalidInputError: They are asked for with masked tensors.
    """
    if execution != "masked":
        return choice
    if choice == "on":
        raise InvalidInputError(
            "native_kernels='on' computes slices, and config.supernet.execution is 'masked'. "
            "Choose native_kernels='auto', or execution='sliced'."
        )
    return "off"


@contextlib.contextmanager
def step_kernels(choice: str, console: rich.console.Console) -> Iterator[None]:
    """Has graphs that are traced within use native kernels, or not; then all is as before.

    Args:
      choice: One of `NATIVE_KERNELS`. "auto" takes them on machines without a GPU that have, or
        can build them, and keeps to TensorFlow's operators elsewhere.
      console: For a line where they are built, or cannot be.

    Raises:
      NativeBuildError: They are asked for and cannot be built.
    """
    import tensorflow as tf

    from quantize_configs.native.building import NativeBuildError, is_built
    from quantize_configs.native.operators import (
        ignore_native_kernels,
        native_operators,
        use_native_kernels,
    )

    before = native_operators() is not None
    wanted = choice == "on" or (choice == "auto" and not tf.config.list_logical_devices("GPU"))
    try:
        if not wanted:
            ignore_native_kernels()
        elif not before:
            try:
                if not is_built():
                    say(console, "Compiling the kernels of the training step, once.")
                use_native_kernels()
            except NativeBuildError as error:
                if choice == "on":
                    raise
                say(console, f"Training at about half the speed: {error}")
        yield
    finally:
        if before:
            use_native_kernels()
        else:
            ignore_native_kernels()
