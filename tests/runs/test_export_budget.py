"""The budget of a search is kept by the file: measured on it, and the next member taken."""

import dataclasses
import io
import shutil

import pytest
import rich.console

from qfa_tf.cost import CostModel, LatencyTable
from qfa_tf.runs import RunError, SearchSettings, Workdir, export_model, search_workdir
from qfa_tf.runs.benchmarking.run import with_benchmark
from qfa_tf.runs.exporting.budget import members_in_turn, terms_of_file, with_latency
from qfa_tf.runs.exporting.records import ModelRecordError, read_record
from qfa_tf.runs.exporting.terms import Term, broken_terms
from qfa_tf.runs.searching.folder import find_search, search_folder
from qfa_tf.runs.selection import Member, select
from qfa_tf.search import parse_constraints

pytestmark = pytest.mark.xdist_group("runs")
REPORT = {
    "device_name": "x86", "soc": "", "abi": "", "delegate": "cpu", "num_threads": 1,
    "median_ms": 0.5,
}  # fmt: skip


@pytest.fixture(scope="module")
def _searched(sharing_the_net, finished_run, tmp_path_factory):
    workdir = Workdir(shutil.copytree(finished_run, tmp_path_factory.mktemp("searched") / "run"))
    settings = SearchSettings.from_config(workdir.config(), constraints=(), sensitivity=False)
    with sharing_the_net():
        search_workdir(workdir, settings, rich.console.Console(file=io.StringIO()))
    return workdir


@pytest.fixture
def searched(_searched, restored_once, tmp_path):
    """A workdir of one's own with a search, whose evaluations are in the store."""
    return Workdir(shutil.copytree(_searched.path, tmp_path / "searched"))


def rewrite(workdir, constraints, choose=None):
    """Gives the search other constraints, and makes one of the front its most accurate member."""
    folder = find_search(workdir)
    result = folder.result()
    candidates = list(result.candidates)
    if choose is not None:
        position = result.front_indices[choose]
        costs = {**candidates[position].costs, result.objective: 1e9}  # it dominates no other
        candidates[position] = dataclasses.replace(
            candidates[position], accuracy=1.0, costs=costs, answers=None
        )
    result = dataclasses.replace(
        result, constraints=parse_constraints(constraints), candidates=tuple(candidates)
    )
    result.write_pareto_json(folder.pareto_json)
    return result


def with_costs(result, sizes):
    """The result with file sizes that the search is made to believe."""
    candidates = [
        dataclasses.replace(candidate, costs={**candidate.costs, "tflite_bytes": float(size)})
        for candidate, size in zip(result.candidates, sizes, strict=True)
    ]
    return dataclasses.replace(result, candidates=tuple(candidates))


def test_the_next_member_is_taken_where_a_file_is_too_large(
    searched, tiny_space, console, monkeypatch
):
    front = find_search(searched).result().front
    assert len(front) > 1, "the test needs a front"
    sizes = {
        export_model(searched, index=i, name=f"front-{i}", console=console).file_bytes: i
        for i in range(len(front))
    }
    large, small = sizes[max(sizes)], sizes[min(sizes)]
    bound = (max(sizes) + min(sizes)) // 2
    result = rewrite(searched, [f"tflite_bytes<={bound}"], choose=large)
    folder = find_search(searched)
    with_costs(result, [bound - 1] * len(result.candidates)).write_pareto_json(folder.pareto_json)

    record = export_model(searched, console=console)
    assert record.file_bytes <= bound
    assert record.source.endswith(", in place of chosen")
    assert [str(term) for term in record.budget] == [
        f"tflite_bytes<={bound} holds: {record.file_bytes} by file, {bound - 1} predicted"
    ]
    chosen = record.passed_over[0]
    assert (chosen.source, chosen.terms[0].measured) == ("chosen", chosen.file_bytes)
    assert chosen.terms[0].holds is False
    told = console.file.getvalue().replace("\n", " ")
    assert f"tflite_bytes<={bound} broken: {chosen.file_bytes} by file" in told
    assert f"Exported {record.source}" in told
    assert read_record(searched, record.name) == record

    def refuse(*arguments):
        raise AssertionError("this was made before")

    with monkeypatch.context() as patch:
        patch.setattr("qfa_tf.runs.exporting.building.restore", refuse)
        assert export_model(searched, console=console) == record

    named = export_model(searched, name="mine", console=console)
    assert named.architecture == record.architecture
    assert export_model(searched, name="mine", console=console) == named
    with pytest.raises(ModelRecordError, match="is another model"):
        export_model(searched, name=f"front-{small}", console=console)

    # One that is asked for is exported, and what it breaks is said.
    last = len(find_search(searched).result().front) - 1  # the dearest, as it was rewritten
    record = export_model(searched, index=last, name="wanted", console=console)
    assert broken_terms(record.budget)
    assert f"Warning: tflite_bytes<={bound} broken" in console.file.getvalue()


