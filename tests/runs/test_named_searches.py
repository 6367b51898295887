"""Several searches in one workdir: names, requests, locks, other weights, files of old releases."""

import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from qfa_tf.cost import CostModel
from qfa_tf.runs import RunError, SearchSettings, Workdir, WorkdirError, evaluate_selection, select
from qfa_tf.runs.searching.folder import (
    OF_THE_WORKDIR,
    claimed_search,
    find_search,
    finished_searches,
    search_folder,
)
from qfa_tf.runs.searching.staleness import check_weights, measured_anew
from qfa_tf.runs.selection import say_search
from qfa_tf.search import Evaluation, ExactNSGA2, search

HOLDER = """
import sys, time
from qfa_tf.runs import Workdir
from qfa_tf.runs.searching.folder import claimed_search
with claimed_search(Workdir(sys.argv[1]), {"seed": 1}, "a"):
    print("held", flush=True)
    time.sleep(600)
"""


class Bytes:
    """Judges subnets by a digest of their genome."""

    checkpoint_key, calibration_key, split = "step-8-aaaaaaaaaaaa", "k", "search_validation"
    images, calibration_images = 100, 10

    def evaluate(self, genomes, **limits):
        return [Evaluation(int(genome.sum() * 7 % 101) / 101, 0.5, 100) for genome in genomes]


@pytest.fixture
def workdir(config, tmp_path):
    made = Workdir(tmp_path / "run")
    made.claim(config)
    return made


@pytest.fixture(scope="module")
def result(tiny_space):
    return search(
        tiny_space, CostModel(tiny_space), Bytes(), strategy=ExactNSGA2(4, 2),
        constraints="mflops_8bit<=0.03",
    )  # fmt: skip


def write(folder, result, seconds):
    folder.path.mkdir(parents=True, exist_ok=True)
    result.write_pareto_json(folder.pareto_json)
    os.utime(folder.pareto_json, (seconds, seconds))


def claim(workdir, request, name=None):
    with claimed_search(workdir, request, name) as folder:
        return folder.name


def refused(workdir, request, name=None, error=WorkdirError):
    with claimed_search(workdir, request, name):
        raise error("The images changed.")


def test_a_search_that_is_refused_claims_no_name(workdir, result):
    for name in (None, "phone_a"):
        with pytest.raises(WorkdirError, match="images changed"):
            refused(workdir, {"seed": 1}, name)
    assert claim(workdir, {"seed": 2}) == "default"
    assert claim(workdir, {"seed": 2}, "phone_a") == "phone_a"
    with pytest.raises(WorkdirError, match="images changed"):
        refused(workdir, {"seed": 2})  # one that was there before keeps what it has
    assert search_folder(workdir, "default").request() == {"seed": 2}
    with pytest.raises(KeyboardInterrupt):
        refused(workdir, {"seed": 3}, "phone_b", lambda text: KeyboardInterrupt())
    assert search_folder(workdir, "phone_b").request() == {"seed": 3}


def test_equal_searches_are_continued_and_others_get_their_own_folder(workdir):
    assert claim(workdir, {"seed": 1}) == "default"
    assert claim(workdir, {"seed": 2}) == "default-2"
    assert claim(workdir, {"seed": 1}) == "default"
    assert claim(workdir, {"seed": 2}) == "default-2"
    assert claim(workdir, {"seed": 3}, "phone_a") == "phone_a"
    assert claim(workdir, {"seed": 3, "bits": (2, 3)}) == "default-3"
    assert claim(workdir, {"seed": 3, "bits": (2, 3)}) == "default-3"  # tuples become lists
    before = search_folder(workdir, "phone_a").request_file.read_bytes()
    with pytest.raises(WorkdirError, match=r"phone_a is another search: seed is 3 there and 4 her"):
        claim(workdir, {"seed": 4}, "phone_a")
    assert search_folder(workdir, "phone_a").request_file.read_bytes() == before


def test_the_settings_of_a_search_are_its_request(workdir):
    settings = SearchSettings.from_config(workdir.config())
    others = [{"seed": 5}, {"max_bits": 4}, {"constraints": ("macs<=9",)}, {"strategy": "random"}]
    requests = [
        SearchSettings.from_config(workdir.config(), **change).request() for change in others
    ]
    assert all(request != settings.request() for request in requests)
    shown = SearchSettings.from_config(workdir.config(), sensitivity=False)
    assert shown.request() == settings.request()


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".", ".hidden", "a b"])
def test_names_are_those_of_folders(workdir, name):
    with pytest.raises(RunError, match="letters"):
        claim(workdir, {"seed": 1}, name)
    assert not workdir.searches.exists()


