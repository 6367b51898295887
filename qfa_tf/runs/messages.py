"""Printing sentences as they are: not coloured, not wrapped, no markup in paths."""

import rich.console


def say(console: rich.console.Console, text: str, style: str | None = None) -> None:
    """Prints `text`."""
    console.print(text, style=style, highlight=False, soft_wrap=True, markup=False)
