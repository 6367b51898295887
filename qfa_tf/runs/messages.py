"""Where programs tell what they do, and sentences that are printed as they are."""

import importlib.util

import rich.console


def new_console() -> rich.console.Console:
    """A console on standard output; in a notebook plain text, unless it can show widgets.

    Without the package ipywidgets rich answers every progress bar of a notebook with a warning.
    """
    widgets = importlib.util.find_spec("ipywidgets") is not None
    return rich.console.Console(force_jupyter=None if widgets else False)


def say(console: rich.console.Console, text: str, style: str | None = None) -> None:
    """Prints `text`: not coloured, not wrapped, no markup in paths."""
    console.print(text, style=style, highlight=False, soft_wrap=True, markup=False)
