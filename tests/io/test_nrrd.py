"""NRRD headers and encodings, from files written byte by byte; pynrrd and ITK as referees where they can be."""

from __future__ import annotations

import bz2
import gzip
import zlib
from pathlib import Path

import numpy as np
import pytest

from detached_files import AFFINE, DATA, NRRD, RAW, STORED, nrrd_text, write_nrrd
from napari_sparse3d.cases.read import guessed_unit
from napari_sparse3d.errors import ReadError
from napari_sparse3d.io import read_sequence, read_volume, scan, write_volume
from napari_sparse3d.widgets.toolbox.notes import read_words
from raw_nifti import canonical_by_trying


def check(path: Path, *, atol: float = 1e-9) -> None:
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.data, DATA)
    np.testing.assert_allclose(volume.affine, AFFINE, atol=atol)


def kinds_of(path: Path) -> list[str]:
    return [fault.kind.value for fault in scan(path)[0].faults]


HEX = RAW.hex().encode()
TEXT = b" ".join(str(value).encode() for value in STORED.ravel(order="F"))
ENCODED = {
    "raw": RAW,
    "RAW": RAW,
    "gzip": gzip.compress(RAW),
    "gz": gzip.compress(RAW[:50]) + gzip.compress(RAW[50:]),  # two members are one file (RFC 1952)
    "bzip2": bz2.compress(RAW),
    "bz2": bz2.compress(RAW[:50]) + bz2.compress(RAW[50:]),
    "ascii": TEXT,
    "text": TEXT.replace(b" ", b"\n") + b"\n",
    "txt": TEXT.replace(b" ", b", "),
    "hex": b"\n".join(HEX[k : k + 31] for k in range(0, len(HEX), 31)),
}


@pytest.mark.parametrize("encoding", ENCODED)
@pytest.mark.parametrize("detached", [False, True])
def test_every_encoding(encoding: str, detached: bool, tmp_path: Path) -> None:
    if detached:
        (tmp_path / "a.bin").write_bytes(ENCODED[encoding])
        path = write_nrrd(tmp_path / "a.nhdr", {"encoding": encoding, "data file": "a.bin"}, data=b"")
    else:
        path = write_nrrd(tmp_path / "a.nrrd", {"encoding": encoding}, data=ENCODED[encoding])
    assert scan(path)[0].status == "clean"
    check(path)


@pytest.mark.parametrize("encoding", ENCODED)
def test_data_longer_or_shorter_than_the_sizes(encoding: str, tmp_path: Path) -> None:
    packers = {
        "raw": lambda raw: raw, "gzip": gzip.compress, "bzip2": bz2.compress, "hex": lambda raw: raw.hex().encode(),
        "ascii": lambda raw: b" ".join(b"%d" % value for value in np.frombuffer(raw, "<i2")),
    }  # fmt: skip
    name = {"RAW": "raw", "gz": "gzip", "bz2": "bzip2", "text": "ascii", "txt": "ascii"}.get(encoding, encoding)
    longer = write_nrrd(tmp_path / "long.nrrd", {"encoding": encoding}, data=packers[name](bytes(4) + RAW))
    with pytest.raises(ReadError, match="longer than the header's sizes say"):
        read_volume(longer)
    shorter = write_nrrd(tmp_path / "short.nrrd", {"encoding": encoding}, data=packers[name](RAW[:-2]))
    with pytest.raises(ReadError, match="truncated"):
        read_volume(shorter)
    if name in ("raw", "gzip"):  # what the file's size and the end of gzip tell, info tells
        with pytest.raises(ReadError, match="longer"):
            scan(longer)


@pytest.mark.parametrize("encoding", ["gzip", "bzip2"])
def test_damaged_compression(encoding: str, tmp_path: Path) -> None:
    whole = ENCODED[encoding]
    for number, data in enumerate((whole[:-5], whole[:10] + bytes(20) + whole[30:], b"\x00" * len(whole))):
        with pytest.raises(ReadError, match=r"damaged|truncated"):
            read_volume(write_nrrd(tmp_path / f"{number}.nrrd", {"encoding": encoding}, data=data))
    # zeros behind the end are padding (as gzip itself takes them)
    check(write_nrrd(tmp_path / "padded.nrrd", {"encoding": encoding}, data=whole + bytes(512)))


