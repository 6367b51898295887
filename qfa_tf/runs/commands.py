"""The commands that messages advise, as this installation has them."""

import pathlib
import shlex
import sys

_APPS = pathlib.Path(__file__).parents[2] / "apps"
_PREFIX = "qfa-"


def command(program: str, **flags: object) -> str:
    """A command line: `python apps/PROGRAM.py --FLAG=VALUE` in a checkout, else `qfa-PROGRAM`.

    Args:
      program: Such as "export".
      **flags: By name; those that are None are left out, a True one has no value.
    """
    started = pathlib.PurePath(sys.argv[0]).name if sys.argv else ""
    installed = started.startswith(_PREFIX) or not _APPS.is_dir()
    words = [f"{_PREFIX}{program}" if installed else f"python apps/{program}.py"]
    for name, value in flags.items():
        if value is True:
            words.append(f"--{name}")
        elif value is not None:
            words.append(f"--{name}={shlex.quote(str(value))}")
    return " ".join(words)
