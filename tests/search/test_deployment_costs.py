"""Latency tables, file sizes, and exact bounds of both."""

import json

import numpy as np
import pytest

from qfa_tf.cost import (
    CostModel,
    CostUnavailableError,
    LatencyTable,
    LatencyTableError,
    OperatorKey,
    operators,
)
from qfa_tf.search import (
    ExactNSGA2,
    InfeasibleBudgetError,
    Subspace,
    check_feasible,
    parse_constraints,
    search,
)
from qfa_tf.search.constraints import resolve_constraints


def make_table(space, choices=None, name="phone", seed=0):
    """Random times for every operator, in no order of size or bits."""
    keys = operators(space, space.restrict() if choices is None else choices)
    times = np.random.default_rng(seed).uniform(1, 90, len(keys))
    rows = dict(zip(keys, times.tolist(), strict=True))
    return LatencyTable(name, "a phone", {"litert": "2.3"}, "2026-11-21", rows, 12.5)


@pytest.fixture(scope="module")
def table(space):
    return make_table(space)


@pytest.fixture(scope="module")
def phone(space, table):
    return CostModel(space, latency_tables={"phone": table})


def test_files_round_trip(table, tmp_path):
    path = tmp_path / "phone.json"
    table.write(path)
    assert LatencyTable.load(path) == table
    fields = json.loads(path.read_text())
    assert fields["kind"] == "latency_table"
    assert set(fields["rows"][0]) == {*OperatorKey._fields, "microseconds"}


