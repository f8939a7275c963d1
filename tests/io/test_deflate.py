"""Compressed voxels: the numbers of the bytes behind them, their damage, and what they cost in memory."""

from __future__ import annotations

import gzip
import json
import struct
import subprocess
import sys
import zlib
from io import BytesIO
from pathlib import Path

import nibabel
import numpy as np
import pytest

from napari_sparse3d.errors import ReadError
from napari_sparse3d.io import deflate, read_sequence, read_volume, write_volume
from napari_sparse3d.io.deflate import Inflated, gzip_writer
from napari_sparse3d.volume import Volume
from raw_nifti import canonical_by_trying, read_nifti1

RAW = np.random.default_rng(0).integers(0, 40, 300_000).astype(np.uint8).tobytes()
LPS = np.diag([-0.7, -0.8, 2.0, 1.0])
AFFINES = {
    "RAS": np.diag([0.7, 0.8, 2.0, 1.0]),
    "LPS": LPS,
    "PSR": np.array([[0, 0, 2.0, 1], [-0.7, 0, 0, 3], [0, 0.8, 0, 5], [0, 0, 0, 1]]),
    "SLA": np.array([[0, -0.8, 0, 1], [0, 0, 2.0, 3], [0.7, 0, 0, 5], [0, 0, 0, 1]]),
}


