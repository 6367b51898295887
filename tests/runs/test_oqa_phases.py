"""OQA as runs: each phase in a workdir of its own, from the one before, to search and export."""

import csv
import io
import json
import shutil

import numpy as np
import pytest
import rich.console
from ml_collections import ConfigDict

from qfa_tf.runs import (
    ConfigError,
    SearchSettings,
    StoppedError,
    Workdir,
    export_model,
    restore,
    search_workdir,
    train,
)
from qfa_tf.runs.building import build_net, build_training
from qfa_tf.runs.config import complete_config
from qfa_tf.runs.training.loop import TrainingLoop

pytestmark = pytest.mark.xdist_group("runs")
STEPS = 6


def phase_config(config, space, bits, parent=None):
    """Six steps of one bit-width."""
    if bits != 32:
        space = space.replace(name=f"tiny_w{bits}", weight_bits=(bits,), activation_bits=(bits,))
    with config.ignore_type():
        config.space = ConfigDict(json.loads(space.to_json()))
        config.supernet = ConfigDict({"activation_quantizer": "lsq", "shared_step": True})
        config.training.stage_bits = ((bits,),)
        config.training.stage_steps = (STEPS,)
    config.training.method = "oqa"
    config.training.inheritance = "double"
    config.training.probe_epochs = 1
    if parent is not None:
        config.training.initial_checkpoint = str(parent)
    return complete_config(config)


@pytest.fixture(scope="module")
def phases(make_config, tiny_space, tmp_path_factory):
    """Workdirs of the phases: float, 4 bits, 3 bits. Do not modify them."""
    folder, parent, paths = tmp_path_factory.mktemp("phases"), None, {}
    for bits in (32, 4, 3):
        config = phase_config(make_config(), tiny_space, bits, parent)
        parent = paths[bits] = folder / f"w{bits}"
        train(config, Workdir(parent), rich.console.Console(file=io.StringIO()))
    return paths


def test_each_phase_has_its_space(phases):
    for bits in (4, 3):
        net, _ = restore(Workdir(phases[bits]))
        assert net.space.name == f"tiny_w{bits}"
        assert not net.precision.unstarted.any()
    with open(Workdir(phases[4]).quantizers_csv, newline="") as file:
        rows = {row["site"]: row for row in csv.DictReader(file)}
    net, _ = restore(Workdir(phases[4]))
    step, low = net.precision.activation_parameters("s0.b0.expand", 4)
    assert float(rows["s0.b0.expand"]["input_step"]) == pytest.approx(abs(step), rel=1e-4)
    assert float(rows["s0.b0.expand"]["input_low"]) == pytest.approx(low, rel=1e-4)
    assert set(json.loads(Workdir(phases[4]).probes_file.read_text())["accuracy"]) == {"4"}


def test_steps_are_inherited(phases, make_config, tiny_space):
    """What the 3-bit phase started from."""
    from qfa_tf.runs.training.initial_weights import load_initial_weights

    config = phase_config(make_config(), tiny_space, 3, phases[4])
    net = build_net(config)
    parent, key = restore(Workdir(phases[4]))
    assert load_initial_weights(net, config) == key
    for site in ("s0.b0.depthwise", "s0.b0.project", "head.expand"):
        assert net.precision.weight_step(site, 3) == 2 * parent.precision.weight_step(site, 4)
        step, _ = parent.precision.activation_parameters(site, 4)
        assert net.precision.activation_parameters(site, 3)[0] == 2 * abs(step)
    # The float phase trained the fixed bits alone: the others start from images.
    config = phase_config(make_config(), tiny_space, 4, phases[32])
    net = build_net(config)
    load_initial_weights(net, config)
    unstarted = net.precision.unstarted
    assert not unstarted[net.precision.activations_of("stem")].any()
    assert unstarted[net.precision.activations_of("head.expand")].all()


def test_resumed_phase_ends_alike(phases, make_config, tiny_space, tmp_path, monkeypatch):
    """Stopped after four of six steps, and continued."""
    config = phase_config(make_config(), tiny_space, 4, phases[32])
    workdir = Workdir(tmp_path / "w4")
    quiet = rich.console.Console(file=io.StringIO())
    step = TrainingLoop._train_step

    def stopping(loop, batches):
        if loop.progress.step == 4:
            raise StoppedError("Stopped.", 15)
        return step(loop, batches)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingLoop, "_train_step", stopping)
        with pytest.raises(StoppedError):
            train(config, workdir, quiet)
    train(config, workdir, quiet)
    resumed, whole = (restore(one)[0] for one in (workdir, Workdir(phases[4])))
    for here, there in zip(resumed.weights, whole.weights, strict=True):
        np.testing.assert_array_equal(here, there)


def test_search_and_export(phases, tmp_path, console):
    shutil.copytree(phases[3], tmp_path / "w3")
    workdir = Workdir(tmp_path / "w3")
    settings = SearchSettings.from_config(workdir.config(), uniform_bits=True)
    result = search_workdir(workdir, settings, console)
    record = export_model(workdir, console=console)
    assert record.architecture == result.architecture(result.chosen)
    bits = record.architecture.site_bits
    assert {pair for site, pair in bits.items() if site not in ("stem", "classifier")} == {(3, 3)}
    assert record.verification["mismatches"] == 0


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("supernet", "shared_step", False, "shared_step=True"),
        ("supernet", "activation_quantizer", "batch", "activation_quantizer='lsq'"),
        ("training", "stage_bits", ((4, 8),), "one bit-width"),
        ("training", "stage_bits", ((8,),), r"space\.replace"),
    ],
)
def test_wrong_configs(config, tiny_space, section, key, value, message):
    config = phase_config(config, tiny_space, 4)
    with config.ignore_type():
        config[section][key] = value
    with pytest.raises(ConfigError, match=rf"config\.training: .*{message}"):
        build_training(config)


def test_contradicting_quantizers(config, tiny_space):
    config = phase_config(config, tiny_space, 4)
    config.supernet.zero_point = "fractional"
    with pytest.raises(ConfigError, match=r"config\.supernet: .*integer zero points"):
        build_net(config)
