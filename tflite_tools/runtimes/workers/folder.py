"""The folder through which a worker gets its work and gives its answer."""

import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

MODEL, ANSWER = "model.tflite", "answer.json"
_MARK = "qfa_tf begins: "


class Folder:
    """Model, inputs, outputs and answer, as files.

    Args:
      path: Of the folder, which exists.
    """

    def __init__(self, path: str | pathlib.Path):
        self.path = pathlib.Path(path)

    def write_work(self, flatbuffer: bytes, inputs: Sequence[np.ndarray]) -> None:
        """Writes what a worker is to run: the model, and [N, ...] for each of its inputs."""
        (self.path / MODEL).write_bytes(flatbuffer)
        for number, array in enumerate(inputs):
            np.save(self.path / f"input_{number}.npy", np.ascontiguousarray(array))

    def model(self) -> bytes:
        """Bytes of the .tflite file."""
        return (self.path / MODEL).read_bytes()

    def begin(self) -> None:
        """Says in the log that what follows is about this folder."""
        print(f"{_MARK}{self.path}", flush=True)

    def images(self) -> Iterator[list[np.ndarray]]:
        """For each image, the arrays [1, ...] of all inputs."""
        arrays = list(self._numbered("input"))
        for position in range(len(arrays[0])):
            yield [array[position : position + 1] for array in arrays]

    def write_answer(self, outputs: Sequence[Sequence[np.ndarray]], **facts: Any) -> None:
        """Writes what a model computed: for each image, the arrays [1, ...] of all outputs."""
        for number, arrays in enumerate(zip(*outputs, strict=True)):
            np.save(self.path / f"output_{number}.npy", np.concatenate(arrays))
        self._answer(facts)

    def refuse(self, reason: str) -> None:
        """Writes why the runtime does not run the model."""
        self._answer({"refusal": reason})

    def answer(self) -> dict[str, Any] | None:
        """The facts of `write_answer`, or {"refusal": reason}; None before there is an answer."""
        path = self.path / ANSWER
        return json.loads(path.read_text("utf-8")) if path.is_file() else None

    def outputs(self) -> tuple[np.ndarray, ...]:
        """[N, ...] for each output."""
        return tuple(self._numbered("output"))

    def _numbered(self, role: str) -> Iterator[np.ndarray]:
        number = 0
        while (path := self.path / f"{role}_{number}.npy").is_file():
            yield np.load(path)
            number += 1

    def _answer(self, content: dict[str, Any]) -> None:
        temporary = self.path / f"{ANSWER}.part"
        temporary.write_text(json.dumps(content), "utf-8")
        temporary.replace(self.path / ANSWER)


def log_parts(log: str, paths: Sequence[str]) -> list[str]:
    """What a log says of each folder; all of it where there is one."""
    if len(paths) == 1:
        return ["\n".join(line for line in log.splitlines() if not line.startswith(_MARK))]
    told = dict.fromkeys(paths, "")
    for part in log.split(_MARK)[1:]:
        path, _, rest = part.partition("\n")
        told[path] = rest
    return [told[path] for path in paths]
