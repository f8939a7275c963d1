"""A file appears whole or not at all."""

import contextlib
import errno
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from napari_sparse3d.errors import InputError
from napari_sparse3d.files import (
    Locked,
    is_locked,
    locked,
    process_lives,
    process_mark,
    remove_left,
    replacing,
    try_output,
)

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc, or at Linux's locks")


def test_appears_at_the_end(tmp_path):
    path = tmp_path / "new" / "folder" / "a.nii.gz"
    with replacing(path) as temporary:
        temporary.write_text("content")
        assert temporary.parent == path.parent
        assert temporary.name.endswith("a.nii.gz")  # writers choose a format by the ending
        assert not path.exists()
    assert path.read_text() == "content"
    assert list(path.parent.iterdir()) == [path]


def test_takes_the_place_of_the_old_one(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_block_that_fails_leaves_nothing(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail():
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_permissions_are_the_ordinary_ones(tmp_path):
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    with replacing(tmp_path / "ours") as temporary:
        temporary.touch()
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)


def test_a_folder_is_not_replaced(tmp_path):
    with pytest.raises(InputError, match="is a folder; name the file to write"), replacing(tmp_path):
        pytest.fail("the block must not run")


# -- power loss: the content is on the disk before its name, and the name before the block ends --


@pytest.fixture
def disk_calls(monkeypatch):
    """What is flushed and renamed, in order: by real descriptors, not by our own functions."""
    calls = []
    fsync, rename = os.fsync, Path.replace

    def flushed(descriptor):
        calls.append(("flush", Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    def renamed(self, target):
        calls.append(("rename", Path(target)))
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(Path, "replace", renamed)
    return calls


@on_linux
def test_content_is_flushed_before_the_name_and_every_new_folder_after_it(tmp_path, disk_calls):
    path = tmp_path / "new" / "deeper" / "a.txt"
    with replacing(path) as temporary:
        temporary.write_text("content")
    assert disk_calls == [
        ("flush", temporary),
        ("rename", path),
        ("flush", path.parent),
        ("flush", path.parent.parent),
        ("flush", tmp_path),
    ]


@on_linux
def test_what_can_be_made_anew_is_not_flushed(tmp_path, disk_calls):
    with replacing(tmp_path / "a.txt", durable=False) as temporary:
        temporary.write_text("content")
    assert disk_calls == [("rename", tmp_path / "a.txt")]


@on_linux
def test_the_system_sees_the_same_order(tmp_path):
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    log = tmp_path / "calls"
    code = (
        f"from napari_sparse3d.files import replacing\nwith replacing({str(tmp_path / 'a')!r}) as t: t.write_text('x')"
    )
    call = ["strace", "-f", "-o", str(log), "-e", "trace=fsync,rename,renameat,renameat2", sys.executable, "-c", code]
    if subprocess.run(call, capture_output=True, check=False).returncode:
        pytest.skip("strace may not trace here")
    calls = re.findall(r"(fsync|rename)\w*\(", log.read_text())
    assert calls == ["fsync", "rename", "fsync"]


def test_a_flush_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fails(_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="Input/output"), replacing(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


# -- what stays as it was --


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o755])
def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path, mode):
    path = tmp_path / "a.txt"
    path.write_text("old")
    path.chmod(mode)
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert path.read_text() == "new"


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "there").mkdir()
    real, link = tmp_path / "there" / "a.txt", tmp_path / "link.txt"
    real.write_text("old")
    link.symlink_to(real)
    with replacing(link) as temporary:
        temporary.write_text("new")
        assert temporary.parent == real.parent
    assert link.is_symlink()
    assert real.read_text() == "new"


def test_a_device_is_not_replaced():
    with pytest.raises(InputError, match="no ordinary file"), replacing(os.devnull):
        pytest.fail("the block must not run")
    assert not Path(os.devnull).is_file()


@pytest.mark.parametrize("name", ["a" * 248 + ".nii.gz", "é" * 120 + ".nii.gz"])
def test_the_longest_names_can_be_written(tmp_path, name):
    with replacing(tmp_path / name) as temporary:
        temporary.write_text("x")
        assert temporary.name.endswith(".nii.gz")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_generation_before_is_kept_and_there_is_always_one(tmp_path):
    path, before = tmp_path / "a.txt", tmp_path / "a.previous.txt"
    for text in ("one", "two", "three"):
        with replacing(path, previous=before) as temporary:
            temporary.write_text(text)
    assert (path.read_text(), before.read_text()) == ("three", "two")
    assert len(list(tmp_path.iterdir())) == 2


# -- what killed processes left --

