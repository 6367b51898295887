"""Files that are replaced whole or not at all."""

import errno
import os
import pathlib
import stat

import pytest

from quantize_configs import files


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_writes_into_new_folders_and_replaces(tmp_path):
    path = tmp_path / "a" / "b.json"
    files.write_text(path, "größer")
    files.write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert names(path.parent) == ["b.json"]


def test_permissions_follow_the_umask(tmp_path):
    previous = os.umask(0o027)
    try:
        files.write_text(tmp_path / "file", "x")
        assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(previous)


@pytest.mark.parametrize("error", [RuntimeError("stopped"), KeyboardInterrupt()])
def test_exception_keeps_the_old_file(tmp_path, error):
    path = tmp_path / "file"
    path.write_text("old")

    def write_half():
        with files.replacing(path) as temporary:
            temporary.write_text("half of the n")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize("place", ["write", "fsync", "replace"])
def test_full_disk(tmp_path, monkeypatch, place, exists):
    path = tmp_path / "file.bin"
    if exists:
        path.write_text("old")

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if place == "write":
        monkeypatch.setattr(pathlib.Path, "write_bytes", full)
    else:
        monkeypatch.setattr(os, place, full)
    with pytest.raises(files.FileWriteError, match="No space left on device") as caught:
        files.write_bytes(path, b"new")
    assert str(path) in str(caught.value)
    assert names(tmp_path) == (["file.bin"] if exists else [])
    assert not exists or path.read_text() == "old"


def test_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("old")
    with pytest.raises(files.FileWriteError, match="Could not write"):
        files.write_text(tmp_path / "file" / "below", "x")
    assert (tmp_path / "file").read_text() == "old"
