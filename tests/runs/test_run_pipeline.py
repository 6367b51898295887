"""From a trained run to a benchmarked model; everything that was done is not done again."""

import json

import numpy as np
import pytest

from qfa_tf.cost import CostModel, CostUnavailableError
from qfa_tf.runs import (
    ExportOptions,
    ModelRecordError,
    RunError,
    SearchSettings,
    WorkdirError,
    evaluate_selection,
    export_model,
    read_architecture,
    search_workdir,
    select,
)
from qfa_tf.runs.benchmarking.front_latency import write_front_latency
from qfa_tf.runs.benchmarking.run import benchmark_models, images_of_model, model_contents
from qfa_tf.runs.measurement import workdir_evaluator
from qfa_tf.runs.searching.folder import find_search
from qfa_tf.runs.searching.reporting import refresh_page
from qfa_tf.search import EvaluationStore, InfeasibleBudgetError, StoredEvaluator
from tflite_tools import compare_device, open_device

pytestmark = pytest.mark.xdist_group("runs")


def refuse(*arguments, **keywords):
    raise AssertionError("this was done before")


def settings_of(workdir, **changes):
    return SearchSettings.from_config(workdir.config(), **changes)


def test_evaluator_and_store(restored_once, run_copy, tiny_space, monkeypatch):
    genomes = tiny_space.sample_genomes(np.random.default_rng(0), 3)
    evaluator = workdir_evaluator(run_copy, tiny_space)
    assert evaluator.split == "search_validation"
    assert evaluator.calibration_key.startswith(
        "bright_corners-8px-calibration64-3x16-evaluation52"
    )
    with EvaluationStore(run_copy.evaluations, tiny_space) as store:
        first = StoredEvaluator(evaluator, store).evaluate(genomes)
    assert [result.images for result in first] == [52] * 3

    monkeypatch.setattr("qfa_tf.runs.measurement.restore", refuse)
    again = workdir_evaluator(run_copy, tiny_space)
    with EvaluationStore(run_copy.evaluations, tiny_space) as store:
        assert StoredEvaluator(again, store).evaluate(genomes) == first


def test_keys_tell_data_and_weights_apart(run_copy, tiny_space):
    before = workdir_evaluator(run_copy, tiny_space)
    for path in run_copy.checkpoints.glob("ckpt-8.*"):
        path.unlink()
    after = workdir_evaluator(run_copy, tiny_space)
    assert before.checkpoint_key != after.checkpoint_key
    assert before.calibration_key == after.calibration_key