@pytest.mark.parametrize(
    ("encoding", "data"),
    [("hex", b"zz" * 120), ("ascii", b"1.5 " * 60), ("ascii", b"70000 " * 60), ("hex", b"0" * 241)],
)
def test_text_that_is_no_number(encoding: str, data: bytes, tmp_path: Path) -> None:
    with pytest.raises(ReadError):
        read_volume(write_nrrd(tmp_path / "a.nrrd", {"encoding": encoding}, data=data))


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    import tracemalloc

    for encoding, packed in (("bzip2", bz2.compress(bytes(200_000_000))), ("gzip", gzip.compress(bytes(200_000_000)))):
        path = write_nrrd(tmp_path / "a.nrrd", {"encoding": encoding}, data=packed)
        tracemalloc.start()
        with pytest.raises(ReadError, match="longer"):
            read_volume(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 16e6
    for encoding in ("bzip2", "gzip"):
        huge = write_nrrd(
            tmp_path / "b.nrrd", {"encoding": encoding, "sizes": "4000 4000 4000"}, data=ENCODED[encoding]
        )
        with pytest.raises(ReadError, match="claims"):
            scan(huge)


def test_unknown_encoding_and_type_are_no_damage(tmp_path: Path) -> None:
    for change, match in (
        ({"encoding": "zrl"}, "encoding is not one of"),
        ({"type": "block"}, "type is not one of"),
        ({"endian": None}, "does not say endian"),
    ):
        with pytest.raises(ReadError, match=match) as caught:
            read_volume(write_nrrd(tmp_path / "a.nrrd", change))
        assert "damaged" not in str(caught.value)


TYPES = {
    "signed char": "i1", "uchar": "u1", "uint8": "u1", "short int": "i2", "unsigned short": "u2", "int32_t": "i4",
    "uint": "u4", "long long": "i8", "uint64": "u8", "float": "f4", "double": "f8",
}  # fmt: skip


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("endian", ["little", "big"])
def test_every_type(name: str, endian: str, tmp_path: Path) -> None:
    nrrd = pytest.importorskip("nrrd")
    dtype = np.dtype(TYPES[name]).newbyteorder("<" if endian == "little" else ">")
    stored = STORED.astype(dtype) if dtype.kind in "if" else (STORED + 100).astype(dtype)
    path = write_nrrd(tmp_path / "a.nrrd", {"type": name, "endian": endian}, data=stored.tobytes(order="F"))
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.data, stored.transpose(2, 1, 0)[:, ::-1, ::-1])
    assert volume.data.dtype == dtype.newbyteorder("=")
    np.testing.assert_array_equal(nrrd.read(str(path))[0], stored)


def test_whole_numbers_beyond_float32(tmp_path: Path) -> None:
    for name, value in (("int32", 2**31 - 1), ("int64", 2**62 + 1), ("uint64", 2**64 - 1), ("double", 2**53 - 1)):
        stored = np.full(60, value, TYPES.get(name, {"int32": "i4", "int64": "i8"}.get(name)))
        path = write_nrrd(tmp_path / f"{name}.nrrd", {"type": name}, data=stored.tobytes())
        assert int(read_volume(path).data[0, 0, 0]) == value


@pytest.mark.parametrize(
    ("space", "flip"),
    [("LPS", (-1, -1, 1)), ("right-anterior-superior", (1, 1, 1)), ("RAS", (1, 1, 1)), ("LAS", (-1, 1, 1))],
)
def test_spaces_of_the_patient_against_itk(space: str, flip: tuple[int, int, int], tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    directions = "(0,0.6,0.8) (0,-1.6,1.2) (2.5,0,0)"
    path = write_nrrd(tmp_path / "a.nrrd", {"space": space, "space directions": directions})
    in_ras = np.diag([*flip, 1.0]) @ np.array([[0, 0, 2.5, -10], [0.6, -1.6, 0, 20], [0.8, 1.2, 0, 30], [0, 0, 0, 1]])
    expected, affine = canonical_by_trying(STORED, in_ras)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.data, expected)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-9)
    image = sitk.ReadImage(str(path))
    x, y, z = image.TransformIndexToPhysicalPoint((4, 2, 1))
    np.testing.assert_allclose((-x, -y, z), (in_ras @ [4, 2, 1, 1])[:3], atol=1e-6)
    assert scan(path)[0].status == "clean"


