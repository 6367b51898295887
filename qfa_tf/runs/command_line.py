"""What the programs in `apps/` share: flags, and one sentence instead of a traceback."""

import contextlib
import os
import sys
from collections.abc import Callable, Sequence

from absl import app, flags, logging
from ml_collections import ConfigDict

from qfa_tf.runs.config import with_defaults
from qfa_tf.runs.config_fields import option_lines
from qfa_tf.runs.errors import ConfigError
from quantize_configs.errors import QFAError

INTERRUPTED = 130
_HELP = ("help", "helpshort", "helpfull", "?")

DEBUG = flags.DEFINE_bool("debug", False, "Show the traceback of errors.")


def run_app(main: Callable[[], None]) -> None:
    """Parses the flags and runs `main`; ends the program.

    A QFAError ends as one sentence on stderr with status 1, or the one that the error names
    (143 for a training that SIGTERM stopped), an interrupt with status 130, `--help` with status 0
    (absl has 1). Any other error is a fault of the code and keeps its traceback.

    Args:
      main: Takes no arguments.
    """
    program = os.path.basename(sys.argv[0])
    flags.adopt_module_key_flags(sys.modules[__name__], flags.FLAGS)
    if any(argument.lstrip("-") in _HELP for argument in sys.argv[1:]):
        with contextlib.suppress(SystemExit):
            app.run(lambda argv: None)
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
        if _debugging() or (started and not isinstance(error, QFAError)):
            raise
        message = error if started else _config_error(error)
        print(f"{program}: {message}", file=sys.stderr)
        sys.exit(getattr(error, "exit_status", 1))


def accept_every_key(holder: flags.FlagHolder) -> None:
    """Lets the command line also set keys that the file of a `--config` flag leaves out.

    `--help` shows all keys.
    """
    flag = flags.FLAGS[holder.name]
    flag.parser = _CompletingParser(flag.parser)
    flag.help = "\n".join([flag.help, "Its keys:", *option_lines()])


class _CompletingParser(flags.ArgumentParser):
    """Gives the config of a file the defaults of all keys, before the command line changes some."""

    def __init__(self, parser: flags.ArgumentParser):
        self._parser = parser

    def parse(self, argument):
        """Loads the config of a file."""
        config = self._parser.parse(argument)
        if not isinstance(config, ConfigDict):  # an error, to be told when the config is read
            return config
        return with_defaults(config).lock()

    def flag_type(self):
        """As in the parser that loads the file."""
        return self._parser.flag_type()


def config_value(holder: flags.FlagHolder) -> ConfigDict:
    """The value of a `--config` flag.

    Raises:
      ConfigError: Its file is missing or cannot be run.
    """
    try:
        return ConfigDict(holder.value.to_dict())
    except OSError as error:
        raise ConfigError(_config_error(error)) from error


def _config_error(error: Exception) -> str:
    """What is wrong with a --config file or an override; ml_collections raises many types."""
    text = str(error).strip("\"'")
    if isinstance(error, AttributeError | KeyError):
        return f"The config has no key {text!r}; the file given with --config shows those it has."
    return f"The config cannot be read: {' '.join(text.split())}"


def _debugging() -> bool:
    return any(argument.lstrip("-") == "debug" for argument in sys.argv[1:])
