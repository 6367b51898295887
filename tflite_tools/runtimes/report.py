"""What became of a file on runtimes: is it loaded, accelerated, exact, how accurate is it."""

import dataclasses
import json

CONFIDENCE = 0.95
NOT_MODELLED = "no arithmetic is modelled for this runtime"


@dataclasses.dataclass(frozen=True)
class IntegerMatch:
    """Integers of a runtime against the NumPy arithmetic of its kernels.

    Attributes:
      images: Compared images.
      elements: Values of all tensors that were compared. Functions of floats that are not modelled,
        such as LOGISTIC, run alone in LiteRT here; on another processor they are taken as they are.
      mismatches: Those that differ in any bit.
      first: The first tensor that differs, in order of execution; None if all are equal.
    """

    images: int
    elements: int
    mismatches: int
    first: str | None = None


@dataclasses.dataclass(frozen=True)
class RuntimeResult:
    """What became of a file on one runtime; None where something does not apply or is not known.

    Attributes:
      runtime: Its name.
      title: For people.
      problem: Why it did not run the file; empty if it did.
      is_installed: Whether it is there to be asked.
      version: Of what ran.
      operators: Of the file, as it runs per image.
      accelerated: Those that its accelerator took.
      left_out: Operators that it did not take, as far as it names them.
      integers: Against the arithmetic of its kernels, where one is modelled.
      integers_note: Why integers were not compared; empty if they were.
      equal_answers: Images whose largest output is that of XNNPACK.
      largest_difference: From any output of XNNPACK.
      correct: Images whose largest output is the label.
      milliseconds: Median of one image, where time means something.
    """

    runtime: str
    title: str
    problem: str = ""
    is_installed: bool = True
    version: str = ""
    operators: int | None = None
    accelerated: int | None = None
    left_out: tuple[str, ...] = ()
    integers: IntegerMatch | None = None
    integers_note: str = ""
    equal_answers: int | None = None
    largest_difference: float | None = None
    correct: int | None = None
    milliseconds: float | None = None


@dataclasses.dataclass(frozen=True)
class RuntimesReport:
    """Result of `compare_runtimes`.

    Attributes:
      images: Images that every runtime ran.
      results: One for each runtime that was asked for.
    """

    images: int
    results: tuple[RuntimeResult, ...]

    def interval(self, result: RuntimeResult) -> tuple[float, float] | None:
        """95 % interval of an accuracy (Wilson, 1927); None without labels."""
        if result.correct is None:
            return None
        from scipy.stats import binomtest

        found = binomtest(result.correct, self.images).proportion_ci(CONFIDENCE, method="wilson")
        return float(found.low), float(found.high)

    def as_dict(self) -> dict:
        """The report in plain types, for JSON."""
        rows = []
        for result in self.results:
            row = dataclasses.asdict(result)
            row["accuracy"] = None if result.correct is None else result.correct / self.images
            row["accuracy_interval"] = self.interval(result)
            rows.append(row)
        return {"images": self.images, "runtimes": rows}

    def to_json(self) -> str:
        """The report as JSON text."""
        return json.dumps(self.as_dict(), indent=2)

    def rows(self) -> list[dict[str, str]]:
        """A row of texts for each runtime, by the titles of the columns."""
        return [table_row(row, self.images) for row in self.as_dict()["runtimes"]]

    def __str__(self):
        rows = self.rows()
        titles = list(rows[0])
        widths = [max(len(title), *(len(row[title]) for row in rows)) for title in titles[:-1]]
        lines = [f"One file on {len(rows)} runtimes, {self.images} image(s)"]
        for row in (dict(zip(titles, titles, strict=True)), *rows):
            cells = [f"{row[title]:<{width}}" for title, width in zip(titles, widths, strict=False)]
            lines.append("  ".join([*cells, row[titles[-1]]]).rstrip())
        return "\n".join(lines)


def table_row(row: dict, images: int) -> dict[str, str]:
    """The texts of one runtime's row, from what `RuntimesReport.as_dict` gives."""
    if row["problem"]:
        loads = "refuses or fails" if row["is_installed"] else "not installed"
        cells = dict.fromkeys(_COLUMNS, "-")
        return {**cells, "runtime": row["runtime"], "loads": loads, "notes": row["problem"]}
    integers, interval = row["integers"], row["accuracy_interval"]
    accelerated = "-"
    if row["accelerated"] is not None:
        accelerated = str(row["accelerated"])
        accelerated += "" if row["operators"] is None else f" of {row['operators']}"
    notes = [row["version"]]
    not_compared = "not modelled"
    if integers is None and row.get("integers_note", "") not in ("", NOT_MODELLED):
        not_compared = "not compared"
        notes.append(f"integers not compared: {row['integers_note']}")
    if row["left_out"]:
        notes.append(f"not accelerated: {', '.join(row['left_out'])}")
    if integers is not None and integers["first"]:
        notes.append(f"first difference in {integers['first']}")
    return {
        "runtime": row["runtime"],
        "loads": "yes",
        "accelerated": accelerated,
        "integers that differ": not_compared
        if integers is None
        else f"{integers['mismatches']:,} of {integers['elements']:,}",
        "answers as XNNPACK": "-"
        if row["equal_answers"] is None
        else f"{100 * row['equal_answers'] / images:.1f} %",
        "largest difference": "-"
        if row["largest_difference"] is None
        else f"{row['largest_difference']:.3g}",
        "accuracy (95 %)": "-"
        if interval is None
        else f"{100 * row['accuracy']:.1f} % ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})",
        "ms": "-" if row["milliseconds"] is None else f"{row['milliseconds']:.3f}",
        "notes": "; ".join(notes),
    }


_COLUMNS = (
    "runtime",
    "loads",
    "accelerated",
    "integers that differ",
    "answers as XNNPACK",
    "largest difference",
    "accuracy (95 %)",
    "ms",
    "notes",
)
