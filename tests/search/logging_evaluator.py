"""An evaluator for worker processes, with a log and the deaths that a test plans."""

import collections
import os
import pathlib
import signal
import time

from planted import PlantedEvaluator


class LoggingEvaluator(PlantedEvaluator):
    """Writes a line per finished evaluation; can be slow, fail, or kill its own process."""

    def __init__(self, folder, deadly=(), failing=(), seconds=0.0):
        super().__init__()
        self.folder, self.deadly, self.failing = pathlib.Path(folder), deadly, failing
        self.seconds = seconds

    def evaluate(self, genomes, *, images=None, to_beat=None):
        time.sleep(self.seconds)
        for genome in genomes:
            key = tuple(genome.tolist())
            if key in self.failing:
                raise ValueError(f"no such subnet: {key}")
            mark = self.folder / f"died-{abs(hash(key))}"
            if key in self.deadly and self.deadly[key] > len(list(self.folder.glob("died-*"))):
                pathlib.Path(f"{mark}-{os.getpid()}").touch()
                os.kill(os.getpid(), signal.SIGKILL)
        results = super().evaluate(genomes, images=images, to_beat=to_beat)
        with open(self.folder / f"log-{os.getpid()}", "a", encoding="utf-8") as file:
            file.writelines(f"{genome.tolist()}\n" for genome in genomes)
        return results


def finished(folder):
    """How often each genome was evaluated to the end, over all processes."""
    lines = [line for path in folder.glob("log-*") for line in path.read_text().splitlines()]
    return collections.Counter(lines)