def test_search_to_benchmark(restored_once, run_copy, tiny_space, monkeypatch, console):
    result = search_workdir(run_copy, settings_of(run_copy), console)
    folder = find_search(run_copy)
    assert (folder.name, folder.result()) == ("default", result)
    assert result.chosen.costs["mflops_8bit"] <= 0.03
    assert folder.pareto_png.read_bytes().startswith(b"\x89PNG")
    assert "<html" in folder.report.read_text()
    text = console.file.getvalue()
    assert "generation   2/2" in text
    assert f"chosen subnet in {folder.architecture_file}" in text.replace("\n", " ")
    chosen = read_architecture(folder.architecture_file)
    assert chosen == result.architecture(result.chosen)
    assert f"Next: python apps/export.py --workdir={run_copy}" in text

    unseen = evaluate_selection(run_copy, split="test", console=console)
    told = f"by which nothing was chosen: {100 * unseen['accuracy']:.2f} %"
    assert told in text.replace("\n", " ")
    assert told in folder.report.read_text()
    refresh_page(run_copy, folder)
    assert told in folder.report.read_text()
    with EvaluationStore(run_copy.evaluations, tiny_space) as store:
        genomes = np.array([result.chosen.genome], np.int32)
        keys = result.checkpoint_key, result.calibration_key
        assert store.get_many(genomes, *keys, "test") == [None]

    # The same search again needs no net and ends with the same file.
    pareto = folder.pareto_json.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("qfa_tf.runs.measurement.restore", refuse)
        search_workdir(run_copy, settings_of(run_copy), console)
    assert folder.pareto_json.read_bytes() == pareto

    record = export_model(run_copy, overlays=True, console=console)
    explorer = run_copy.models / f"{record.name}.explorer"
    kinds = ("weight_bits", "activation_bits", "constant_bytes", "percent_of_codes_off_keras")
    assert {path.name for path in explorer.iterdir()} == {
        f"{record.name}.{kind}.json" for kind in kinds
    }
    assert record.architecture == result.architecture(result.chosen)
    assert record.source == "chosen"
    assert record.accuracy["split"] == "test"
    assert record.verification["mismatches"] == 0
    against_float = record.verification["against_float"]
    (output,) = against_float["outputs"]
    page = folder.report.read_text()
    assert f"{record.name}: what its bits cost" in page
    assert f"the same answer on {output['equal_answers']:.2%}" in page
    assert "the float model" not in console.file.getvalue()  # there is none
    assert all(f">{layer['name']}</text>" in page for layer in against_float["layers"])
    assert record.file_bytes == (run_copy.models / f"{record.name}.tflite").stat().st_size
    costs = CostModel(tiny_space).evaluate(np.array([result.chosen.genome]))
    assert record.cost == {metric: values[0] for metric, values in costs.items()}
    evaluated = evaluate_selection(run_copy, split="test", console=console)
    assert evaluated["accuracy"] == record.accuracy["supernet"]

    # An exported model is kept, another one under its name is refused, a damaged one as well.
    monkeypatch.setattr("qfa_tf.runs.exporting.building.restore", refuse)
    assert export_model(run_copy, console=console) == record
    in_bytes = ExportOptions(weight_container="int8")
    with pytest.raises(ModelRecordError, match=r"is another model .*choose another --name"):
        export_model(run_copy, name=record.name, options=in_bytes, console=console)

    measured = benchmark_models(run_copy, console=console)
    report = measured[0].benchmarks["host-1"]
    assert report["median_ms"] > 0
    stored = json.loads((run_copy.models / f"{record.name}.json").read_text())
    assert stored["benchmarks"]["host-1"] == report
    table = console.file.getvalue()
    for label in ("mflops_8bit", "mismatching integers", "delegate partitions", "bits per site"):
        assert label in table
    monkeypatch.setattr("tflite_tools.benchmarking.measurement.benchmark_all", refuse)
    assert benchmark_models(run_copy, console=console) == measured
    assert (run_copy.path / "benchmarks" / record.name / "host-1.log").stat().st_size > 100
    content = model_contents(run_copy)[record.name]
    images, labels = images_of_model(run_copy, record.name, content, 6)
    with open_device("host") as device:
        compared = compare_device(content, device, images, labels=labels)
    assert (compared.mismatches, compared.images) == (0, 6)
    assert compared.accuracy == compared.reference_accuracy
    path = write_front_latency(run_copy, folder, measured, "host-1", console)
    assert path.read_text().startswith("model,accuracy,measured_ms host-1\n")
    assert record.name in path.read_text()

    model = run_copy.models / f"{record.name}.tflite"
    model.write_bytes(model.read_bytes()[:-1])
    with pytest.raises(ModelRecordError, match="is damaged"):
        benchmark_models(run_copy, console=console)
    with pytest.raises(ModelRecordError, match="is damaged"):
        export_model(run_copy, console=console)


def test_hopeless_searches_are_refused_before_tensorflow_is_needed(run_copy, monkeypatch, console):
    monkeypatch.setattr("qfa_tf.runs.searching.run.workdir_evaluator", refuse)
    with pytest.raises(InfeasibleBudgetError, match="attainable minimum"):
        search_workdir(run_copy, settings_of(run_copy, constraints=("macs<=10",)), console)
    with pytest.raises(RunError, match="bit-widths of space 'tiny' are"):
        search_workdir(run_copy, settings_of(run_copy, max_bits=1), console)
    with pytest.raises(CostUnavailableError, match="There is no cost 'speed'; the costs are macs"):
        search_workdir(run_copy, settings_of(run_copy, objective="speed"), console)


def test_unreachable_accuracy_writes_the_front(restored_once, run_copy, console):
    settings = settings_of(run_copy, constraints=("mflops_8bit<=0.03", "accuracy>=1.0"))
    with pytest.raises(RunError, match="best accuracy within the budget"):
        search_workdir(run_copy, settings, console)
    assert find_search(run_copy).result().chosen is None
    assert not find_search(run_copy).architecture_file.exists()


def test_selection(run_copy, tiny_space, tmp_path):
    with pytest.raises(WorkdirError, match="Search first"):
        select(run_copy, tiny_space)
    architecture = tiny_space.smallest(bits=4)
    path = tmp_path / "mine.json"
    path.write_text(architecture.to_json())
    selection = select(run_copy, tiny_space, architecture_file=path)
    assert selection.architecture == architecture
    with pytest.raises(RunError, match="not both"):
        select(run_copy, tiny_space, index=0, architecture_file=path)
    with pytest.raises(RunError, match="no architecture file"):
        select(run_copy, tiny_space, architecture_file=tmp_path / "none.json")


def test_no_models_names_the_export_command(run_copy, console):
    with pytest.raises(ModelRecordError, match=r"python apps/export\.py"):
        benchmark_models(run_copy, console=console)
