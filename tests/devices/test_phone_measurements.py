"""Profiles and outputs from the fake phone, where models really run."""

import numpy as np
import pytest

from tflite_tools.benchmarking.measurement import open_device
from tflite_tools.benchmarking.options import BenchmarkOptions, DeviceFiles
from tflite_tools.benchmarking.profiling import profile
from tflite_tools.devices.errors import DeviceNotFoundError
from tflite_tools.verification.devices import compare_device, random_images

pytestmark = pytest.mark.xdist_group("phone")
OPTIONS = BenchmarkOptions(num_runs=5, min_seconds=0)


@pytest.fixture(params=["classic", "litert"])
def opened(request, phone, phone_programs):
    files = DeviceFiles(
        benchmark_model=phone_programs[request.param], run_model=phone_programs["run_model"]
    )
    with open_device(f"adb:{phone.serial}", files) as device:
        yield device


def test_profile(opened, flatbuffer):
    found = profile(flatbuffer, opened, OPTIONS)
    assert found.source == "profiler"
    assert found.whole_ms > 0
    assert [(item.layer, item.operators) for item in found.operators] == [
        ("stem", "QUANTIZE"),
        ("stem", "CONV_2D"),
        ("mix", "FULLY_CONNECTED"),
        ("mix", "ADD"),
        ("mix", "DEQUANTIZE"),
    ]
    assert "Convolution" in found.operators[1].kernel
    assert "QC4W" in found.operators[2].kernel
    assert all(item.delegated and item.kernel for item in found.operators)


def test_equal_bits(opened, flatbuffer):
    images = random_images(flatbuffer, 2)
    found = compare_device(flatbuffer, opened, images, labels=np.array([1, 2]))
    assert (found.images, found.mismatches, found.elements) == (2, 0, 2 * 8 * 8 * 8)
    assert found.largest_difference == 0
    assert found.top1_agreement == 1
    assert found.accuracy == found.reference_accuracy
    assert found.keeps_promise
    assert "0 of 1024 outputs differ on 2 images" in str(found)


def test_other_kernels_give_other_bits(phone, phone_programs, flatbuffer):
    """The stand-in runs the built-in kernels when it is told so; the reference follows."""
    images = random_images(flatbuffer, 1)
    files = DeviceFiles(benchmark_model=phone_programs["classic"])
    with open_device(f"adb:{phone.serial}", files) as device:
        same = compare_device(flatbuffer, device, images, delegate="cpu-builtin")
        assert same.mismatches == 0
        phone.variables["WRONG"] = "1"
        wrong = compare_device(flatbuffer, device, images)
        assert wrong.mismatches > 0
        assert not wrong.keeps_promise
        assert "Equal bits are promised" in str(wrong)
        accelerator = compare_device(flatbuffer, device, images, delegate="gpu")
    assert accelerator.keeps_promise
    assert accelerator.mismatches == wrong.mismatches
    assert accelerator.largest_difference > 0


def test_v2_needs_run_model(phone, phone_programs, flatbuffer):
    files = DeviceFiles(benchmark_model=phone_programs["litert"])
    with (
        open_device(f"adb:{phone.serial}", files) as device,
        pytest.raises(DeviceNotFoundError, match="--run_model=PATH"),
    ):
        compare_device(flatbuffer, device, random_images(flatbuffer, 1))
