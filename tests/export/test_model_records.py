"""What the record of an exported model says about sites that a space keeps in float."""

import dataclasses
import json

import pytest

from qfa_tf.runs.exporting.records import (
    ExportOptions,
    ModelRecord,
    model_identity,
    read_record,
    record_path,
)
from qfa_tf.runs.workdir import Workdir
from qfa_tf.space import SearchSpace


@pytest.fixture
def record():
    space = SearchSpace.from_preset("mobilenet_v3_w1.0")
    return ModelRecord(
        name="model",
        identity="0123abcd",
        source="chosen",
        architecture=space.smallest(),
        resolution=128,
        cost={},
        checkpoint_key="weights",
        calibration_key="images",
        conversion={},
        accuracy={},
        verification={},
        file_bytes=0,
        file_sha256="",
        versions={},
        float_sites="float16",
    )


def test_float_sites_are_kept_and_older_records_are_read(record, tmp_path):
    workdir = Workdir(tmp_path)
    workdir.models.mkdir(parents=True)
    record.write(workdir)
    assert read_record(workdir, "model") == record
    path = record_path(workdir, "model")
    fields = json.loads(path.read_text())
    del fields["float_sites"]
    path.write_text(json.dumps(fields))
    assert read_record(workdir, "model") == dataclasses.replace(record, float_sites="int8")


def test_identity_tells_float_sites_apart(record):
    identities = {
        name: model_identity(
            record.architecture, "weights", "images", ExportOptions(float_sites=name)
        )
        for name in ("int8", "float32", "float16")
    }
    assert len(set(identities.values())) == 3
    # The digest of models that were exported before sites could stay in float.
    assert identities["int8"].startswith("704227b4e0f64a6f")
