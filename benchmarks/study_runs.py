"""What the runs of the study are, and the subnets that they are measured on."""

import dataclasses
import importlib.util
import pathlib

import numpy as np

from qfa_tf.space import FLOAT_BITS, Architecture, SearchSpace

ROOT = pathlib.Path(__file__).parents[1]
CONFIG = pathlib.Path("configs/fashion_mnist_study.py")
SUBNETS, ALONE = 20, 12
"""Random subnets that every run is measured on, and how many of them are also trained alone."""
RESULT_FILE = "study.json"


def _load_recipe():
    """The recipe as a module; `configs` is a folder of files, not a package."""
    spec = importlib.util.spec_from_file_location(CONFIG.stem, ROOT / CONFIG)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RECIPE = _load_recipe()


@dataclasses.dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
      name: Of the recipe's `RUNS`.
      seed: Of its weights, images and subnets.
      subnet: Which of the fixed subnets it trains; None for a supernet.
    """

    name: str
    seed: int
    subnet: int | None = None

    @property
    def folder(self) -> str:
        """Name of its workdir."""
        return "-".join(
            str(part) for part in (self.name, self.seed, self.subnet) if part is not None
        )

    @property
    def parent(self) -> "Run | None":
        """The run whose weights it starts from."""
        parent = RECIPE.RUNS[self.name].get("parent")
        return None if parent is None else Run(parent, self.seed)

    @property
    def bits(self) -> int | None:
        """The single bit-width of a phase of OQA."""
        return RECIPE.RUNS[self.name].get("oqa_bits")

    @classmethod
    def parse(cls, folder: str) -> "Run":
        """From the name of its workdir."""
        name, seed, *subnet = folder.split("-")
        return cls(name, int(seed), *map(int, subnet))

    def subnets(self) -> list[tuple[str, int, Architecture]]:
        """(bits, number, architecture) of what the run is measured on."""
        mixed = list(enumerate(fixed_subnets()))
        if self.subnet is not None:
            return [("mixed", self.subnet, mixed[self.subnet][1])]
        space = RECIPE.study_space(self.bits)
        if self.bits is not None:
            return [(str(self.bits), i, with_bits(one, space, self.bits)) for i, one in mixed]
        if self.name == "float":
            return [("float", i, with_bits(one, space, FLOAT_BITS)) for i, one in mixed]
        found = [("mixed", i, one) for i, one in mixed]
        if self.name == "qfa":
            for bits in RECIPE.MIXED:
                found += [(str(bits), i, with_bits(one, space, bits)) for i, one in mixed]
        return found


def all_runs(seeds: int) -> list[Run]:
    """Every run, each after its parent; subnets alone with the first seed only."""
    runs = [Run(name, seed) for seed in range(seeds) for name in RECIPE.RUNS if name != "alone"]
    return runs + [Run("alone", 0, subnet) for subnet in range(ALONE)]


def fixed_subnets() -> list[Architecture]:
    """The random subnets of the study, of 2, 3 and 4 bits mixed."""
    space, rng = RECIPE.study_space(), np.random.default_rng(0)
    return [space.sample(rng) for _ in range(SUBNETS)]


def with_bits(architecture: Architecture, space: SearchSpace, bits: int) -> Architecture:
    """The same network with the same bits at every site that the space does not fix."""
    pairs = tuple(
        (site, *space.fixed_bits.get(site, (bits, bits))) for site, *_ in architecture.bits
    )
    return dataclasses.replace(architecture, space=space.name, bits=pairs)
