"""Which Keras models are taken, whatever was imported first: one process for each order."""

import os
import subprocess
import sys

import pytest

MODEL = "{keras}.Sequential([{keras}.Input((4, 4, 1)), {keras}.layers.Conv2D(2, 3)])"
TAKEN = """
import numpy as np
images = np.random.default_rng(0).normal(size=(2, 4, 4, 1)).astype(np.float32)
expected = np.asarray(model(images))
from quantize_configs import as_tf_keras
np.testing.assert_allclose(np.asarray(as_tf_keras(model)(images)), expected, atol=1e-5)
quantize(model, BitPolicy())
"""
ORDERS = {
    # TFMOT's own import would come too late here: tf.keras is Keras 3 already.
    "keras 3 first": f"""
import tensorflow as tf
model = {MODEL.format(keras="tf.keras")}
from quantize_configs import BitPolicy, quantize
{TAKEN}
import tf_keras
quantize({MODEL.format(keras="tf_keras")}, BitPolicy())
""",
    "quantize_configs first": f"""
from quantize_configs import BitPolicy, quantize
quantize
import tensorflow as tf
quantize({MODEL.format(keras="tf.keras")}, BitPolicy())
import keras
model = {MODEL.format(keras="keras")}
{TAKEN}
""",
    "no tensorflow": """
import sys
import quantize_configs, quantize_configs.files, quantize_configs.weight_containers
assert not {"tensorflow", "tf_keras", "keras"} & set(sys.modules)
""",
}


@pytest.mark.parametrize("order", ORDERS)
def test_import_order(order):
    environment = {key: value for key, value in os.environ.items() if key != "TF_USE_LEGACY_KERAS"}
    done = subprocess.run(
        [sys.executable, "-c", ORDERS[order]],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