@pytest.mark.parametrize("content", ["", "[]", '{"schema_version": 1}', '{"schema_version": 7}'])
def test_a_damaged_request_is_refused_and_kept(workdir, content):
    folder = search_folder(workdir, "a")
    folder.path.mkdir(parents=True)
    folder.request_file.write_text(content)
    with pytest.raises(WorkdirError, match="It was left as it is"):
        claim(workdir, {"seed": 1}, "a")
    assert folder.request_file.read_text() == content


def test_the_newest_search_is_the_default(workdir, result, tiny_space, console):
    with pytest.raises(WorkdirError, match=r"has no search yet\. Search first: python apps/se"):
        find_search(workdir)
    claim(workdir, {"seed": 1}, "begun")  # not finished: it is not found
    write(search_folder(workdir, "b"), result, 2000)
    write(search_folder(workdir, "a"), result, 1000)
    write(search_folder(workdir, OF_THE_WORKDIR), result, 500)  # as an earlier release wrote it
    assert [folder.name for folder in finished_searches(workdir)] == [".", "a", "b"]
    assert find_search(workdir).name == "b"
    assert find_search(workdir, OF_THE_WORKDIR).path == workdir.path
    with pytest.raises(WorkdirError, match=r"no finished search 'c'; it has \., a, b\."):
        find_search(workdir, "c")
    selection = select(workdir, tiny_space, search="a", index=0)
    assert (selection.member.search.name, selection.source) == ("a", "front 0")
    assert selection.member.candidate == result.front[0]
    assert select(workdir, tiny_space).member.search.name == "b"
    say_search(selection, console)
    assert "Search 'a': mflops_8bit<=0.03, front of" in console.file.getvalue()
    with pytest.raises(RunError, match="Give --architecture, or --search"):
        select(workdir, tiny_space, search="a", architecture_file="x.json")


def test_a_search_of_other_weights_is_refused(restored_once, run_copy, result, tiny_space, console):
    write(search_folder(run_copy, "old"), result, 1000)
    selection = select(run_copy, tiny_space)
    check_weights(run_copy, selection, result.checkpoint_key)
    now = "step-9-bbbbbbbbbbbb"
    with pytest.raises(WorkdirError, match=r"'old' is of step 8 \(a+\),.* of step 9 .*--stale=ok"):
        check_weights(run_copy, selection, now)
    with pytest.raises(RunError, match="stale must be one of"):
        check_weights(run_copy, selection, now, "yes")
    check_weights(run_copy, selection, now, "ok")

    from qfa_tf.runs.building import build_data

    anew = measured_anew(run_copy, selection.member, build_data(run_copy.config()), console)
    evaluated = evaluate_selection(run_copy, search="old", console=console)
    assert (anew.accuracy, anew.images) == (evaluated["accuracy"], 52)
    assert anew.costs == selection.member.candidate.costs
    told = console.file.getvalue().replace("\n", " ")
    assert f"had {100 * selection.member.candidate.accuracy:.2f} %" in told
    assert f"has {100 * anew.accuracy:.2f} %" in told


def test_one_process_at_a_time_and_none_after_a_kill(workdir):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(workdir)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "held\n"
            with pytest.raises(WorkdirError, match=f"being searched by process {process.pid} on"):
                claim(workdir, {"seed": 1}, "a")
            assert claim(workdir, {"seed": 2}, "b") == "b"  # another one may run beside it
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    assert claim(workdir, {"seed": 1}, "a") == "a"


def test_evaluations_are_shared(restored_once, run_copy, monkeypatch, console):
    from qfa_tf.runs import search_workdir

    settings = SearchSettings.from_config(run_copy.config(), sensitivity=False)
    first = search_workdir(run_copy, settings, console, name="first")

    def refuse(*arguments):
        raise AssertionError("this was measured before")

    monkeypatch.setattr("qfa_tf.runs.measurement.restore", refuse)
    second = search_workdir(run_copy, settings, console, name="second")
    assert first == second
    np.testing.assert_equal(sorted(os.listdir(run_copy.searches)), ["first", "second"])
    text = console.file.getvalue()
    assert f"Next: python apps/export.py --workdir={run_copy} --search=second" in text
    shutil.rmtree(run_copy.searches / "second")
    assert find_search(run_copy).name == "first"
