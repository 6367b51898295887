"""Accuracy predictors: fitted with scikit-learn, applied and stored with NumPy alone."""

import dataclasses
import functools
import json
import os
import pathlib
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qfa_tf.search.encoding import GenomeEncoder
from qfa_tf.space import SearchSpace
from quantize_configs.errors import InvalidInputError, MissingExtraError
from quantize_configs.files import replacing

SCHEMA_VERSION = 1
KINDS = ("mlp", "gp")
HIDDEN = (600, 600, 600)
"""Hidden layers of the QFA paper, which had 8000 measurements and 100 epochs at a rate of 3e-3."""
SMALL_HIDDEN = (128, 128)
SMALL = 1000
"""Below so many measurements the MLP is smaller, slower to learn and held back more."""


class PredictorError(InvalidInputError):
    """A predictor cannot be fitted, or its file is damaged or of another space."""


@dataclasses.dataclass(frozen=True, eq=False)
class Predictor:
    """Accuracy as a function of the genome.

    Attributes:
      kind: "mlp" or "gp".
      space: Search space.
      arrays: What was fitted; by name.
      facts: What it was fitted for: checkpoint_key, calibration_key, split, images.
    """

    kind: str
    space: SearchSpace
    arrays: Mapping[str, np.ndarray]
    facts: Mapping[str, str | int]

    @functools.cached_property
    def _encoder(self) -> GenomeEncoder:
        return GenomeEncoder(self.space)

    def predict(self, genomes: np.ndarray) -> np.ndarray:
        """Returns float64[n], accuracies from 0 to 1, of canonical genomes int32[n, n_genes]."""
        rows = self._encoder.encode(genomes)
        values = _mlp(rows, self.arrays) if self.kind == "mlp" else _gp(rows, self.arrays)
        mean, scale = self.arrays["target"]
        return np.clip(values.astype(np.float64) * scale + mean, 0.0, 1.0)

    def save(self, path: str | os.PathLike) -> None:
        """Writes an .npz without pickled objects.

        Raises:
          FileWriteError: The file cannot be written; the old one is untouched.
        """
        head = {
            "schema_version": SCHEMA_VERSION,
            "kind": self.kind,
            "space": json.loads(self.space.to_json()),
            "facts": dict(self.facts),
        }
        with replacing(path) as temporary, open(temporary, "wb") as file:
            arrays: dict[str, Any] = dict(self.arrays)
            np.savez(file, head=np.array(json.dumps(head)), **arrays)

    @classmethod
    def load(cls, path: str | os.PathLike, space: SearchSpace) -> "Predictor":
        """Reads what `save` wrote.

        Raises:
          PredictorError: No such file, damaged, or of another space.
        """
        path = pathlib.Path(path)
        try:
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            head = json.loads(str(arrays.pop("head")[()]))
            if head["schema_version"] != SCHEMA_VERSION or head["kind"] not in KINDS:
                raise PredictorError(
                    f"{path} is a predictor of schema version {head['schema_version']!r} and kind "
                    f"{head['kind']!r}, which this release does not read. Search again."
                )
            own = SearchSpace.from_json(json.dumps(head["space"]))
            facts = head["facts"]
        except FileNotFoundError:
            raise PredictorError(
                f"There is no predictor {path}. Search with --strategy=predictor first."
            ) from None
        except PredictorError:
            raise
        except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise PredictorError(
                f"{path} is damaged or no predictor: {error}. It was left as it is; search again "
                "with --strategy=predictor to write a new one."
            ) from error
        if own != space:
            raise PredictorError(
                f"{path} predicts for space {own.name!r} ({own.fingerprint}), not for "
                f"{space.name!r} ({space.fingerprint})."
            )
        return cls(head["kind"], own, arrays, facts)