@pytest.fixture(params=["isal", "zlib"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test with both: where isal has no wheel, zlib does the same."""
    if request.param == "isal":
        pytest.importorskip("isal")
        assert deflate._unpacking.__name__ == "isal.isal_zlib"
    else:
        monkeypatch.setattr(deflate, "_unpacking", zlib)
        monkeypatch.setattr(deflate, "_packing", gzip.GzipFile)
        monkeypatch.setattr(deflate, "LEVEL", 1)


def unpacked(packed: bytes, n_bytes: int) -> bytes:
    stream = Inflated(BytesIO(packed))
    return b"".join(iter(lambda: stream.read(n_bytes), b""))


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("n_bytes", [1, 1000, 1 << 18])
def test_members_and_padding_are_one_stream(n_bytes: int) -> None:
    raw = RAW[: 20 * n_bytes]
    a, b = raw[: len(raw) // 3], raw[len(raw) // 3 :]
    assert unpacked(gzip.compress(raw), n_bytes) == raw
    assert unpacked(zlib.compress(raw), n_bytes) == raw
    assert unpacked(gzip.compress(a) + gzip.compress(b""), n_bytes) == a
    assert unpacked(gzip.compress(a) + bytes(200_000) + gzip.compress(b) + bytes(9), n_bytes) == raw
    assert unpacked(gzip.compress(a) + b"\x1f", n_bytes) == a


@pytest.mark.usefixtures("library")
def test_a_stream_cut_or_changed_anywhere_is_an_error() -> None:
    packed = gzip.compress(RAW[:3000])
    for n_bytes in range(len(packed)):
        with pytest.raises((EOFError, zlib.error)):
            unpacked(packed[:n_bytes], 512)
    # the header's time, flag and system are covered by no checksum
    for at in (0, 1, 2, *range(10, len(packed), 7), *range(len(packed) - 8, len(packed))):
        with pytest.raises((EOFError, zlib.error)):
            unpacked(packed[:at] + bytes([packed[at] ^ 4]) + packed[at + 1 :], 512)


@pytest.mark.usefixtures("library")
def test_what_is_packed_has_neither_time_nor_name(tmp_path: Path) -> None:
    packed = []
    for name in "ab":
        with (tmp_path / name).open("wb") as file:
            with gzip_writer(file) as writer:
                writer.write(RAW)
            assert not file.closed
        packed.append((tmp_path / name).read_bytes())
    assert gzip.decompress(packed[0]) == RAW
    assert packed[0] == packed[1]
    assert packed[0][3] == 0, "no name"
    assert packed[0][4:8] == bytes(4), "no time"


def stored(dtype: str, shape: tuple[int, ...], seed: int = 1) -> np.ndarray:
    rng, kind = np.random.default_rng(seed), np.dtype(dtype)
    if kind.kind == "f":
        return rng.normal(0, 100, shape).astype(kind)
    limits = np.iinfo(kind)
    return rng.integers(max(limits.min, -3000), min(limits.max, 3000), shape).astype(kind)


def write_raw(path: Path, data: np.ndarray, affine: np.ndarray, slope: float, intercept: float) -> Path:
    """A NIfTI-1 file in the byte order of ``data``, its header written field by field."""
    codes = {"u1": 2, "i2": 4, "i4": 8, "f4": 16, "f8": 64, "i1": 256, "u2": 512, "u4": 768, "i8": 1024, "u8": 1280}
    end = ">" if data.dtype.byteorder == ">" else "<"
    header = bytearray(352)
    struct.pack_into(end + "i", header, 0, 348)
    struct.pack_into(end + "8h", header, 40, data.ndim, *data.shape, *[1] * (7 - data.ndim))
    struct.pack_into(end + "2h", header, 70, codes[data.dtype.str[1:]], 8 * data.dtype.itemsize)
    struct.pack_into(end + "8f", header, 76, 1, *np.linalg.norm(affine[:3, :3], axis=0), 1, 1, 1, 1)
    struct.pack_into(end + "3f", header, 108, 352, slope, intercept)
    header[123] = 2
    struct.pack_into(end + "2h", header, 252, 0, 1)
    struct.pack_into(end + "12f", header, 280, *affine[:3].ravel())
    header[344:348] = b"n+1\0"
    raw = bytes(header) + data.tobytes(order="F")
    path.write_bytes(gzip.compress(raw, 1) if path.suffix == ".gz" else raw)
    return path


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("axes", AFFINES)
def test_blocks_are_turned_and_scaled_as_a_whole_would_be(ending: str, axes: str, tmp_path: Path) -> None:
    shape = {"RAS": (70, 900, 5), "PSR": (120, 40, 130)}.get(axes, (37, 41, 45))  # lines, planes, planes across
    scalings = [(1, 0), (0, 7), (2, -1024), (0.37, -3.5)]
    for n, dtype in enumerate(("<i2", ">i2", "u1", ">f4", "<f8", ">i4", "<u2", "i1")):
        slope, intercept = scalings[n % 4]
        data = stored(dtype, shape)
        path = write_raw(tmp_path / f"a{n}{ending}", data, AFFINES[axes], slope, intercept)
        expected, affine = canonical_by_trying(*read_nifti1(path))
        volume = read_volume(path)
        np.testing.assert_allclose(volume.affine, affine, atol=1e-5)
        assert volume.data.dtype.isnative
        assert volume.data.flags.c_contiguous
        np.testing.assert_array_equal(volume.data, expected.astype(volume.data.dtype))
        if data.dtype.kind == "f":
            assert volume.data.dtype.itemsize == data.dtype.itemsize
        else:
            assert (volume.data.dtype.kind == "f") == (slope == 0.37)


def test_volumes_in_any_order(tmp_path: Path) -> None:
    data = stored(">i4", (9, 8, 7, 5))
    path = write_raw(tmp_path / "a.nii.gz", data, LPS, 0.5, 1)
    whole = read_sequence(path).data
    for frame in (3, 0, 4):
        np.testing.assert_array_equal(read_volume(path, frame=frame).data, whole[frame])
        expected, _ = canonical_by_trying(data[..., frame] * 0.5 + 1, LPS)
        np.testing.assert_array_equal(whole[frame], expected)


def damaged(raw: bytes) -> dict[str, tuple[bytes, str]]:
    packed, half = gzip.compress(raw, 6), len(raw) // 2
    two = gzip.compress(raw[:half]), gzip.compress(raw[half:])
    words = "not gzip, or are damaged"

    def flip(packed: bytes, at: int) -> bytes:
        at %= len(packed)
        return packed[:at] + bytes([packed[at] ^ 1]) + packed[at + 1 :]

    return {
        "cut in the voxels": (packed[: len(packed) // 2], "truncated"),
        "cut in the checksum": (packed[:-5], "truncated"),
        "checksum": (flip(packed, -8), words),
        "size": (flip(packed, -1), words),
        "a voxel": (flip(packed, -1000), words),
        "first member's checksum": (flip(two[0], -7) + two[1], words),
        "second member's checksum": (two[0] + flip(two[1], -7), words),
        "something between members": (two[0] + b"other" * 9 + two[1], words),
        "fewer voxels": (gzip.compress(raw[:-400]), "truncated"),
    }


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("ending", [".nii.gz", ".mgz"])
def test_damage_is_refused_wherever_it_is(ending: str, tmp_path: Path) -> None:
    data = stored("i2", (21, 22, 23))
    image = (nibabel.MGHImage if ending == ".mgz" else nibabel.Nifti1Image)(data, LPS)
    path = tmp_path / f"a{ending}"
    nibabel.save(image, path)
    raw = gzip.decompress(path.read_bytes())
    for what, (packed, words) in damaged(raw).items():
        path.write_bytes(packed)
        with pytest.raises(ReadError, match=words):
            print(what, read_volume(path).shape)
    half = len(raw) // 2
    whole = gzip.compress(raw)
    sound = {
        "as it was": whole,
        "members": gzip.compress(raw[:half]) + bytes(700) + gzip.compress(raw[half:]),
        "a short first member": gzip.compress(raw[:100]) + gzip.compress(raw[100:]),
        "zeros behind": whole + bytes(700),
        "something behind": whole + b"xy",
        "more than the header says": gzip.compress(raw + b"more"),
    }
    expected, _ = canonical_by_trying(data, image.affine)
    for what, packed in sound.items():
        path.write_bytes(packed)
        np.testing.assert_array_equal(read_volume(path).data, expected, err_msg=what)


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"])
def test_what_is_written_is_the_same_each_time_and_no_larger_than_others_write(ending: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    body = np.where(np.hypot(*np.mgrid[-1:1:96j, -1:1:96j]) < 0.7, 40.0, -1000.0)
    data = np.rint(body + rng.normal(0, 12, (40, 96, 96))).astype(np.int16)
    volume = Volume(data, np.diag([2.0, 0.8, 0.7, 1.0]), "HU", "CT")
    paths = [tmp_path / f"{name}{ending}" for name in "ab"]
    for path in paths:
        write_volume(volume, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    np.testing.assert_array_equal(read_volume(paths[0]).data, data)
    nibabel.save(nibabel.Nifti1Image(data.transpose(2, 1, 0), np.eye(4)), tmp_path / "theirs.nii.gz")
    assert paths[0].stat().st_size <= 1.1 * (tmp_path / "theirs.nii.gz").stat().st_size


MEMORY = """
import json, resource, sys
from napari_sparse3d.io import read_volume
small, large = sys.argv[1:]
read_volume(small)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
data = read_volume(large).data
extra = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps([extra * 1024, data.nbytes]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kB on Linux")
@pytest.mark.parametrize(
    ("dtype", "axes", "scaling"),
    [(">i2", "PSR", (0.5, 3.0)), ("<i4", "LPS", (0.5, 0))],
)
def test_memory_is_that_of_the_result(dtype: str, axes: str, scaling: tuple[float, float], tmp_path: Path) -> None:
    shape = (150, 160, 170)
    data = np.broadcast_to(stored(dtype, (*shape[:2], 1)), shape)
    small = write_raw(tmp_path / "s.nii.gz", data[:20, :20, :20], AFFINES[axes], *scaling)
    large = write_raw(tmp_path / "l.nii.gz", data, AFFINES[axes], *scaling)
    done = subprocess.run([sys.executable, "-c", MEMORY, small, large], capture_output=True, text=True, check=True)
    extra, result = json.loads(done.stdout)
    assert extra <= 1.15 * result + 2e6, "a second copy, or large temporaries"
