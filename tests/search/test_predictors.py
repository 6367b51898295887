"""Encoding of genomes, predictors and their files, outliers, early abandonment."""

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import planted_accuracy

from qfa_tf.search import Predictor, PredictorError, fit_and_judge, fit_predictor
from qfa_tf.search.abandonment import is_hopeless, optimistic_accuracy
from qfa_tf.search.encoding import GenomeEncoder
from qfa_tf.search.outliers import inliers
from qfa_tf.search.predictor_quality import judge
from qfa_tf.space import SearchSpace

FACTS = {"checkpoint_key": "step-1", "calibration_key": "8x64", "split": "v", "images": 300}


def test_encoding_is_one_hot_and_tells_all_subnets_apart(space, all_genomes):
    encoder = GenomeEncoder(space)
    rows = encoder.encode(all_genomes)
    assert rows.shape == (len(all_genomes), sum(len(gene.choices) for gene in space.genes))
    assert len(np.unique(rows, axis=0)) == len(all_genomes)
    start = 0
    for gene in space.genes:
        values = all_genomes[:, gene.column]
        for offset, choice in enumerate(gene.choices):
            chosen = values >= choice if gene.name.endswith(".depth") else values == choice
            np.testing.assert_array_equal(rows[:, start + offset] == 1, chosen)
        start += len(gene.choices)


def test_width_of_the_paper_space():
    # 555 numbers in the paper: 5 stages have a thermometer of 4 for depth there, of 3 values here,
    # and the first block has dummy bits of an expand convolution that it does not have.
    assert GenomeEncoder(SearchSpace.from_preset("mobilenet_v3_w1.2")).width == 555 - 5 - 6


@pytest.fixture(scope="module")
def measured(all_genomes):
    genomes = np.random.default_rng(0).permutation(all_genomes)[:250]
    return genomes, np.array([planted_accuracy(genome) for genome in genomes])


@pytest.mark.parametrize("kind", ["mlp", "gp"])
def test_a_predictor_learns_is_saved_and_needs_no_scikit_learn_to_predict(
    space, all_genomes, measured, tmp_path, kind
):
    genomes, accuracy = measured
    predictor, quality = fit_and_judge(kind, space, genomes, accuracy, seed=1, facts=FACTS)
    assert quality.kendall_tau > 0.8
    assert quality.rmse < 0.08
    assert (len(quality.measured), quality.fitted_on) == (50, 200)
    assert set(quality.measured) <= set(accuracy)
    path = tmp_path / "predictor.npz"
    predictor.save(path)
    again = Predictor.load(path, space)
    predicted = predictor.predict(all_genomes[:300])
    np.testing.assert_array_equal(again.predict(all_genomes[:300]), predicted)
    assert (again.kind, dict(again.facts)) == (kind, FACTS)
    assert predicted.min() >= 0
    assert predicted.max() <= 1
    repeated = fit_predictor(kind, space, genomes, accuracy, seed=1, facts=FACTS)
    np.testing.assert_array_equal(repeated.predict(all_genomes[:300]), predicted)

    program = f"""
import sys
import numpy as np
from qfa_tf.search import Predictor
from qfa_tf.space import SearchSpace
space = SearchSpace.from_json(sys.argv[1])
Predictor.load({str(path)!r}, space).predict(np.array({all_genomes[:2].tolist()}))
heavy = {{"tensorflow", "sklearn"}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", program, space.to_json()], check=True)


def test_damaged_and_foreign_predictors_are_refused(space, measured, tmp_path):
    path = tmp_path / "predictor.npz"
    with pytest.raises(PredictorError, match=r"There is no predictor.*--strategy=predictor first"):
        Predictor.load(path, space)
    fit_predictor("mlp", space, *measured, seed=0, facts=FACTS, hidden=(8,)).save(path)
    with pytest.raises(PredictorError, match="predicts for space 'enumerable'"):
        Predictor.load(path, space.replace(name="other"))
    content = path.read_bytes()
    # The last one holds a pickled object, which must not be loaded.
    for damaged in (content[:100], b"", b"PK\x03\x04", None):
        if damaged is None:
            np.savez(path, head=np.array({"kind": "mlp"}, dtype=object))
            damaged = path.read_bytes()
        path.write_bytes(damaged)
        with pytest.raises(PredictorError, match=r"damaged or no predictor.*left as it is"):
            Predictor.load(path, space)
        assert path.read_bytes() == damaged


def test_impossible_fits_are_refused(space, measured):
    genomes, accuracy = measured
    with pytest.raises(PredictorError, match=r"one of \['mlp', 'gp'\]. Received: 'tree'"):
        fit_predictor("tree", space, genomes, accuracy, seed=0, facts=FACTS)
    with pytest.raises(PredictorError, match=r"two measurements or more. Received: 1"):
        fit_predictor("mlp", space, genomes[:1], accuracy[:1], seed=0, facts=FACTS)


def test_few_measurements_give_a_predictor_without_a_quality(space, measured):
    genomes, accuracy = measured
    predictor, quality = fit_and_judge("gp", space, genomes[:6], accuracy[:6], seed=0, facts=FACTS)
    assert quality is None
    assert np.isfinite(predictor.predict(genomes)).all()


def test_quality_of_known_predictions():
    quality = judge("mlp", np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.2, 0.1, 0.3, 0.4]), 10)
    assert quality.kendall_tau == pytest.approx(4 / 6)
    assert quality.rmse == pytest.approx(math.sqrt(0.02 / 4))
    assert math.isnan(judge("mlp", np.array([0.1, 0.1]), np.array([0.2, 0.1]), 10).kendall_tau)


def test_outliers_are_those_far_from_all_others():
    rng = np.random.default_rng(0)
    cost = rng.uniform(10, 200, 400)
    accuracy = 0.5 + cost / 1000 + rng.normal(0, 0.01, 400)
    accuracy[[7, 70]] = 0.05, 0.99
    kept = inliers(cost, accuracy)
    assert not kept[[7, 70]].any()
    assert kept.sum() >= 390
    assert inliers(cost[:4], accuracy[:4]).all()
    assert inliers(np.ones(50), np.ones(50)).all()


@given(st.integers(2, 400), st.data())
def test_abandonment_never_contradicts_what_was_seen(total, data):
    seen = data.draw(st.integers(1, total))
    correct = data.draw(st.integers(0, seen))
    bound = optimistic_accuracy(correct, seen, total)
    assert correct / seen <= bound + 1e-12 or seen == total
    assert correct / total <= bound <= (correct + total - seen) / total
    assert not is_hopeless(correct, total, total, 2.0) if seen == total else True


def test_wrong_abandonments_are_rare():
    rng = np.random.default_rng(0)
    wrong = hopeless = 0
    for share in rng.uniform(0.5, 0.99, 2000):
        images = rng.random(1000) < share
        for seen in (100, 300, 600):
            if is_hopeless(int(images[:seen].sum()), seen, 1000, 0.9):
                hopeless += 1
                wrong += images.mean() >= 0.9
                break
    assert hopeless > 1000
    assert wrong <= 1