def test_other_spaces_are_said(tmp_path: Path) -> None:
    for space in ("scanner-xyz", "3D-left-handed", None):
        path = write_nrrd(tmp_path / "a.nrrd", {"space": space, **({} if space else {"space dimension": "3"})})
        assert "unknown orientation" in kinds_of(path)
        check(path)


MICRO, MU = "\u00b5", "\u03bc"


@pytest.mark.parametrize(
    ("unit", "mm"),
    [
        ("mm", 1), ("millimeter", 1), ("millimetres", 1), ("cm", 10), ("m", 1000), ("metres", 1000), ("um", 1e-3),
        ("micron", 1e-3), ("microns", 1e-3), ("Micrometers", 1e-3), (f"{MICRO}m", 1e-3), (f"{MU}m", 1e-3),
        ("nm", 1e-6), ("inch", 25.4), ("in", 25.4),
    ],
)  # fmt: skip
@pytest.mark.parametrize("how", ["space units", "units", "units without a space"])
def test_units_of_length(unit: str, mm: float, how: str, tmp_path: Path) -> None:
    words = " ".join([f'"{unit}"'] * 3)
    scaled = [value / mm for value in (1.0, 2.0, 2.5)]
    directions = " ".join(f"({','.join(repr(scaled[k]) if k == j else '0' for j in range(3))})" for k in range(3))
    origin = f"({-10 / mm!r},{20 / mm!r},{30 / mm!r})"
    changes: dict[str, str | None] = {"space directions": directions, "space origin": origin}
    if how == "units without a space":
        changes = {
            "space": None, "space directions": None, "space origin": None, "units": words,
            "spacings": " ".join(map(repr, scaled)), "centerings": "node node node",
            "axis mins": f"{-10 / mm!r} {20 / mm!r} {30 / mm!r}",
        }  # fmt: skip
    else:
        changes[how] = words
    path = write_nrrd(tmp_path / "a.nrrd", changes)
    check(path, atol=1e-6)
    if how == "space units":
        assert scan(path)[0].status == "clean"


@pytest.mark.parametrize("unit", ["pixel", "voxels", "parsec", "s"])
@pytest.mark.parametrize("how", ["space units", "units"])
def test_an_unknown_unit_is_refused_by_name(unit: str, how: str, tmp_path: Path) -> None:
    path = write_nrrd(tmp_path / "a.nrrd", {how: " ".join([f'"{unit}"'] * 3)})
    with pytest.raises(ReadError, match=f"'{unit}', which is not a known unit of length"):
        read_volume(path)


def test_units_that_contradict_each_other(tmp_path: Path) -> None:
    for changes in (
        {"space units": '"mm" "mm" "mm"', "units": '"um" "um" "um"'},
        {"space units": '"mm" "" "mm"'},
        {"units": '"mm" "um" "mm"'},
    ):
        with pytest.raises(ReadError, match="unit"):
            read_volume(write_nrrd(tmp_path / "a.nrrd", changes))
    each = {"space directions": "(1,0,0) (0,0.2,0) (0,0,2500)", "space origin": "(-10,2,30000)"}
    check(write_nrrd(tmp_path / "b.nrrd", {**each, "space units": '"mm" "cm" "um"'}))


PLAIN: dict[str, str | None] = {"space": None, "space directions": None, "space origin": None}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"thicknesses": "1 2 2.5"},
        {"axis mins": "0 0 0"},
        {"axis mins": "0 0 0", "axis maxs": "5 8 7.5"},  # of cells or of nodes?
        {"spacings": "1 2 nan"},
        {"spacings": "1 2 0"},
        {"units": '"mm" "mm" "mm"'},
        {"space": "LPS"},
        {"space": "LPS", "space origin": "(1,2,3)"},
    ],
)
def test_no_spacing_is_no_millimetre(changes: dict[str, str], tmp_path: Path) -> None:
    path = write_nrrd(tmp_path / "a.nrrd", {**PLAIN, **changes})
    assert kinds_of(path) == ["missing spacing"]
    with pytest.raises(ReadError, match="no distance between the voxels"):
        read_volume(path)


