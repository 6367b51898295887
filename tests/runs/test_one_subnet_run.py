"""One subnet trained alone as a run: from scratch, as a fine-tuning, and what follows."""

import io
import json
import math

import numpy as np
import pytest
import rich.console
from test_training_resume import rows_of

from qfa_tf.runs import (
    ConfigError,
    RunError,
    SearchSettings,
    Workdir,
    WorkdirError,
    architecture_text,
    evaluate_selection,
    export_model,
    read_architecture,
    restore,
    search_workdir,
    select,
    train,
    write_architecture,
)
from qfa_tf.runs.building import build_data, build_net, build_training, trained_architecture
from qfa_tf.runs.config import complete_config
from qfa_tf.runs.measurement import SEARCH_SPLIT, Measurement
from qfa_tf.runs.training.final_table import bits_label, final_subnets
from qfa_tf.runs.training.initial_weights import load_initial_weights
from qfa_tf.runs.training.probes import TrainingProbes
from qfa_tf.runs.training.run import _next
from qfa_tf.space import Architecture, ArchitectureError

pytestmark = pytest.mark.xdist_group("runs")


@pytest.fixture(scope="module")
def architecture(tiny_space):
    """The narrow block, with mixed bits."""
    smallest = tiny_space.smallest(bits=4)
    bits = tuple((site, w, 8 if site == "s0.b0.project" else a) for site, w, a in smallest.bits)
    return Architecture(smallest.space, smallest.resolution, smallest.stages, bits)


@pytest.fixture(scope="module")
def alone(make_config, architecture, tmp_path_factory):
    """(workdir, printed text) of a training from scratch. Do not modify it, but for models."""
    console = rich.console.Console(file=io.StringIO(), width=100)
    workdir = Workdir(tmp_path_factory.mktemp("alone") / "run")
    train(with_architecture(make_config(), architecture), workdir, console)
    return workdir, console.file.getvalue()


def with_architecture(config, architecture):
    config.training.architecture = architecture.to_json()
    return config


def test_logs_are_about_the_subnet(alone, tiny_space):
    workdir, text = alone
    rows = rows_of(workdir.training_csv)
    roles = {key.rpartition("_")[0] for key in rows[0] if key.endswith("_accuracy")}
    assert roles == {"teacher", "subnet"}
    assert all(math.isfinite(float(row["subnet_loss"])) for row in rows)
    probes = rows_of(workdir.probes_csv)
    assert [(row["step"], row["subnet"], row["bits"]) for row in probes] == [
        ("8", "subnet", "mixed")
    ]
    quantizers = {(row["site"], row["bits"]) for row in rows_of(workdir.quantizers_csv)}
    assert ("s0.b0.project", "8") in quantizers
    assert ("s0.b0.expand", "8") not in quantizers
    assert {site for site, _ in quantizers} == {site.name for site in tiny_space.sites}
    assert set(json.loads(workdir.probes_file.read_text())["accuracy"]) == {"mixed"}
    assert "Training one subnet alone: tiny, 8 px" in text
    assert "The subnet that was trained alone, on search_validation" in text
    assert text.rstrip().endswith(f"python apps/export.py --workdir={workdir}")


def test_workdir_is_of_one_architecture(alone, config, tiny_space, architecture, console):
    workdir, _ = alone
    before = workdir.config_file.read_bytes()
    assert workdir.config().training.architecture == architecture_text(architecture)
    train(with_architecture(config, architecture), workdir, console)  # however it is formatted
    assert "is finished: 8 steps" in console.file.getvalue()
    for other in (tiny_space.largest(bits=4).to_json(), ""):
        config.training.architecture = other
        with pytest.raises(WorkdirError, match=r"config: training\.architecture is another one"):
            train(config, workdir, console)
    assert workdir.config_file.read_bytes() == before


def test_export_takes_the_subnet(alone, tiny_space, architecture, tmp_path, console):
    workdir, _ = alone
    selection = select(workdir, tiny_space)
    assert (selection.architecture, selection.source) == (architecture, "trained alone")
    path = tmp_path / "own.json"
    write_architecture(architecture, path)
    assert select(workdir, tiny_space, architecture_file=path) == selection
    write_architecture(tiny_space.largest(bits=4), path)
    with pytest.raises(RunError, match=r"is another one, whose weights were not trained"):
        select(workdir, tiny_space, architecture_file=path)
    with pytest.raises(RunError, match=r"no front; leave --index out"):
        select(workdir, tiny_space, index=0)
    record = export_model(workdir, console=console)
    assert (record.architecture, record.source) == (architecture, "trained alone")
    assert record.verification["mismatches"] == 0
    evaluated = evaluate_selection(workdir, console=console)
    assert evaluated["accuracy"] == json.loads(workdir.probes_file.read_text())["accuracy"]["mixed"]


