"""Fronts and hypervolumes, pareto.json, picture and report."""

import dataclasses
import html.parser
import json
import math
import re
import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import PlantedEvaluator

from qfa_tf.search import (
    ExactNSGA2,
    Reference,
    ResultError,
    hypervolume,
    load_pareto_json,
    non_dominated,
    parse_constraints,
    search,
    write_report,
)
from qfa_tf.search.plot import plot_pareto
from qfa_tf.search.report import ReportDetails
from qfa_tf.search.report_chart import ExportedPoint, Series

POINTS = st.lists(st.tuples(st.integers(0, 8), st.integers(1, 8)), max_size=25)


@given(POINTS)
def test_front_equals_the_definition(points):
    accuracy = np.array([a for a, _ in points], float)
    cost = np.array([c for _, c in points], float)
    front = non_dominated(accuracy, cost)
    expected = {
        (a, c)
        for a, c in points
        if not any((x >= a and y <= c) and (x, y) != (a, c) for x, y in points)
    }
    found = [(int(accuracy[i]), int(cost[i])) for i in front]
    assert set(found) == expected
    assert len(found) == len(expected)
    assert [c for _, c in found] == sorted(c for _, c in found)
    assert all(points.index(point) == i for point, i in zip(found, front, strict=True))


@given(POINTS)
def test_hypervolume_equals_counted_cells(points):
    accuracy = np.array([a / 8 for a, _ in points], float)
    cost = np.array([c for _, c in points], float)
    cells = sum(
        any(a >= row and c <= column for a, c in points)
        for row in range(1, 9)
        for column in range(8)
    )
    assert hypervolume(accuracy, cost, 8.0) == pytest.approx(cells / 64)


@pytest.fixture(scope="module")
def result(space, cost):
    return search(
        space, cost, PlantedEvaluator(), constraints="mflops_8bit<=0.05",
        strategy=ExactNSGA2(10, 4), seed=3, bits=(2, 8),
    )  # fmt: skip


def test_json_round_trip(result, tmp_path):
    path = tmp_path / "pareto.json"
    result.write_pareto_json(path)
    again = load_pareto_json(path)
    assert again == result
    assert again.front == result.front
    assert again.chosen == result.chosen
    fields = json.loads(path.read_text())
    assert fields["front"] == list(result.front_indices)
    assert fields["chosen"] == result.chosen_index
    assert fields["constraints"] == ["mflops_8bit<=0.05"]


def test_a_missing_loss_survives(result, tmp_path):
    candidates = (dataclasses.replace(result.candidates[0], loss=math.nan),)
    dataclasses.replace(result, candidates=candidates).write_pareto_json(tmp_path / "p.json")
    assert math.isnan(load_pareto_json(tmp_path / "p.json").candidates[0].loss)


