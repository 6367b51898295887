"""What was seen of operators on runtimes: the measured part of what is known of delegates.

`delegates_seen.json` is written by `python benchmarks/delegates.py`, which runs the contract test
of the operators on every runtime that is installed.
"""

import dataclasses
import functools
import json
import pathlib

SEEN = pathlib.Path(__file__).with_name("delegates_seen.json")


@dataclasses.dataclass(frozen=True)
class Seen:
    """One combination of operator and types on one runtime.

    Attributes:
      runtime: Its name.
      version: Of what ran.
      cases: Settings of the operator that were tried.
      ran: Of these, those that were not refused.
      accelerated: Those that the accelerator took; None where there is none.
      problem: What was said of a refused one.
      mismatches: Values that differ from the arithmetic of the kernels; None without one.
      values: Compared values.
      off_xnnpack: Largest difference of a value from XNNPACK's, where no arithmetic is modelled.
    """

    runtime: str
    version: str
    cases: int
    ran: int
    accelerated: int | None = None
    problem: str = ""
    mismatches: int | None = None
    values: int = 0
    off_xnnpack: float | None = None


@functools.cache
def seen_combinations() -> dict[tuple[str, str], Seen]:
    """All that was seen, by runtime and combination ("CONV_2D int8 int4 int8"); do not modify."""
    content = json.loads(SEEN.read_text("utf-8"))
    return {
        (runtime, combination): Seen(runtime, entry["version"], **row)
        for runtime, entry in content["runtimes"].items()
        for combination, row in entry["rows"].items()
    }
