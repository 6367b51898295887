"""Search spaces by name."""

from qfa_tf.space.errors import InvalidSpaceError
from qfa_tf.space.space import SearchSpace
from qfa_tf.space.specs import Head, Stage, Stem


def make(name: str) -> SearchSpace:
    """Returns the preset called `name`.

    Raises:
      InvalidSpaceError: There is no such preset.
    """
    if name not in _PRESETS:
        raise InvalidSpaceError(f"The presets are {sorted(_PRESETS)}. Received: {name!r}")
    return _PRESETS[name]()


def names() -> tuple[str, ...]:
    """Returns the names of all presets."""
    return tuple(sorted(_PRESETS))


def _digits_tiny() -> SearchSpace:
    """Grey images of ten digits; trains in minutes on two cores."""
    elastic = {"depths": (1, 2), "kernel_sizes": (3, 5), "expand_ratios": (2, 3, 4)}
    return SearchSpace(
        name="digits_tiny",
        resolutions=(24, 28, 32),
        stem=Stem(width=8, kernel_size=3, stride=2, activation="relu6"),
        stages=(
            Stage(8, 1, depths=(1,), kernel_sizes=(3,), expand_ratios=(1,), activation="relu"),
            Stage(16, 2, activation="relu6", **elastic),
            Stage(24, 2, activation="relu6", **elastic),
        ),
        head=Head(expand_width=96, mix_width=64, activation="relu6"),
        weight_bits=(2, 3, 4, 8),
        activation_bits=(2, 3, 4, 8),
        fixed_bits={"stem": (8, 8), "classifier": (8, 8)},
        input_channels=1,
        num_classes=10,
    )


_PRESETS = {"digits_tiny": _digits_tiny}
