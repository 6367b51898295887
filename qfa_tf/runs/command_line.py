"""What the programs share: flags, help, and one sentence instead of a traceback."""

import contextlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from qfa_tf.runs.config import with_defaults
from qfa_tf.runs.config_fields import option_lines
from qfa_tf.runs.errors import ConfigError
from qfa_tf.runs.recipes import recipe_argument
from qfa_tf.runs.training.kernels import NATIVE_KERNELS
from quantize_configs.errors import QFAError

INTERRUPTED = 130
RECIPE_FLAGS = ("recipe", "config")
"""Two names of one flag: recipes by name, and as ml_collections has it."""
_HELP = ("help", "helpshort", "helpfull", "?")
_IN_CHECKOUT = re.compile(r"python apps/(import)?(\w+)\.py")


def run_app(
    main: Callable[[], None],
    define_flags: Callable[[], None] | None = None,
    doc: str | None = None,
) -> None:
    """Parses the flags and runs `main`; ends the program.

    A QFAError ends as one sentence on stderr with status 1, or the one that the error names
    (143 for a training that SIGTERM stopped), an interrupt with status 130, `--help` with status 0
    (absl has 1). Any other error is a fault of the code and keeps its traceback.

    Args:
      main: Takes no arguments.
      define_flags: Defines the flags.
      doc: For `--help`.
    """
    program = os.path.basename(sys.argv[0])
    flags.DEFINE_bool("debug", False, "Show the traceback of errors.")
    if define_flags is not None:
        define_flags()
    if any(argument.lstrip("-") in _HELP for argument in sys.argv[1:]):
        _print_help(program, define_flags, doc)
        sys.exit(0)

    started = []

    def guarded(argv: Sequence[str]) -> None:
        if len(argv) > 1:
            raise app.UsageError(f"Unexpected arguments: {' '.join(argv[1:])}")
        started.append(True)
        logging.set_verbosity(logging.WARNING)  # TensorFlow tells much at INFO
        main()

    try:
        app.run(guarded)
    except KeyboardInterrupt:
        print(f"{program}: interrupted; the same command resumes.", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        known = isinstance(error, QFAError)
        if _debugging() or (started and not known):
            raise
        message = error if started or known else _config_error(error)
        print(f"{program}: {message}", file=sys.stderr)
        sys.exit(getattr(error, "exit_status", 1))


def define_native_kernels() -> None:
    """Defines `--native_kernels`."""
    flags.DEFINE_enum(
        "native_kernels",
        "auto",
        NATIVE_KERNELS,
        "Compute normalization and quantizers of the training step by kernels that are compiled on "
        "this machine, once: where there is a C++ compiler and no GPU, in any case, or never.",
    )


def define_recipe(required: bool = True) -> None:
    """Defines `--recipe` and its other name `--config`.

    Every key can be set behind either, as in --recipe.training.learning_rate=0.1, also one that
    the file leaves out; `--help` shows all keys.

    Args:
      required: Whether one of them must be given.
    """
    for name in RECIPE_FLAGS:
        config_flags.DEFINE_config_file(
            name, None, "Recipe: a name such as digits, or a Python file with get_config()."
        )
        flag = flags.FLAGS[name]
        flag.parser = _CompletingParser(flag.parser)
    flag = flags.FLAGS[RECIPE_FLAGS[0]]
    flag.help = "\n".join([flag.help, "Its keys:", *option_lines()])

    @flags.multi_flags_validator(RECIPE_FLAGS, message="Give --recipe (or --config), once.")
    def _has_one(values: dict[str, object]) -> bool:
        given = sum(value is not None for value in values.values())
        return given == 1 or (given == 0 and not required)


def define_subnet_flags(workdir: str = "Folder of a trained run.") -> None:
    """Defines the flags that say which subnet of which workdir a program is about.

    Args:
      workdir: Help of `--workdir`.
    """
    flags.DEFINE_string("workdir", None, workdir)
    flags.DEFINE_integer("index", None, "One of the front, cheapest first, from 0.")
    flags.DEFINE_string(
        "search", None, "Name of the search; the only or the newest one by default."
    )
    flags.DEFINE_string("architecture", None, "File with an architecture as JSON.")


def define_stale(more: str = "") -> None:
    """Defines `--stale`; `more` says what happens with such a subnet."""
    flags.DEFINE_enum(
        "stale",
        "refuse",
        ("refuse", "ok"),
        f"ok: take a subnet of a search of other weights than those of now{more}.",
    )


def subnet_arguments() -> dict[str, Any]:
    """What the flags of `define_subnet_flags` and `define_stale` say, by name of the argument."""
    given = flags.FLAGS
    arguments = {
        "index": given.index,
        "architecture_file": given.architecture,
        "search": given.search,
    }
    return arguments | ({"stale": given.stale} if "stale" in given else {})


def recipe_value() -> ConfigDict:
    """The config that `--recipe` or `--config` and what follows them make.

    Raises:
      ConfigError: None was given, the file is missing or cannot be run.
    """
    given = [flags.FLAGS[name].value for name in RECIPE_FLAGS if flags.FLAGS[name].present]
    if not given:
        raise ConfigError("Give --recipe (or --config): a name such as digits, or a Python file.")
    (value,) = given
    try:
        return ConfigDict(value.to_dict())
    except OSError as error:
        raise ConfigError(_config_error(error)) from error


class _CompletingParser(flags.ArgumentParser):
    """Finds a recipe, and gives its config the defaults of all keys before some are changed."""

    def __init__(self, parser: flags.ArgumentParser):
        self._parser = parser

    def parse(self, argument):
        """Loads the config of a recipe."""
        try:
            config = self._parser.parse(recipe_argument(argument))
        except (TypeError, ValueError) as error:
            if "Traceback" not in str(error):
                raise
            # Of the recipe's own code: the last line says what went wrong.
            raise ValueError(str(error).strip().splitlines()[-1]) from error
        if not isinstance(config, ConfigDict):  # an error, to be told when the config is read
            return config
        return with_defaults(config).lock()

    def flag_type(self):
        """As in the parser that loads the file."""
        return self._parser.flag_type()


def _print_help(program: str, define_flags: Callable[[], None] | None, doc: str | None) -> None:
    """The text of a program with the commands that this installation has, and its flags."""
    text = doc or ""
    if not program.endswith(".py"):
        text = _IN_CHECKOUT.sub(lambda found: f"qfa-{found[1] or found[2]}", text)
    print(f"{text.strip()}\n\nflags:")
    modules = [define_flags.__module__] if define_flags is not None else []
    with contextlib.suppress(KeyError):
        for module in [*modules, __name__]:
            print(flags.FLAGS.module_help(module))


def _config_error(error: Exception) -> str:
    """What is wrong with a recipe or an override; ml_collections raises many types."""
    text = str(error).strip("\"'")
    if isinstance(error, AttributeError | KeyError):
        return f"The config has no key {text!r}; docs/training.md and the recipe show those it has."
    return f"The config cannot be read: {' '.join(text.split())}"


def _debugging() -> bool:
    return any(argument.lstrip("-") == "debug" for argument in sys.argv[1:])