def test_there_is_nothing_to_search(alone, console):
    workdir, _ = alone
    settings = SearchSettings.from_config(workdir.config())
    with pytest.raises(RunError, match=r"nothing to search\. Export it: python apps/export\.py"):
        search_workdir(workdir, settings, console)
    assert not workdir.searches.exists()


def test_fine_tuning_starts_at_the_subnet_of_the_supernet(finished_run, config, architecture):
    """Equal weights and quantizers, so an equal accuracy, digit by digit."""
    with_architecture(config, architecture)
    config.training.initial_checkpoint = str(finished_run)
    config.training.stage_bits = ((4, 8),)
    config.training.stage_steps = (4,)
    config = complete_config(config)
    net, (source, key) = build_net(config), restore(Workdir(finished_run))
    assert load_initial_weights(net, config) == key
    for here, there in zip(net.weights, source.weights, strict=True):
        np.testing.assert_array_equal(here, there)
    measurement = Measurement(build_data(config), 16, 3)
    results = []
    for one in (net, source):
        calibration = measurement.calibrate(one, architecture)
        results.append(measurement.evaluate(one, architecture, calibration, SEARCH_SPLIT))
    assert results[0] == results[1]
    assert build_training(config).architecture == architecture


def test_only_its_quantizers_are_inherited(alone, config, architecture):
    """A run that starts from one subnet takes the quantizers that were trained there."""
    workdir, _ = alone
    config.training.initial_checkpoint = str(workdir)
    net = build_net(complete_config(config))
    load_initial_weights(net, complete_config(config))
    there, here = restore(workdir)[0].precision, net.precision
    site = "s0.b0.project"  # 4-bit weights, 8-bit inputs
    assert here.weight_step(site, 4) == there.weight_step(site, 4)
    assert here.weight_step(site, 8) != there.weight_step(site, 8)
    assert here.activation_parameters(site, 8) == there.activation_parameters(site, 8)
    assert here.activation_parameters(site, 8) != (0.0, 0.0)


def test_subnets_by_stage(config, tiny_space, architecture):
    """After a float stage the float network is what was trained; other grids were not."""
    largest = tiny_space.largest
    config = complete_config(config)
    data = build_data(config)
    assert final_subnets(config, tiny_space) == {4: largest(bits=4), 8: largest(bits=8)}
    assert trained_architecture(config) is None
    probes = TrainingProbes(config, data)
    assert [row[:2] for row in probes._subnets(is_float=True)] == [
        ("smallest", 32),
        ("largest", 32),
    ]
    assert len(probes._subnets(is_float=False)) == 4

    with_architecture(config, architecture)
    twin = tiny_space.float_twin(architecture)
    assert final_subnets(config, tiny_space) == {"mixed": architecture}
    probes = TrainingProbes(config, data)
    assert probes._subnets(is_float=True) == [("subnet", 32, twin)]
    assert probes._subnets(is_float=False) == [("subnet", "mixed", architecture)]
    config.training.stage_bits = ((4, 8), (4,), (32,))
    assert final_subnets(config, tiny_space) == {32: twin}
    assert trained_architecture(config) == twin
    assert bits_label(tiny_space, largest(bits=4)) == 4
    assert "train it with fewer bits" in _next(config, Workdir("run"))  # no kernels for it
    config.training.architecture = ""
    assert final_subnets(config, tiny_space) == {32: largest(bits=32)}
    assert _next(config, Workdir("run")) == "python apps/search.py --workdir=run"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-9], "this one is damaged"),
        (lambda text: text.replace('"tiny"', '"huge"'), "belongs to space 'huge'"),
        (lambda text: text.replace('"expand_ratio": 2', '"expand_ratio": 6'), "one of .2, 3."),
        (lambda text: text.replace('"stages"', '"steps"'), "unknown: .'steps'."),
    ],
)
def test_wrong_architectures(config, architecture, tmp_path, change, message, console):
    text = change(architecture.to_json())
    config.training.architecture = text
    workdir = Workdir(tmp_path / "run")
    with pytest.raises(ConfigError, match=rf"config\.training\.architecture: .*{message}"):
        train(config, workdir, console)
    assert not workdir.path.exists()


def test_architecture_files(architecture, tmp_path):
    path = tmp_path / "architecture.json"
    with pytest.raises(RunError, match=r"There is no architecture file .*architecture\.json"):
        read_architecture(path)
    write_architecture(architecture, path)
    assert read_architecture(path) == architecture
    assert Architecture.from_json(architecture_text(architecture)) == architecture
    assert "\n" not in architecture_text(architecture)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ArchitectureError, match=r"architecture\.json: .*damaged"):
        read_architecture(path)