@pytest.mark.parametrize(
    ("changes", "origin"),
    [
        ({"spacings": "1 2 2.5"}, (0, 0, 0)),
        ({"spacings": "1 2 2.5", "axis mins": "4 5 6", "centerings": "node node node"}, (4, 5, 6)),
        ({"spacings": "1 2 2.5", "axis mins": "4 5 6", "centers": "cell cell cell"}, (4.5, 6, 7.25)),
        ({"spacings": "1 2 2.5", "axis mins": "4 5 6"}, (4.5, 6, 7.25)),
        ({"spacings": "1 2 2.5", "axis mins": "4 5 6", "centerings": "cell node cell"}, (4.5, 5, 7.25)),
    ],
)
def test_spacings_without_a_space_against_itk(changes: dict[str, str], origin: tuple, tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    path = write_nrrd(tmp_path / "a.nrrd", {**PLAIN, **changes})
    in_lps = np.diag([1, 2, 2.5, 1.0])
    in_lps[:3, 3] = origin
    volume = read_volume(path)
    np.testing.assert_allclose(volume.affine, canonical_by_trying(STORED, np.diag([-1, -1, 1, 1]) @ in_lps)[1])
    np.testing.assert_allclose(sitk.ReadImage(str(path)).GetOrigin(), origin)
    assert {"unknown orientation", "unknown unit"} <= set(kinds_of(path))


@pytest.mark.parametrize(("centre", "maxs"), [("cell", "9 13 13.5"), ("node", "8 11 11")])
def test_spacing_from_the_ends_of_the_axes(centre: str, maxs: str, tmp_path: Path) -> None:
    """NRRD format, "axis mins" and "axis maxs": of n cells or of n - 1 steps between nodes. ITK fills in 1 here."""
    ends = {"axis mins": "4 5 6", "axis maxs": maxs, "centerings": " ".join([centre] * 3)}
    volume = read_volume(write_nrrd(tmp_path / "a.nrrd", {**PLAIN, **ends}))
    np.testing.assert_allclose(volume.spacing_mm, (2.5, 2, 1))


def test_a_negative_spacing_turns_the_axis(tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    path = write_nrrd(tmp_path / "a.nrrd", {**PLAIN, "spacings": "1 -2 2.5"})
    image = sitk.ReadImage(str(path))
    x, y, z = image.TransformIndexToPhysicalPoint((4, 2, 1))
    volume = read_volume(path)
    at = np.linalg.inv(volume.affine) @ [z, -y, -x, 1]
    assert volume.data[tuple(np.rint(at[:3]).astype(int))] == STORED[4, 2, 1]


def frames_of(path: Path, n: int = 2) -> None:
    found = read_sequence(path)
    assert len(found) == n
    for t in range(n):
        np.testing.assert_array_equal(found.data[t], DATA + t)
        np.testing.assert_array_equal(read_volume(path, frame=t).data, DATA + t)
    np.testing.assert_allclose(found.affine, AFFINE)


@pytest.mark.parametrize("place", [0, 1, 2, 3])
@pytest.mark.parametrize("kind", ["list", "time", "domain", "???", None])
def test_an_axis_without_direction_anywhere(place: int, kind: str | None, tmp_path: Path) -> None:
    stored = np.stack([STORED, STORED + 1], axis=place)

    def put(words: list[str], word: str) -> str:
        return " ".join([*words[:place], word, *words[place:]])

    changes = {
        "dimension": "4", "sizes": put(["5", "4", "3"], "2"),
        "space directions": put(["(1,0,0)", "(0,2,0)", "(0,0,2.5)"], "none"),
        "kinds": None if kind is None else put(["domain"] * 3, kind),
    }  # fmt: skip
    path = write_nrrd(tmp_path / "a.nrrd", changes, data=stored.tobytes(order="F"))
    (info,) = scan(path)
    assert (info.status, info.n_frames, info.shape) == ("choice", 2, DATA.shape)
    frames_of(path)


@pytest.mark.parametrize(
    ("kind", "size", "word"),
    [("RGB-color", 3, "colour"), ("RGBA-color", 4, "colour"), ("vector", 2, "vectors"), ("3-vector", 3, "vectors"),
     ("covariant-vector", 3, "vectors"), ("3D-symmetric-matrix", 6, "vectors"), ("quaternion", 4, "vectors")],
)  # fmt: skip
def test_voxels_that_are_no_numbers(kind: str, size: int, word: str, tmp_path: Path) -> None:
    changes = {
        "dimension": "4", "sizes": f"{size} 5 4 3", "kinds": f"{kind} domain domain domain",
        "space directions": "none (1,0,0) (0,2,0) (0,0,2.5)",
    }  # fmt: skip
    path = write_nrrd(tmp_path / "a.nrrd", changes, data=RAW * size)
    assert scan(path)[0].status == "refuse"
    with pytest.raises(ReadError, match=word):
        read_volume(path)


def test_complex_voxels_need_their_magnitude(tmp_path: Path) -> None:
    parts = np.stack([np.full(STORED.shape, 3.0), np.full(STORED.shape, 4.0)]).astype("<f4")
    changes = {
        "type": "float", "dimension": "4", "sizes": "2 5 4 3", "kinds": "complex domain domain domain",
        "space directions": "none (1,0,0) (0,2,0) (0,0,2.5)",
    }  # fmt: skip
    path = write_nrrd(tmp_path / "a.nrrd", changes, data=parts.tobytes(order="F"))
    with pytest.raises(ReadError, match="--repair magnitude"):
        read_volume(path)
    volume = read_volume(path, repair="magnitude")
    assert (volume.data == 5).all()
    assert volume.data.shape == DATA.shape


def test_an_image_of_two_axes_or_of_too_many(tmp_path: Path) -> None:
    flat = {"dimension": "2", "sizes": "5 12", "space directions": "(1,0,0) (0,2,0)"}
    many = {"dimension": "5", "sizes": "5 4 3 2 2", "space directions": "(1,0,0) (0,2,0) (0,0,2.5) none none"}
    for changes, data in ((flat, RAW), (many, RAW * 4)):
        path = write_nrrd(tmp_path / "a.nrrd", changes, data=data)
        assert kinds_of(path) == ["not a volume"]
    # an axis of one place is none
    single = {"dimension": "5", "sizes": "1 5 4 3 1", "space directions": "none (1,0,0) (0,2,0) (0,0,2.5) none"}
    check(write_nrrd(tmp_path / "b.nrrd", single))


LISTED: dict[str, str | None] = {
    "dimension": "4",
    "sizes": "2 5 4 3",
    "space directions": "none (1,0,0) (0,2,0) (0,0,2.5)",
    "kinds": "list domain domain domain",
}
PAIR = np.stack([STORED, STORED + 1]).tobytes(order="F")


@pytest.mark.parametrize(
    ("fields", "keys", "times"),
    [
        ({"units": '"s" "" "" ""', "spacings": "3.5 nan nan nan"}, [], (0, 3.5)),
        ({"units": '"ms" "" "" ""', "spacings": "700 nan nan nan", "axis mins": "50 nan nan nan"}, [], (0.05, 0.75)),
        ({"units": '"min" "" "" ""', "spacings": "2 nan nan nan", "labels": '"time" "" "" ""'}, [], (0, 120)),
        ({"units": '"s" "" "" ""'}, ["axis 0 index type:=numeric", "axis 0 index values:=1.5 4.25"], (1.5, 4.25)),
        (
            {},
            [
                "MultiVolume.FrameIdentifyingDICOMTagName:=TriggerTime",
                "MultiVolume.FrameIdentifyingDICOMTagUnits:=ms",
                "MultiVolume.FrameLabels:=100,350",
            ],
            (0.1, 0.35),
        ),
        # no unit, none of time, none that is between volumes, or none that rises: nothing is claimed
        ({"spacings": "3.5 nan nan nan"}, [], None),
        ({"units": '"" "" "" ""', "spacings": "3.5 nan nan nan"}, [], None),
        ({"units": '"Hz" "" "" ""', "spacings": "3.5 nan nan nan"}, [], None),
        ({"units": '"mm" "" "" ""', "spacings": "3.5 nan nan nan"}, [], None),
        ({"units": '"ms" "" "" ""', "spacings": "9 nan nan nan", "labels": '"EchoTime" "" "" ""'}, [], None),
        ({"units": '"s" "" "" ""'}, ["axis 0 index values:=4 1"], None),
        ({"units": '"s" "" "" ""', "spacings": "0 nan nan nan"}, [], None),
        (
            {},
            [
                "MultiVolume.FrameIdentifyingDICOMTagName:=EchoTime",
                "MultiVolume.FrameIdentifyingDICOMTagUnits:=ms",
                "MultiVolume.FrameLabels:=100,350",
            ],
            None,
        ),
        ({}, [], None),
    ],
)
def test_times(fields: dict[str, str], keys: list[str], times: tuple | None, tmp_path: Path) -> None:
    path = write_nrrd(tmp_path / "a.nrrd", {**LISTED, **fields}, *keys, data=PAIR)
    frames_of(path)
    found = read_sequence(path).times_s
    assert found is None if times is None else found == pytest.approx(times)


@pytest.mark.parametrize("unit", ["s", "ms", ""])
def test_a_space_with_an_axis_of_time(unit: str, tmp_path: Path) -> None:
    changes = {
        "dimension": "4", "sizes": "5 4 3 2", "space": "left-posterior-superior-time", "space origin": "(-10,20,30,7)",
        "space directions": "(1,0,0,0) (0,2,0,0) (0,0,2.5,0) (0,0,0,4)", "space units": f'"mm" "mm" "mm" "{unit}"',
    }  # fmt: skip
    path = write_nrrd(tmp_path / "a.nrrd", changes, data=RAW + (STORED + 1).tobytes(order="F"))
    frames_of(path)
    assert read_sequence(path).step_s == {"s": 4, "ms": 0.004, "": None}[unit]
    changes["space directions"] = "(1,0,0,1) (0,2,0,0) (0,0,2.5,0) (0,0,0,4)"
    with pytest.raises(ReadError, match="mix space with time"):
        scan(write_nrrd(tmp_path / "b.nrrd", changes, data=RAW * 2))


def test_four_axes_as_itk_writes_them(tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    data = np.stack([STORED.transpose(2, 1, 0), STORED.transpose(2, 1, 0) + 1])
    image = sitk.GetImageFromArray(data, isVector=False)
    image.SetSpacing([1, 2, 2.5, 3])
    sitk.WriteImage(image, str(tmp_path / "a.nrrd"))
    found = read_sequence(tmp_path / "a.nrrd")
    np.testing.assert_array_equal(found.data, np.stack([DATA, DATA + 1]))
    assert found.times_s is None, "no unit of time is named"


def test_slicers_header_with_everything_that_is_beside_the_point(tmp_path: Path) -> None:
    path = tmp_path / "a.nrrd"
    text = nrrd_text(
        {"measurement frame": "(1,0,0) (0,1,0) (0,0,1)", "content": "a scan: of somebody", "thicknesses": "9 9 9"},
        "# a comment: with a colon", "modality:=CT", "note:=space: RAS", 'labels: "x" "y" "z"', "number: 60",
    ).replace(b"\n", b"\r\n")  # fmt: skip
    path.write_bytes(text + b"\r\n" + RAW)
    check(path)
    assert "somebody" not in str(read_volume(path).meta)


def test_quantised_values_are_said_and_not_taken_for_hu(tmp_path: Path) -> None:
    stored = np.full((8, 8, 8), -1000, "<i2")
    stored[:4] = 500
    size = {"sizes": "8 8 8"}
    assert read_volume(write_nrrd(tmp_path / "a.nrrd", size, data=stored.tobytes())).unit == "HU"
    path = write_nrrd(tmp_path / "b.nrrd", {**size, "old min": "0", "old max": "1"}, data=stored.tobytes())
    assert "values" in kinds_of(path)
    assert read_volume(path).unit == "a.u."


def test_one_nan_does_not_take_the_unit_away(tmp_path: Path) -> None:
    stored = np.full((8, 8, 8), -1000, "<f4")
    stored[:4] = 500
    stored[-1, -1] = np.nan
    path = write_nrrd(tmp_path / "a.nrrd", {"sizes": "8 8 8", "type": "float"}, data=stored.tobytes())
    assert (read_volume(path).unit, read_volume(path).modality) == ("HU", "CT")


def test_a_unit_is_called_guessed_only_where_the_values_told_it(tmp_path: Path) -> None:
    """The command and the panels say the same, and nothing of a unit that the file names."""
    stored = np.full((8, 8, 8), -1000, "<i2")
    stored[:4] = 500
    size = {"sizes": "8 8 8"}
    guessed = write_nrrd(tmp_path / "guessed.nrrd", size, data=stored.tobytes())
    named = write_nrrd(tmp_path / "named.nrrd", {**size, "sample units": '"HU"'}, data=stored.tobytes())
    stamped = tmp_path / "stamped.nrrd"
    write_volume(read_volume(guessed), stamped)
    note = "the file names no unit; taken as HU from its values: the air around the patient is near -1000"
    for path, said in ((guessed, note), (named, ""), (stamped, "")):
        volume = read_volume(path)
        assert (volume.unit, volume.modality) == ("HU", "CT")
        assert guessed_unit(volume) == said
        assert read_words(volume.meta, volume.unit) == ([said] if said else [])


@pytest.mark.parametrize(
    ("line", "byte", "before"),
    [(0, 3, b"abc"), (2, 0, b"x\ny\n"), (2, 3, b"one\ntwo\nabc"), (0, -1, b"anything"), (1, -1, b"q\nz")],
)
@pytest.mark.parametrize("detached", [False, True])
def test_skips(line: int, byte: int, before: bytes, detached: bool, tmp_path: Path) -> None:
    changes = {"line skip": str(line), "byte skip": str(byte)}
    if detached:
        (tmp_path / "a.raw").write_bytes(before + RAW)
        check(write_nrrd(tmp_path / "a.nhdr", {**changes, "data file": "a.raw"}, data=b""))
    else:
        check(write_nrrd(tmp_path / "a.nrrd", changes, data=before + RAW))


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, zlib.compress])
def test_skips_before_compressed_data(pack: object, tmp_path: Path) -> None:
    """Lines are of the file as it is, bytes of what is unpacked (NRRD format, "line skip" and "byte skip")."""
    encoding = "bzip2" if pack is bz2.compress else "gzip"
    changes = {"encoding": encoding, "line skip": "1"}
    check(write_nrrd(tmp_path / "a.nrrd", {**changes, "byte skip": "4"}, data=b"line\n" + pack(b"1234" + RAW)))  # type: ignore[operator]
    check(write_nrrd(tmp_path / "b.nrrd", {**changes, "byte skip": "-1"}, data=b"line\n" + pack(b"123456" + RAW)))  # type: ignore[operator]


@pytest.mark.parametrize(
    "changes",
    [
        {"sizes": "5 4"}, {"sizes": "5 4 -3"}, {"sizes": "5 4 x"}, {"sizes": None}, {"type": None}, {"dimension": "x"},
        {"dimension": None}, {"encoding": None}, {"space directions": "(1,0,0) (0,2,0)"}, {"space origin": "(1,2)"},
        {"space directions": "(1,0,0) (0,2,0) (0,0,x)"}, {"space directions": "(1,0,0) (1,0,0) (0,0,1)"},
        {"space directions": "(inf,0,0) (0,2,0) (0,0,1)"}, {"byte skip": "-2"}, {"line skip": "-1"},
        {"kinds": "domain"},        {"line skip": "9999"}, {"sizes": "0 4 3"},
    ],
)  # fmt: skip
def test_damaged_headers(changes: dict[str, str | None], tmp_path: Path) -> None:
    with pytest.raises(ReadError):
        read_volume(write_nrrd(tmp_path / "a.nrrd", changes))


def test_a_field_that_is_given_twice(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="twice"):
        scan(write_nrrd(tmp_path / "a.nrrd", None, "sizes: 3 4 5"))
    check(write_nrrd(tmp_path / "b.nrrd", None, f"sizes: {NRRD['sizes']}"))


def test_a_large_raw_file_is_read_in_one_copy(tmp_path: Path) -> None:
    import tracemalloc

    size = 128
    data = np.arange(size**3, dtype="<i2").tobytes()
    path = write_nrrd(tmp_path / "a.nrrd", {"sizes": f"{size} {size} {size}"}, data=data)
    read_volume(path)
    tracemalloc.start()
    volume = read_volume(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert volume.data.flags.c_contiguous
    assert not isinstance(volume.data.base, np.memmap)
    assert peak < 1.2 * volume.data.nbytes


def test_spacings_beside_directions(tmp_path: Path) -> None:
    same = write_nrrd(tmp_path / "a.nrrd", {"spacings": "1 2 2.5"})
    assert scan(same)[0].status == "clean"
    other = write_nrrd(tmp_path / "b.nrrd", {"spacings": "1 1 1"})
    assert kinds_of(other) == ["unknown orientation"]
    check(other)