def test_costs_of_every_kind_may_be_asked_for(space, phone):
    genomes = space.sample_genomes(np.random.default_rng(0), 3)
    found = phone.evaluate(genomes, phone.metrics)
    assert set(found) == set(phone.metrics)
    some = phone.evaluate(genomes, ["mflops_8bit", "tflite_bytes"])
    assert np.array_equal(some["tflite_bytes"], found["tflite_bytes"])
    assert np.array_equal(some["mflops_8bit"], found["mflops_8bit"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "config"}, "is no latency table"),
        ({"schema_version": 9}, "schema version 9"),
        ({"name": "my phone"}, "hold no spaces"),
        ({"rows": [{"operator": "dense"}]}, "docs/latency_tables.md"),
        ({"fixed_microseconds": -1}, "at least 0"),
        ({"rows": "all"}, "no valid latency table"),
    ],
)
def test_damaged_tables_are_refused(table, tmp_path, change, message):
    path = tmp_path / "phone.json"
    table.write(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(LatencyTableError, match=message):
        LatencyTable.load(path)


def test_broken_rows_are_refused(table, tmp_path):
    path = tmp_path / "phone.json"
    table.write(path)
    fields = json.loads(path.read_text())
    row = fields["rows"][0]
    for rows, message in (
        ([row, row], "two rows"),
        ([{**row, "microseconds": "nan"}], "finite"),
        ([{**row, "operator": "gru"}], "operator must be one of"),
        ([{**row, "stride": 0}], "positive ints"),
    ):
        path.write_text(json.dumps({**fields, "rows": rows}))
        with pytest.raises(LatencyTableError, match=message):
            LatencyTable.load(path)
    with pytest.raises(LatencyTableError, match="There is no latency table"):
        LatencyTable.load(tmp_path / "none.json")


def test_latency_is_the_sum_of_the_operators(space, all_genomes, table, phone):
    genomes = all_genomes[::97]
    latency = phone.evaluate(genomes, ["latency_ms@phone"])["latency_ms@phone"]
    for genome, found in zip(genomes, latency, strict=True):
        assert found == pytest.approx(reference_latency(space, genome, table))


def reference_latency(space, genome, table):
    """Operator by operator, from the architecture, for the space of this folder."""
    arch = space.decode(genome)
    bits, size, total = arch.site_bits, arch.resolution, 12.5

    def add(operator, input_size, inputs, outputs, kernel=1, stride=1, site=None):
        nonlocal total
        pair = bits[site] if site else (8, 8)
        total += table.rows[
            OperatorKey(operator, input_size, inputs, outputs, kernel, stride, *pair)
        ]

    add("convolution", size, 1, 4, 3, 1, "stem")
    width = 4
    for b, block in enumerate(arch.stages[0]):
        mid = space.mid_width(0, b, block.expand_ratio)
        add("pointwise", size, width, mid, site=f"s0.b{b}.expand")
        stride = 2 if b == 0 else 1
        add("depthwise", size, mid, mid, block.kernel_size, stride, f"s0.b{b}.depthwise")
        size = -(-size // stride)
        add("pointwise", size, mid, 8, site=f"s0.b{b}.project")
        if b > 0:
            add("add", size, 8, 8)
        width = 8
    add("pointwise", size, 8, 16, site="head.expand")
    add("pool", size, 16, 16)
    add("dense", 1, 16, 3, site="classifier")
    return total / 1000


@pytest.mark.parametrize("metric", ["latency_ms@phone", "tflite_bytes", "weight_bytes", "macs"])
def test_bounds_are_those_of_all_subnets(all_genomes, space, phone, metric):
    def values(genomes):
        wanted = [metric] if metric in phone.metrics[5:] else []
        return phone.evaluate(genomes, wanted)[metric]

    costs = values(all_genomes)
    assert phone.bounds(metric, space.restrict()) == pytest.approx((costs.min(), costs.max()))
    few = space.restrict(bits=(4, 8))
    allowed = [np.isin(all_genomes[:, i], [0, *v]) for i, v in enumerate(few)]
    costs = costs[np.all(allowed, axis=0)]
    assert phone.bounds(metric, few) == pytest.approx((costs.min(), costs.max()))
    uniform = Subspace(space, uniform_bits=True)
    costs = values(np.unique(uniform.project(all_genomes[all_genomes.min(axis=1) > 0]), axis=0))
    low, high = uniform.bounds(phone, metric)
    assert low <= costs.min()
    assert high == pytest.approx(costs.max())


def test_infeasible_budgets_name_the_attainable_latency_and_size(space, phone):
    low = phone.bounds("latency_ms", space.restrict())[0]
    terms = resolve_constraints(
        parse_constraints(["latency_ms<=0.001", "tflite_bytes<=100"]), phone
    )
    with pytest.raises(InfeasibleBudgetError) as caught:
        check_feasible(terms, phone)
    assert f"latency_ms@phone<=0.001 (attainable minimum {low!r})" in str(caught.value)
    assert "tflite_bytes<=100 (attainable minimum" in str(caught.value)


def test_tables_that_are_not_there_or_miss_operators_are_named(space, table, phone):
    with pytest.raises(CostUnavailableError, match=r"needs a latency table.*No table was given"):
        CostModel(space).resolve("latency_ms")
    with pytest.raises(CostUnavailableError, match=r"tables given are \['phone'\]"):
        phone.resolve("latency_ms@watch")
    two = CostModel(space, latency_tables={"phone": table, "watch": table})
    with pytest.raises(CostUnavailableError, match=r"\['phone', 'watch'\]"):
        two.resolve("latency_ms")
    few = make_table(space, space.restrict(bits=(8,)), "few")
    cost = CostModel(space, latency_tables={"few": few})
    with pytest.raises(
        LatencyTableError, match=r"'few' misses \d+ operators of space 'enumerable'"
    ):
        cost.bounds("latency_ms", space.restrict())
    assert cost.bounds("latency_ms", space.restrict(bits=(8,)))[0] > 0


def test_a_search_for_latency(space, phone, planted):
    result = search(
        space, phone, planted(), objective="latency_ms", strategy=ExactNSGA2(20, 6),
        constraints=["latency_ms@phone<=0.35", "tflite_bytes<=8000"],
    )  # fmt: skip
    assert result.objective == "latency_ms@phone"
    for candidate in result.candidates:
        assert candidate.costs["latency_ms@phone"] <= 0.35
        assert candidate.costs["tflite_bytes"] <= 8000
    genomes = np.array([c.genome for c in result.candidates])
    expected = phone.evaluate(genomes, ["tflite_bytes"])["tflite_bytes"]
    assert [c.costs["tflite_bytes"] for c in result.candidates] == expected.tolist()