def test_damaged_files_are_refused_and_untouched(result, tmp_path):
    path = tmp_path / "pareto.json"
    result.write_pareto_json(path)
    text = path.read_text()
    damaged = {
        "truncated": text[: len(text) // 2],
        "edited": text.replace('"seed": 3', '"seed": 4'),
        "other": "[1, 2]",
        "empty": "",
    }
    for content in damaged.values():
        path.write_text(content)
        with pytest.raises(ResultError, match=r"damaged or was edited.*left as it is"):
            load_pareto_json(path)
        assert path.read_text() == content
    path.write_text(text.replace('"schema_version": 3', '"schema_version": 9', 1))
    with pytest.raises(ResultError, match=r"schema_version 2 or 3.*Received: 9"):
        load_pareto_json(path)
    path.write_bytes(b"\xff\xfe" + text.encode())
    with pytest.raises(ResultError, match="damaged"):
        load_pareto_json(path)


def test_chosen_is_the_most_accurate_and_of_these_the_cheapest(result):
    chosen = result.chosen
    assert chosen in result.front
    allowed = [c for c in result.candidates if c.costs["mflops_8bit"] <= 0.05]
    assert chosen.accuracy == max(c.accuracy for c in allowed)
    twin = dataclasses.replace(chosen, costs={**chosen.costs, "mflops_8bit": 0.001})
    both = dataclasses.replace(result, candidates=(*result.candidates, twin))
    assert both.chosen == twin


def test_no_candidate_may_be_chosen(result):
    strict = dataclasses.replace(result, constraints=parse_constraints("accuracy>=1"))
    assert strict.chosen is None
    assert strict.front == result.front


def test_picture_is_a_png(result, tmp_path):
    path = tmp_path / "pareto.png"
    plot_pareto(result, path, [Reference("int8 <baseline>", 0.04, 0.6)])
    assert path.read_bytes().startswith(b"\x89PNG\r\n")
    first = path.read_bytes()
    plot_pareto(result, path, [Reference("int8 <baseline>", 0.04, 0.6)])
    assert path.read_bytes() == first


def test_report_holds_everything_and_needs_nothing(result, tmp_path):
    path = tmp_path / "report.html"
    escaped = dataclasses.replace(result, checkpoint_key="<script>")
    write_report(escaped, path)
    text = path.read_text()
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    for request in ("src=", "@import", "url(", "fetch("):
        assert request not in text.replace('src="data:', "")
    assert text.count("<script>") == 1  # our own, at the end
    assert "&lt;script&gt;" in text
    assert "mflops_8bit&lt;=0.05" in text
    for site, _, _ in result.architecture(result.chosen).bits:
        assert f"<td>{site}</td>" in text
    assert text.count('<tr class="chosen" data-row=') == 1
    for member in range(len(result.front)):
        assert f'data-member="{member}"' in text  # a point, a row and a section for each
        assert f'data-row="{member}"' in text
        assert f'<details id="member-{member}">' in text
    assert text.count('class="interval"') == len(result.front)
    assert '<meta name="viewport"' in text


def test_report_with_other_searches_and_files(result, tmp_path):
    other = dataclasses.replace(result, candidates=result.candidates[:5])
    cost = result.chosen.costs[result.objective]
    point = ExportedPoint(
        "model <a>", cost, 0.9, 200, "test", 12345, "host-1: 0.024 ms",
        (("model.tflite", "../../models/a b.tflite"),),
        [{"runtime": "micro", "loads": "refuses", "notes": "no <INT4>"}], 150,
    )  # fmt: skip
    details = ReportDetails(
        name="phone_a", others=[Series("phone_b", other)], exported=[point],
        links=[("pareto.json", "pareto.json")],
    )  # fmt: skip
    path = tmp_path / "report.html"
    write_report(result, path, details)
    text = path.read_text()
    html.parser.HTMLParser().feed(text)
    assert 'data-search="1"' in text
    assert 'data-toggle="1"' in text
    assert "phone_b, front 0" in text
    assert 'href="../../models/a%20b.tflite"' in text
    assert "model &lt;a&gt;" in text
    assert "90.00 % (85.1 to 93.4) on test" in text
    assert "12,345" in text
    assert "host-1: 0.024 ms" in text
    assert "<h3>model &lt;a&gt; on every runtime, 150 images</h3>" in text
    assert "<td>micro</td><td>refuses</td><td>no &lt;INT4&gt;</td>" in text
    # A search of predictions has no intervals.
    predicted = dataclasses.replace(result, split="search_validation, predicted")
    write_report(predicted, path)
    assert 'class="interval"' not in path.read_text()


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_report_in_a_browser(result, tmp_path):
    """The script runs, and selects the chosen member."""
    path = tmp_path / "report.html"
    write_report(result, path, ReportDetails(name="phone_a"))
    done = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000",
         f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", path.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    number = result.front_indices.index(result.chosen_index)
    assert f"phone_a, front {number}, chosen:" in done.stdout.partition('id="tip"')[2][:200]
    assert re.search(rf'<tr class="chosen selected" data-row="{number}"', done.stdout)


def test_report_without_a_chosen_candidate(result, tmp_path):
    path = tmp_path / "report.html"
    write_report(dataclasses.replace(result, constraints=parse_constraints("accuracy>=1")), path)
    assert "No evaluated candidate meets all constraints" in path.read_text()
