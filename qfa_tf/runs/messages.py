"""Where programs tell what they do, and sentences that are printed as they are."""

import importlib.util
import sys

import rich.console


def new_console() -> rich.console.Console:
    """A console on standard output; in a notebook plain text, unless it can show widgets.

    Without the package ipywidgets rich answers every progress bar of a notebook with a warning.
    """
    if "ipykernel" in sys.modules and importlib.util.find_spec("ipywidgets") is None:
        # Kernels ask for colours, which rich takes for a terminal that redraws lines.
        return rich.console.Console(force_jupyter=False, force_terminal=False)
    return rich.console.Console()


def say(console: rich.console.Console, text: str, style: str | None = None) -> None:
    """Prints `text`: not coloured, not wrapped, no markup in paths."""
    console.print(text, style=style, highlight=False, soft_wrap=True, markup=False)
