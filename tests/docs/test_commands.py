"""Every command of README.md and docs/ names what is there, with flags and values that are taken.

What they do is tested elsewhere; `test_commands_run.py` runs those that one computer can run.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tomllib

import pytest
from documentation import ROOT, commands

FOUND = commands()
PROGRAMS = {
    "qfa-train": "train",
    "qfa-search": "search",
    "qfa-export": "export",
    "qfa-benchmark": "benchmark",
    "qfa-finetune": "finetune",
    "qfa-evaluate": "evaluate",
    "qfa-import": "import_checkpoint",
    "qfa-compress": "compress",
}
_PARSER = """
import importlib, json, os, sys
from absl import flags
from qfa_tf.runs import command_line

program, answers = sys.argv[1], []
module = importlib.import_module(f"qfa_tf.programs.{program}")
commands = json.loads(sys.stdin.read())
flags.DEFINE_bool("debug", False, "")
module.define_flags()
for words in commands:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            sys.argv = [program, *words]  # ml_collections looks for overrides there
            rest = flags.FLAGS(sys.argv)
            answer = f"unexpected {rest[1:]}" if rest[1:] else ""
        except Exception as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(write, answer.encode()[:3000])
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        answers.append(pipe.read())
    os.waitpid(pid, 0)
print(json.dumps(answers))
"""


def program_of(words):
    """Name of one of the programs, and its flags; None for other commands and mere names."""
    if len(words) < 2 or words[-1].startswith("apps/"):
        return None
    if words[0] in PROGRAMS:
        return PROGRAMS[words[0]], list(words[1:])
    if words[0] == "python" and len(words) > 1 and words[1].startswith("apps/"):
        return pathlib.PurePath(words[1]).stem, list(words[2:])
    return None


def test_there_are_commands():
    assert len(FOUND) > 30
    assert any(command.page == "README.md" for command in FOUND)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Recipes, and a folder of images for the one that counts their classes."""
    path = tmp_path_factory.mktemp("commands")
    (path / "configs").symlink_to(ROOT / "configs")
    for name in ("a", "b"):
        (path / "photos" / name).mkdir(parents=True)
    return path


@pytest.mark.parametrize("program", sorted(set(PROGRAMS.values())))
def test_flags_and_values_are_taken(program, folder):
    mine = [
        (command, flags)
        for command in FOUND
        for found in [program_of(command.words)]
        if found is not None and found[0] == program
        for flags in [found[1]]
        if "..." not in " ".join(flags)
    ]
    done = subprocess.run(
        [sys.executable, "-c", _PARSER, program],
        input=json.dumps([flags for _, flags in mine]),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    wrong = {str(command): told for (command, _), told in zip(mine, answers, strict=True) if told}
    assert not wrong


def test_other_commands_name_what_is_there():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wrong = []
    for command in FOUND:
        words = command.words
        if program_of(words) is not None:
            continue
        if words[:2] == ("pip", "install"):
            for extras in re.findall(r"qfa_tf\[([\w,]+)\]", " ".join(words)):
                unknown = set(extras.split(",")) - set(project["optional-dependencies"])
                wrong += [(str(command), sorted(unknown))] * bool(unknown)
        elif words[0] in ("python", "sh") and "-m" not in words[1:2]:
            path = ROOT / words[1]
            if not path.is_file():
                wrong.append((str(command), "is missing"))
                continue
            text = path.read_text(encoding="utf-8")
            named = [word.partition("=")[0] for word in words[2:] if word.startswith("--")]
            if words[0] == "python":
                wrong += [(str(command), flag) for flag in named if f'"{flag}"' not in text]
        elif words[0].startswith("qfa-"):
            wrong.append((str(command), "is no program"))
    assert not wrong
