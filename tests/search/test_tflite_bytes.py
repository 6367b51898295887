"""The predicted size of exported files against real ones."""

import numpy as np
import pytest
from exported_file import exported

from qfa_tf.cost import CostModel

pytestmark = pytest.mark.xdist_group("trained_net")


@pytest.mark.parametrize("seed", range(5))
def test_within_one_percent_of_an_export(seed, trained_net, small_space, calibration_batches):
    arch = small_space.sample(np.random.default_rng(40 + seed))
    calibration = trained_net.calibrate(calibration_batches[:2], arch)
    subnet = trained_net.extract(arch, calibration)
    written = len(exported(subnet, arch))
    genome = small_space.encode(arch)[None]
    predicted = CostModel(small_space).evaluate(genome, ["tflite_bytes"])["tflite_bytes"][0]
    assert predicted == pytest.approx(written, rel=0.01)