def test_no_member_keeps_the_budget(searched, console):
    result = rewrite(searched, ["tflite_bytes<=100"])
    fooled = with_costs(result, [99] * len(result.candidates))
    fooled.write_pareto_json(find_search(searched).pareto_json)
    with pytest.raises(RunError, match=r"as a file; the nearest: tflite_bytes<=100 broken"):
        export_model(searched, console=console)
    assert not list(searched.models.glob("*"))


def test_terms(searched, tiny_space):
    result = rewrite(searched, ["macs<=1e9", "tflite_bytes<=200", "accuracy>=0.0"])
    result = with_costs(result, [150] * len(result.candidates))
    result.write_pareto_json(find_search(searched).pareto_json)
    candidate = result.front[0]
    member = Member(find_search(searched), result, result.front_indices[0])
    macs, size = terms_of_file(member, 201)
    assert (macs.holds, macs.source, macs.measured) == (
        True,
        "architecture",
        candidate.costs["macs"],
    )
    assert (size.holds, size.source, size.predicted, size.measured) == (False, "file", 150, 201)
    assert terms_of_file(member, 200)[1].holds
    assert broken_terms((macs, size)) == [size]
    turn = members_in_turn(select(searched, tiny_space).member, "chosen")
    positions = [selection.member.position for selection in turn]
    assert positions[0] == result.chosen_index
    assert positions == sorted(positions, key=result.preference)
    assert len({selection.member.position for selection in turn}) == len(turn) == len(result.front)


def test_latencies_are_judged_on_the_device_of_their_table(searched, tmp_path):
    table = LatencyTable("phone", "x86, cpu, 1 thread(s)", {}, "2026", {})
    other = LatencyTable("other", "y86, cpu, 1 thread(s)", {}, "2026", {})
    terms = (Term("latency_ms@phone<=0.4", 0.3), Term("latency_ms@other<=0.4", 0.3))
    assert terms[0].holds is None
    assert "0.3 predicted, not measured" in str(terms[0])
    measured = with_latency(terms, "host-1", REPORT, {"phone": table, "other": other})
    assert (measured[0].holds, measured[0].measured, measured[0].source) == (False, 0.5, "host-1")
    assert measured[1] == terms[1]

    table.write(tmp_path / "phone.json")
    folder = search_folder(searched, "default")
    folder.write_request({"latency_tables": [str(tmp_path / "phone.json"), "lost.json"]})
    record = export_model(searched, name="one")
    record = dataclasses.replace(record, budget=terms)
    record = with_benchmark(searched, record, "host-1", REPORT)
    assert record.budget == measured
    assert record.benchmarks["host-1"] == REPORT


def test_costs_of_the_record_are_those_of_the_model(searched, tiny_space, console):
    record = export_model(searched, index=0, console=console)
    costs = CostModel(tiny_space).evaluate(tiny_space.encode(record.architecture)[None])
    assert record.cost["macs"] == costs["macs"][0]
    assert (record.search, record.passed_over, record.budget) == ("default", (), ())