def fit_predictor(
    kind: str,
    space: SearchSpace,
    genomes: np.ndarray,
    accuracy: np.ndarray,
    *,
    seed: int,
    facts: Mapping[str, str | int],
    hidden: Sequence[int] | None = None,
) -> Predictor:
    """Fits a predictor; the same measurements and seed give the same one.

    Args:
      kind: "mlp", a multilayer perceptron, or "gp", a Gaussian process with a noise term.
      space: Search space.
      genomes: Canonical, int32[n, n_genes], at least two.
      accuracy: float64[n].
      seed: Of the weights and batches.
      facts: See `Predictor`.
      hidden: Hidden layers of the MLP; by default those of the paper, or smaller ones for fewer
        than a thousand measurements.

    Raises:
      PredictorError: Another kind, or too few measurements.
      ImportError: scikit-learn is not installed.
    """
    if kind not in KINDS:
        raise PredictorError(f"A predictor is one of {list(KINDS)}. Received: {kind!r}")
    if len(genomes) < 2:
        raise PredictorError(
            f"A predictor needs two measurements or more. Received: {len(genomes)}"
        )
    try:
        import threadpoolctl
    except ModuleNotFoundError as error:
        raise MissingExtraError("A predictor", "scikit-learn", "predictor") from error
    rows = GenomeEncoder(space).encode(genomes)
    accuracy = np.asarray(accuracy, np.float64)
    mean, scale = accuracy.mean(), max(accuracy.std(), 1e-6)
    target = (accuracy - mean) / scale
    # Sums in another order give other last digits: one thread whatever the machine does besides.
    with threadpoolctl.threadpool_limits(1):
        if kind == "mlp":
            layers = hidden or (SMALL_HIDDEN if len(rows) < SMALL else HIDDEN)
            arrays = _fit_mlp(rows, target, layers, seed)
        else:
            arrays = _fit_gp(rows, target, seed)
    arrays["target"] = np.array([mean, scale])
    return Predictor(kind, space, arrays, dict(facts))


def _fit_mlp(rows, target, hidden, seed) -> dict[str, np.ndarray]:
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPRegressor

    few = len(rows) < SMALL
    model = MLPRegressor(
        hidden_layer_sizes=tuple(hidden),
        alpha=3.0 if few else 1.0,  # scikit-learn divides it by the number of measurements
        learning_rate_init=1e-3 if few else 3e-3,
        batch_size=min(2048, len(rows), max(16, len(rows) // 4)),
        max_iter=200 if few else 100,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a fixed number of epochs, as there
        model.fit(rows, target.astype(np.float32))
    arrays = {}
    for i, (weight, bias) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
        arrays[f"weight{i}"] = weight.astype(np.float32)
        arrays[f"bias{i}"] = bias.astype(np.float32)
    return arrays


def _mlp(rows: np.ndarray, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    layers = sum(name.startswith("weight") for name in arrays)
    x = rows
    for i in range(layers):
        x = x @ arrays[f"weight{i}"]
        x += arrays[f"bias{i}"]
        if i < layers - 1:
            np.maximum(x, 0.0, out=x)
    return x[:, 0]


def _fit_gp(rows, target, seed) -> dict[str, np.ndarray]:
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, WhiteKernel

    rows = rows.astype(np.float64)
    width = np.sqrt(rows.shape[1])
    kernel = 1.0 * RBF(width, (0.1 * width, 30 * width)) + WhiteKernel(0.3, (1e-3, 3.0))
    model = GaussianProcessRegressor(kernel, random_state=seed, n_restarts_optimizer=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a bound is as good as an optimum
        model.fit(rows, target)
    return {
        "rows": rows.astype(np.float32),
        "coefficients": model.alpha_.astype(np.float64),
        "amplitude": np.array(model.kernel_.k1.k1.constant_value),
        "length": np.array(model.kernel_.k1.k2.length_scale),
    }


def _gp(rows: np.ndarray, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    known = arrays["rows"]
    squares = (rows**2).sum(axis=1)[:, None] + (known**2).sum(axis=1) - 2 * rows @ known.T
    kernel = arrays["amplitude"] * np.exp(-0.5 * squares / arrays["length"] ** 2)
    return kernel @ arrays["coefficients"]
