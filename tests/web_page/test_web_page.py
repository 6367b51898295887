"""A page that classifies images in a browser: what it refuses, whether its answers are right."""

import functools
import http.server
import json
import threading

import numpy as np
import pytest
from headless_browser import browser_page

import tflite_tools
from quantize_configs.errors import InvalidInputError
from tflite_tools.runtimes.browser import find_chromium, installed_packages
from tflite_tools.runtimes.runtime import PLACE_VARIABLE, MissingRuntimeError, installed_place

PLACE = installed_place()  # the tests' cache is another one
SIZE, CLASSES = 12, 4
LABELS = ("<b>sun", "moon", "stars", 'a "cloud"')


@pytest.fixture(scope="module")
def model():
    """A convolutional classifier of grey images, prepared for deployment."""
    from quantize_configs import BitPolicy, calibrate, prepare_for_deployment, quantize
    from quantize_configs.keras_backend import keras

    keras.utils.set_random_seed(0)
    built = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 1)),
            keras.layers.Conv2D(8, 3, strides=2, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(CLASSES),
        ]
    )
    quantized = quantize(built, BitPolicy((4, 8)))
    calibrate(quantized, np.random.default_rng(0).random((64, SIZE, SIZE, 1), np.float32))
    prepare_for_deployment(quantized)
    return quantized


@pytest.fixture(scope="module")
def flatbuffer(model):
    return tflite_tools.convert(
        model, input_type="uint8", pixel_range=(0.0, 1.0), labels=list(LABELS)
    )


@pytest.fixture
def some_packages(tmp_path, monkeypatch):
    """Stand-ins for the files of LiteRT.js, where only the folder counts."""
    from tflite_tools.web_page.writing import _PACKAGE_FILES

    monkeypatch.setenv(PLACE_VARIABLE, str(tmp_path / "runtimes"))
    for name in _PACKAGE_FILES:
        path = installed_place() / "browser" / "node_modules" / "@litertjs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("//")


def images(count):
    return np.random.default_rng(1).integers(0, 256, (count, SIZE, SIZE, 1)).astype(np.uint8)


def test_folder_is_complete_and_described(flatbuffer, some_packages, tmp_path):
    page = tflite_tools.write_page(
        flatbuffer, tmp_path / "page", title="</script>", samples=images(3), sample_labels=[0, 1, 9]
    )
    text = page.read_text("utf-8")
    start = text.index('<script id="description"')
    told = text[text.index(">", start) + 1 : text.index("</script>", start)]
    description = json.loads(told)
    assert description["title"] == "</script>"
    assert description["labels"] == list(LABELS)
    assert description["input"]["shape"] == [1, SIZE, SIZE, 1]
    assert [layer["weight_bits"] for layer in description["layers"]] == [4, 4]
    assert [sample["label"] for sample in description["samples"]] == ["<b>sun", "moon", "class 9"]
    assert (page.parent / "model.tflite").read_bytes() == flatbuffer
    assert "http" not in text.replace("http.server", "")
    assert tflite_tools.write_page(flatbuffer, page.parent) == page, "replaces its own"


def test_what_is_refused(model, flatbuffer, some_packages, tmp_path):
    write = functools.partial(tflite_tools.write_page, folder=tmp_path / "page")
    with pytest.raises(InvalidInputError, match="pixel_range"):
        write(tflite_tools.convert(model))
    with pytest.raises(InvalidInputError, match="input_type='uint8'"):
        write(tflite_tools.convert(model, input_type="int8"))
    with pytest.raises(InvalidInputError, match="samples are at most"):
        write(flatbuffer, samples=images(3)[:, 1:])
    with pytest.raises(InvalidInputError, match="one class for each"):
        write(flatbuffer, samples=images(3), sample_labels=[1])
    with pytest.raises(tflite_tools.FlatbufferError):
        write(b"no model at all")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(InvalidInputError, match="thesis"):
        tflite_tools.write_page(flatbuffer, tmp_path / "other")
    assert not (tmp_path / "page").exists()


def test_missing_packages_name_the_command(flatbuffer, tmp_path, monkeypatch):
    monkeypatch.setenv(PLACE_VARIABLE, str(tmp_path))
    with pytest.raises(MissingRuntimeError, match=r"install_runtimes\.sh browser"):
        tflite_tools.write_page(flatbuffer, tmp_path / "page")


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Files without a log."""

    def log_message(self, *arguments):
        pass


def _missing() -> bool:
    try:
        installed_packages("browser")
    except MissingRuntimeError:
        return True
    return find_chromium() is None


@pytest.mark.skipif(_missing(), reason="needs sh scripts/install_runtimes.sh browser")
@pytest.mark.parametrize("input_type", ["uint8", "float32"])
def test_answers_are_those_of_litert(model, input_type, tmp_path, monkeypatch):
    """By click and by keyboard; what a browser shows is what LiteRT answers here."""
    monkeypatch.setenv(PLACE_VARIABLE, str(PLACE))
    flatbuffer = tflite_tools.convert(
        model, input_type=input_type, pixel_range=(0.0, 1.0), labels=list(LABELS)
    )
    samples = images(6)
    page = tflite_tools.write_page(
        flatbuffer, tmp_path / "page", pixel_range=(0.0, 1.0), samples=samples
    )
    fed = samples if input_type == "uint8" else samples.astype(np.float32) / np.float32(255)
    expected = [
        int(np.argmax(next(iter(tflite_tools.run(flatbuffer, [image[None]]).outputs.values()))))
        for image in fed
    ]
    handler = functools.partial(QuietHandler, directory=page.parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with browser_page(tmp_path / "profile") as shown:
            shown.open(f"http://127.0.0.1:{server.server_port}/")
            shown.wait_for("document.body?.dataset.ready === 'yes'")
            found = []
            for number in range(len(samples)):
                shown.evaluate("delete document.body.dataset.answer")
                selector = f"#samples button:nth-child({number + 1})"
                if number % 2:
                    shown.evaluate(f"document.querySelector('{selector}').focus()")
                    shown.press("Enter", 13)
                else:
                    shown.click(selector)
                found.append(int(shown.wait_for("document.body.dataset.answer")))
            assert shown.evaluate("document.querySelectorAll('#layers tbody tr').length") == 2
            names = shown.evaluate("document.querySelector('#answer .bar span').textContent")
        server.shutdown()
    assert found == expected
    assert names == LABELS[expected[-1]]


def test_samples_of_an_export_are_spread_over_classes(small_digits):
    from qfa_tf.runs.exporting.page import first_of_each_class

    chosen = first_of_each_class(small_digits.test, 12)
    assert sorted(chosen.labels[:10]) == list(range(10))
    assert len(set(chosen.indices)) == 12


def test_export_knows_before_work_whether_there_can_be_a_page(tmp_path, monkeypatch):
    from qfa_tf.runs import ExportOptions
    from qfa_tf.runs.errors import RunError
    from qfa_tf.runs.exporting.page import require_page

    with pytest.raises(RunError, match="--input_type=uint8"):
        require_page(ExportOptions(input_type="int8"))
    monkeypatch.setenv(PLACE_VARIABLE, str(tmp_path))
    with pytest.raises(MissingRuntimeError):
        require_page(ExportOptions())
