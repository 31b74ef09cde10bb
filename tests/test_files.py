"""Files are complete or absent, and the remains of killed writers are removed."""

import os

import pytest
from safetensors import SafetensorError

from reidnb import files


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        RuntimeError("[enforce fail at inline_container.cc:671] . unexpected pos 576 vs 534"),  # torch
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_gives_the_same_sentence_from_every_library(tmp_path, error):
    target = tmp_path / "model.bin"
    files.write_atomically(target, lambda file: file.write_text("before"))

    def write(file):
        file.write_text("ha")
        raise error

    with pytest.raises(OSError, match=rf"^cannot write {target}: the disk is full$"):
        files.write_atomically(target, write)
    assert target.read_text() == "before" and os.listdir(tmp_path) == [target.name]


def test_other_errors_are_passed_on(tmp_path):
    def write(file):
        file.write_text("ha")
        raise RuntimeError("Kernel died")

    with pytest.raises(RuntimeError, match=r"^Kernel died$"):
        files.write_atomically(tmp_path / "out.ipynb", write)
    assert not os.listdir(tmp_path)


def test_remains_of_killed_writers_are_removed_when_stale(tmp_path):
    young, old, mine = (tmp_path / name for name in (".0123abcd.a.json", ".89abcdef.b.json", ".settings.json"))
    for folder in (young, old):
        folder.mkdir()
        (folder / "half").write_text("ha")
    mine.write_text("of somebody else")
    os.utime(old, (0, 0))
    files.write_atomically(tmp_path / "c.json", lambda file: file.write_text("{}"))
    assert young.exists() and not old.exists() and mine.exists()
    files.clear(tmp_path, "b.json")
    assert young.exists()
    files.clear(tmp_path)
    assert not young.exists() and mine.exists()


def test_others_may_read_files_that_a_library_made_private(tmp_path):
    def write(file):
        file.touch(mode=0o600)

    files.write_atomically(tmp_path / "model", write)
    (tmp_path / "plain").touch()
    assert (tmp_path / "model").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_folder_that_is_not_writable_is_named(tmp_path):
    (tmp_path / "results").touch()
    with pytest.raises(OSError, match=r"^cannot write in .*results: it is a file$"):
        files.check_writable(tmp_path / "results")
    with (
        pytest.raises(OSError, match=r"^cannot write in .*runs: Not a directory$"),
        files.locked(tmp_path / "results" / "runs"),
    ):
        pass