KILLED = """
import os, signal, sys
from napari_sparse3d.files import replacing, scratch_folder
with scratch_folder() as folder, replacing(sys.argv[1]) as temporary:
    (folder / "unpacked").write_text("x" * 1000)
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def started(code, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], env={**os.environ, **environment}, check=False
    )


@on_linux
def test_a_killed_process_leaves_the_old_file_and_the_next_one_cleans_up(tmp_path):
    path, scratch = tmp_path / "out" / "a.txt", tmp_path / "scratch"
    scratch.mkdir()
    path.parent.mkdir()
    path.write_text("old")
    assert started(KILLED, path, TMPDIR=str(scratch)).returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    assert len(list(path.parent.iterdir())) == 2
    assert len(list(scratch.iterdir())) == 1
    finished = KILLED.replace("os.kill(os.getpid(), signal.SIGKILL)", "")
    assert started(finished, path, TMPDIR=str(scratch)).returncode == 0
    assert list(path.parent.iterdir()) == [path]
    assert path.read_text() == "half"
    assert not list(scratch.iterdir())


@on_linux
def test_what_a_live_process_writes_stays(tmp_path):
    code = (
        "import sys, time\nfrom napari_sparse3d.files import replacing\nwith replacing(sys.argv[1]) as t:\n"
        "    t.write_text('half')\n    print('ready', flush=True)\n    sys.stdin.read()\n"
    )
    call = [sys.executable, "-c", code, str(tmp_path / "a.txt")]
    with subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"ready\n"
        remove_left(tmp_path)
        assert len(list(tmp_path.iterdir())) == 1
        other.stdin.close()
        assert other.wait(60) == 0
    assert (tmp_path / "a.txt").read_text() == "half"


def test_whose_process_is_gone(tmp_path):
    machine, boot, number, began = process_mark().split("-")
    marks = {
        "mine": (process_mark(), True),
        "a number used again": (f"{machine}-{boot}-{number}-{int(began) - 1}", False),
        "before the boot": (f"{machine}-000000-{number}-{began}", False),
        "another machine": (f"000000-{boot}-{number}-{began}", True),
    }
    for name, (mark, lives) in marks.items():
        assert process_lives(mark) == lives, name
        (tmp_path / f".s3d-{mark}-12345678-{name}").touch()
    (tmp_path / "s3d-notes.txt").touch()  # somebody else's
    remove_left(tmp_path)
    left = {path.name.rpartition("-")[2] for path in tmp_path.iterdir()}
    assert left == {"mine", "another machine", "notes.txt"}
    for path in tmp_path.iterdir():
        os.utime(path, (0, 0))
    remove_left(tmp_path)
    assert {path.name.rpartition("-")[2] for path in tmp_path.iterdir()} == {"mine", "notes.txt"}


# -- real disks --


def test_a_full_disk_leaves_the_old_file(small_disk):
    path = small_disk("size=64k") / "a.txt"
    path.write_text("old")
    with pytest.raises(OSError, match="No space left"), replacing(path) as temporary:
        temporary.write_bytes(bytes(100_000))
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_an_output_is_tried_before_the_work(small_disk, tmp_path):
    place = small_disk("size=64k")
    try_output(place / "new" / "a.txt")
    assert not list(place.iterdir())
    with contextlib.suppress(OSError), (place / "all").open("wb") as file:
        file.write(bytes(1_000_000))
    with pytest.raises(OSError, match="No space left"):
        try_output(place / "new" / "a.txt")
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    with pytest.raises(OSError, match="Read-only"):
        try_output(place / "a.txt")
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Not a directory"):
        try_output(tmp_path / "file" / "a.txt")


@on_linux
def test_a_limit_on_file_sizes_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    code = (
        "import resource, sys\nresource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "from napari_sparse3d.files import replacing\nwith replacing(sys.argv[1]) as t: t.write_bytes(bytes(5000))\n"
    )
    assert started(code, path).returncode == 1
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


# -- locks --


@on_linux
def test_a_lock_is_held_by_one_and_given_up_by_a_killed_one(tmp_path):
    path = tmp_path / "lock"
    code = (
        "import sys\nfrom pathlib import Path\nfrom napari_sparse3d.files import locked\n"
        "with locked(Path(sys.argv[1]), 'it is used'):\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    call = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        assert is_locked(path)
        with pytest.raises(Locked, match="it is used by another process"), locked(path, "it is used"):
            pytest.fail("it is not ours")
        other.kill()
    assert not is_locked(path)
    with locked(path, "it is used"):
        assert is_locked(path)
    assert not path.exists()
