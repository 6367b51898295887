"""The study: its runs, its subnets, and the tables that are made of its rows."""

import equal_steps_report
import long_run_report
import numpy as np
import page_tables
import pytest
import study_report
import study_runs


def test_runs_come_after_their_parents():
    runs = study_runs.all_runs(3)
    assert len(set(runs)) == len(runs)
    for position, run in enumerate(runs):
        assert study_runs.Run.parse(run.folder) == run
        assert run.parent is None or run.parent in runs[:position]
    assert sum(run.subnet is not None for run in runs) == study_runs.ALONE


def test_recipes_differ_in_what_their_names_say():
    get_config = study_runs.RECIPE.get_config
    steps = {name: sum(get_config(f"{name}-0").training.stage_steps) for name in ("qfa", "float")}
    phases = [sum(get_config(f"oqa_w{bits}-0").training.stage_steps) for bits in (2, 3, 4)]
    assert sum(phases) == steps["qfa"] == sum(get_config("long_w2-0").training.stage_steps)
    alone = get_config("alone-2").training
    assert sum(alone.stage_steps) == steps["qfa"] + steps["float"]
    assert get_config("pact-2").training.initial_checkpoint == "workdir/study/float-2"
    with pytest.raises(ValueError, match="Received: 'qfa'"):
        get_config("qfa")


@pytest.mark.parametrize("bits", [2, 4, 32])
def test_one_bit_width_changes_nothing_else(bits):
    space = study_runs.RECIPE.study_space(None if bits == 32 else bits)
    for subnet in study_runs.fixed_subnets():
        uniform = study_runs.with_bits(subnet, space, bits)
        assert space.decode(space.encode(uniform)) == uniform
        assert (uniform.stages, uniform.resolution) == (subnet.stages, subnet.resolution)
        elastic = {pair for site, pair in uniform.site_bits.items() if site not in space.fixed_bits}
        assert elastic == {(bits, bits)}


@pytest.mark.parametrize(
    "tables",
    [
        lambda: study_report.tables(study_report.Results()),
        lambda: equal_steps_report.tables(),
        lambda: long_run_report.tables(long_run_report.all_runs()),
    ],
    ids=["study", "equal_steps", "long_run"],
)
def test_tracked_rows_make_the_page(tables):
    """The page and the rows in the repository belong together."""
    page = study_report.PAGE.read_text(encoding="utf-8")
    assert page_tables.filled(page, tables()) == page


def test_tables_take_the_place_of_the_old_ones():
    page = "before\n<!-- a -->\nold\n<!-- end -->\nafter\n"
    filled = page_tables.filled(page, {"a": [["x", "y"], ["1", "2"]]})
    assert filled == (
        "before\n<!-- a -->\n| x | y |\n| --- | ---: |\n| 1 | 2 |\n<!-- end -->\nafter\n"
    )
    with pytest.raises(ValueError, match="must have one"):
        page_tables.filled(page, {"b": [["x"]]})


def test_spread_and_rank_correlation():
    assert study_report.spread({0: 1.0, 1: 2.0, 2: 6.0}) == "3.00 [1.00, 6.00]"
    assert study_report.spread({0: 1.0, 1: np.nan}) == "-"
    assert study_report.gain({0: 1.0, 1: 2.0}, {1: 2.5, 2: 9.0}) == "+0.50 [+0.50, +0.50]"
    x = np.arange(12.0)
    assert study_report.rank_correlation(x, x**3)[:3] == pytest.approx((1.0, 1.0, 1.0))
    tau, low, high, p_value = study_report.rank_correlation(x, -x)
    assert (tau, low, high) == pytest.approx((-1.0, -1.0, -1.0))
    assert p_value < 1e-6
