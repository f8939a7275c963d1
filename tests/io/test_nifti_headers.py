"""What a NIfTI or MGH header says, and leaves out: files written byte by byte after nifti1.h and FreeSurfer's wiki."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from napari_sparse3d.errors import ReadError
from napari_sparse3d.io import read_sequence, read_volume, scan
from raw_nifti import canonical_by_trying

STORED = np.arange(60, dtype=np.int16).reshape((5, 4, 3), order="F")


def nifti(path: Path, data: np.ndarray = STORED, *, end: str = "<", two: bool = False, **fields: object) -> Path:
    """``data`` (x, y, z, ...) with an sform of 2, 3, 4 mm unless ``fields`` say otherwise."""
    codes = {"i1": 256, "u1": 2, "i2": 4, "u2": 512, "i4": 8, "u4": 768, "i8": 1024, "u8": 1280, "f4": 16, "f8": 64}
    values: dict[str, object] = {
        "pixdim": [1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0], "slope": 1.0, "inter": 0.0, "xyzt": 2, "qform": 0,
        "sform": 1, "quatern": [0.0, 0.0, 0.0], "offset": [0.0, 0.0, 0.0],
        "srow": [2.0, 0, 0, -5, 0, 3.0, 0, 7, 0, 0, 4.0, 11],
        "intent": 0, "toffset": 0.0, **fields,
    }  # fmt: skip
    dim = [data.ndim, *data.shape, *[1] * (7 - data.ndim)]
    code = codes[data.dtype.str[1:]]
    raw = bytearray(544 if two else 352)

    def put(at: int, what: str, *numbers: object) -> None:
        struct.pack_into(end + what, raw, at, *numbers)

    if two:
        put(0, "i", 540)
        raw[4:12] = b"n+2\0\r\n\x1a\n"
        put(12, "2h", code, data.dtype.itemsize * 8)
        put(16, "8q", *dim)
        put(104, "8d", *values["pixdim"])
        put(168, "q2d", 544, values["slope"], values["inter"])
        put(216, "d", values["toffset"])
        put(344, "2i", values["qform"], values["sform"])
        put(352, "18d", *values["quatern"], *values["offset"], *values["srow"])
        put(500, "2i", values["xyzt"], values["intent"])
    else:
        put(0, "i", 348)
        put(40, "8h", *dim)
        put(68, "3h", values["intent"], code, data.dtype.itemsize * 8)
        put(76, "8f", *values["pixdim"])
        put(108, "3f", 352, values["slope"], values["inter"])
        raw[123] = values["xyzt"]
        put(136, "f", values["toffset"])
        put(252, "2h", values["qform"], values["sform"])
        put(256, "18f", *values["quatern"], *values["offset"], *values["srow"])
        raw[344:348] = b"n+1\0"
    path.write_bytes(bytes(raw) + data.astype(data.dtype.newbyteorder(end)).tobytes(order="F"))
    return path


@pytest.mark.parametrize("two", [False, True])
@pytest.mark.parametrize("end", ["<", ">"])
@pytest.mark.parametrize("excess", [0, 1e-7, 4e-7, 1e-6, 1e-4, 9e-4])
def test_a_quaternion_a_hair_over_unit_length(excess: float, end: str, two: bool, tmp_path: Path) -> None:
    """nifti1_io, nifti_quatern_to_mat44: b, c, d are divided by their length, a is 0."""
    direction = np.array([0.6, 0.0, 0.8])
    vector = direction * np.sqrt(1 + excess)
    path = nifti(tmp_path / "a.nii", end=end, two=two, sform=0, qform=1, quatern=list(vector), offset=[1, 2, 3])
    # a half turn about the axis: 2 v v^T - I
    affine = np.eye(4)
    affine[:3, :3] = (2 * np.outer(direction, direction) - np.eye(3)) * [2, 3, 4]
    affine[:3, 3] = 1, 2, 3
    expected, expected_affine = canonical_by_trying(STORED, affine)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.data, expected)
    # in single precision the rounding of b, c, d may leave a small a: sqrt(6e-8) is 2.4e-4
    np.testing.assert_allclose(volume.affine, expected_affine, atol=5e-3)


@pytest.mark.parametrize("square", [1.01, 2.0, 100.0, float("nan"), float("inf")])
def test_a_quaternion_far_over_is_refused(square: float, tmp_path: Path) -> None:
    path = nifti(tmp_path / "a.nii", sform=0, qform=1, quatern=[float(np.sqrt(square)), 0, 0])
    with pytest.raises(ReadError, match=r"quaternion has a squared length"):
        read_volume(path)
    # beside an sform, which counts, it is said
    both = nifti(tmp_path / "b.nii", sform=1, qform=1, quatern=[float(np.sqrt(square)), 0, 0])
    assert "sform and qform disagree" in [fault.kind.value for fault in scan(both)[0].faults]


def test_a_small_rotation_is_kept(tmp_path: Path) -> None:
    angle = 0.01
    path = nifti(tmp_path / "a.nii", sform=0, qform=1, quatern=[0, 0, float(np.sin(angle / 2))])
    assert read_volume(path).affine[1, 2] == pytest.approx(2 * np.sin(angle), rel=1e-4)


FRAMES = np.stack([STORED, STORED + 1, STORED + 2], axis=-1)


@pytest.mark.parametrize("two", [False, True])
@pytest.mark.parametrize(
    ("unit", "step", "seconds"),
    [
        (8, 3.71, 3.71), (16, 3710, 3.71), (24, 3.71e6, 3.71), (0, 3.71, None), (32, 3.71, None), (40, 3.71, None),
        (48, 3.71, None), (8, 0, None), (8, -2, None), (8, float("nan"), None),
    ],
)  # fmt: skip
def test_the_time_between_volumes(two: bool, unit: int, step: float, seconds: float | None, tmp_path: Path) -> None:
    path = nifti(
        tmp_path / "a.nii", FRAMES, two=two, xyzt=2 | unit, pixdim=[1, 2, 3, 4, step, 0, 0, 0], toffset=step / 2
    )
    found = read_sequence(path)
    assert len(found) == 3
    if seconds is None:
        assert found.times_s is None
    else:
        assert found.step_s == pytest.approx(seconds, rel=1e-6)
        assert found.times_s == pytest.approx(tuple(seconds * (0.5 + t) for t in range(3)), rel=1e-6)
        one = scan(path)[0].load([2])
        assert one.times_s == pytest.approx((2.5 * seconds,), rel=1e-6)


def test_no_voxel_size_is_no_millimetre(tmp_path: Path) -> None:
    for two in (False, True):
        for sizes in ([0, 3, 4], [2, 0, 4], [0, 0, 0], [2, 3, float("nan")]):
            for qform in (0, 1):
                path = nifti(tmp_path / "a.nii", two=two, sform=0, qform=qform, pixdim=[1.0, *sizes, 0, 0, 0, 0])
                with pytest.raises(ReadError, match="no distance between the voxels"):
                    read_volume(path)
        # an sform has them itself
        read_volume(nifti(tmp_path / "b.nii", two=two, pixdim=[1.0, 0, 0, 0, 0, 0, 0, 0]))


@pytest.mark.parametrize(
    ("dtype", "slope", "inter", "stored", "value"),
    [
        ("i4", 1, -1024, 2**25 + 1025, 2**25 + 1),
        ("i4", 1, 0, 2**31 - 1, 2**31 - 1),
        ("i4", 2, 1, 2**31 - 1, 2**32 - 1),
        ("u4", 1, 1, 2**32 - 1, 2**32),
        ("u4", 1, 0, 2**32 - 1, 2**32 - 1),
        ("i8", 1, 1, 2**53 + 1, 2**53 + 2),
        ("i8", -1, 0, 2**62 + 1, -(2**62) - 1),
        ("u8", 1, 0, 2**64 - 1, 2**64 - 1),
        ("u8", 1, -5, 2**64 - 1, 2**64 - 6),
        ("f8", 1, 0, 2**53 - 1, 2**53 - 1),
        ("f8", 2, 0, 2**40 + 1, 2**41 + 2),
    ],
)
def test_whole_numbers_are_not_rounded(
    dtype: str, slope: int, inter: int, stored: int, value: int, tmp_path: Path
) -> None:
    data = np.full((2, 2, 2), stored, f"<{dtype}")
    volume = read_volume(nifti(tmp_path / "a.nii", data, slope=slope, inter=inter))
    assert int(volume.data[1, 1, 1]) == value


def test_a_broken_slope_on_large_numbers_keeps_them_apart(tmp_path: Path) -> None:
    data = np.arange(2**24, 2**24 + 8, dtype="<i4").reshape(2, 2, 2)
    volume = read_volume(nifti(tmp_path / "a.nii", data, slope=0.5))
    np.testing.assert_array_equal(np.sort(volume.data.ravel()), np.arange(2**24, 2**24 + 8) * 0.5)
    small = read_volume(nifti(tmp_path / "b.nii", STORED, slope=0.5))
    assert small.data.dtype == np.float32


@pytest.mark.parametrize("outside", [np.nan, np.inf, -np.inf])
def test_voxels_without_a_value_do_not_take_the_unit_away(outside: float, tmp_path: Path) -> None:
    data = np.full((16, 16, 16), -1000, "<f4")
    data[4:9, 4:9, 4:9] = 700
    for share in (1, 6):
        data[:share] = outside
        volume = read_volume(nifti(tmp_path / "ct.nii", data))
        assert (volume.unit, volume.modality) == ("HU", "CT")
    data[:] = np.where(np.isfinite(data), 100, outside)
    assert read_volume(nifti(tmp_path / "mr.nii", data)).unit == "a.u."


def mgh(path: Path, flag: int, *, frames: int = 1, tr: float | None = None) -> Path:
    head = bytearray(284)
    struct.pack_into(">7ih", head, 0, 1, 5, 4, 3, frames, 4, 0, flag)
    struct.pack_into(">15f", head, 30, 2, 3, 4, -1, 0, 0, 0, 0, -1, 0, 1, 0, 1, 2, 3)
    body = b"".join((STORED + t).astype(">i2").tobytes(order="F") for t in range(frames))
    path.write_bytes(bytes(head) + body + (b"" if tr is None else struct.pack(">4f", tr, 0.1, 2, 3)))
    return path


def test_mgh_without_its_flag_is_refused(tmp_path: Path) -> None:
    assert read_volume(mgh(tmp_path / "a.mgh", 1)).spacing_mm == pytest.approx((3, 4, 2))
    for flag in (0, -1):
        with pytest.raises(ReadError, match="goodRASFlag"):
            read_volume(mgh(tmp_path / "b.mgh", flag))


def test_mgh_time(tmp_path: Path) -> None:
    assert read_sequence(mgh(tmp_path / "a.mgh", 1, frames=3, tr=2500.0)).step_s == pytest.approx(2.5)
    assert read_sequence(mgh(tmp_path / "b.mgh", 1, frames=3, tr=0.0)).times_s is None
    assert read_sequence(mgh(tmp_path / "c.mgh", 1, frames=3)).times_s is None


@pytest.mark.parametrize("code", [0, 1002])
def test_the_intent_of_labels(code: int, tmp_path: Path) -> None:
    for two in (False, True):
        volume = read_volume(nifti(tmp_path / "scan.nii", two=two, intent=code))
        assert volume.meta.get("labels", False) == (code == 1002)
