"""The code blocks and commands of README.md and docs/, as they stand there."""

import pathlib
import re
import shlex
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"(?:^    .*\n)+", re.MULTILINE)
_PROGRAMS = ("python", "pip", "sh", "adb", "apt-get", "tensorboard", "jupyter")
_INLINE = re.compile(r"`((?:python|sh|pip install|qfa-\w+|tensorboard) [^`\n]+)`")


class Block(NamedTuple):
    """A fenced block.

    Attributes:
      page: Name of the page.
      line: Of its first line, from 1.
      language: Behind the fence.
      text: Its content.
    """

    page: str
    line: int
    language: str
    text: str

    def __str__(self):
        return f"{self.page}:{self.line}"


class Command(NamedTuple):
    """A command of a shell.

    Attributes:
      page: Name of the page.
      line: Roughly, from 1.
      words: The command in words, without comments and settings of the environment.
    """

    page: str
    line: int
    words: tuple[str, ...]

    def __str__(self):
        return f"{self.page}: {' '.join(self.words)}"


def blocks(language):
    """All fenced blocks of a language."""
    return [block for page in PAGES for block in _blocks(page) if block.language == language]


def commands():
    """All commands: of sh blocks, of indented blocks, and those in a sentence."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in _blocks(page):
            if block.language == "sh":
                found += _commands(page.name, block.line, block.text)
        plain = _FENCE.sub("", text)
        for match in _INDENTED.finditer(plain):
            found += _commands(page.name, plain[: match.start()].count("\n") + 1, match[0])
        for match in _INLINE.finditer(plain):
            found += _commands(page.name, plain[: match.start()].count("\n") + 1, match[1])
    return list(dict.fromkeys(found))


def _blocks(page):
    text = page.read_text(encoding="utf-8")
    return [
        Block(page.name, text[: match.start()].count("\n") + 2, match[1], match[2])
        for match in _FENCE.finditer(text)
    ]


def _commands(page, line, text):
    joined = text.replace("\\\n", " ")
    for number, one in enumerate(joined.splitlines()):
        try:
            words = shlex.split(one, comments=True)
        except ValueError:  # a sentence with an apostrophe
            continue
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0], re.DOTALL):
            words = words[1:]
        if words and (words[0] in _PROGRAMS or words[0].startswith("qfa-")):
            yield Command(page, line + number, tuple(words))
