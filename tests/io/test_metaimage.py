"""MetaImage headers, from files written byte by byte; ITK as referee where it can be one."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
import pytest

from detached_files import AFFINE, DATA, RAW, STORED, write_metaimage
from napari_sparse3d.errors import ReadError
from napari_sparse3d.io import read_sequence, read_volume, scan
from raw_nifti import canonical_by_trying


def check(path: Path) -> None:
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.data, DATA)
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-9)


def kinds_of(path: Path) -> list[str]:
    return [fault.kind.value for fault in scan(path)[0].faults]


def test_a_plain_file(tmp_path: Path) -> None:
    path = write_metaimage(tmp_path / "a.mha")
    assert scan(path)[0].status == "clean"
    check(path)


@pytest.mark.parametrize("matrix", ["TransformMatrix", "Rotation", "Orientation"])
@pytest.mark.parametrize("offset", ["Offset", "Position", "Origin"])
def test_the_names_of_the_geometry_against_itk(matrix: str, offset: str, tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    fields = {"TransformMatrix": None, "Offset": None, matrix: "0 0.6 0.8 0 -0.8 0.6 1 0 0", offset: "5 6 7"}
    path = write_metaimage(tmp_path / "a.mha", fields)
    in_lps = np.eye(4)
    in_lps[:3, :3] = np.array([[0, 0, 1], [0.6, -0.8, 0], [0.8, 0.6, 0]]) * [1, 2, 2.5]
    in_lps[:3, 3] = 5, 6, 7
    volume = read_volume(path)
    expected, affine = canonical_by_trying(STORED, np.diag([-1.0, -1, 1, 1]) @ in_lps)
    np.testing.assert_array_equal(volume.data, expected)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-9)
    np.testing.assert_allclose(
        sitk.ReadImage(str(path)).TransformIndexToPhysicalPoint((4, 2, 1)), (in_lps @ [4, 2, 1, 1])[:3], atol=1e-6
    )


@pytest.mark.parametrize(
    ("unit", "mm"), [("mm", 1), ("um", 1e-3), ("cm", 10), ("?", 1), ("m", 1000), ("MET_DISTANCE_UNITS_CM", 10)]
)
def test_distance_units(unit: str, mm: float, tmp_path: Path) -> None:
    fields = {
        "DistanceUnits": unit,
        "ElementSpacing": " ".join(repr(value / mm) for value in (1, 2, 2.5)),
        "Offset": " ".join(repr(value / mm) for value in (-10, 20, 30)),
    }
    check(write_metaimage(tmp_path / "a.mha", fields))
    with pytest.raises(ReadError, match="'furlong', which is not a known unit of length"):
        read_volume(write_metaimage(tmp_path / "b.mha", {"DistanceUnits": "furlong"}))


def test_no_spacing_is_no_millimetre(tmp_path: Path) -> None:
    for spacing in (None, "0 0 0", "nan 1 1"):
        path = write_metaimage(tmp_path / "a.mha", {"ElementSpacing": spacing})
        with pytest.raises(ReadError):
            read_volume(path)
    assert kinds_of(write_metaimage(tmp_path / "b.mha", {"ElementSpacing": None})) == ["missing spacing"]
    size = write_metaimage(tmp_path / "c.mha", {"ElementSpacing": None, "ElementSize": "1 2 2.5"})
    check(size)
    assert scan(size)[0].status == "note"


def test_what_is_assumed_is_said(tmp_path: Path) -> None:
    for fields in (
        {"TransformMatrix": None},
        {"AnatomicalOrientation": "LAI"},
        {"TransformMatrix": "0 1 0 -1 0 0 0 0 1", "CenterOfRotation": "5 5 5"},
        {"Offset": None},
    ):
        assert kinds_of(write_metaimage(tmp_path / "a.mha", fields)) == ["unknown orientation"]
    for letters in ("RAI", "LPS", "???"):  # from and to are both in use
        assert kinds_of(write_metaimage(tmp_path / "a.mha", {"AnatomicalOrientation": letters})) == []
    assert kinds_of(write_metaimage(tmp_path / "b.mha", {"CenterOfRotation": "5 5 5"})) == []
    assert kinds_of(write_metaimage(tmp_path / "c.mha", {"BinaryDataByteOrderMSB": None})) == ["values"]


@pytest.mark.parametrize(
    ("slope", "offset", "kind"), [("2", "-1024", "i"), ("0.5", "3", "f"), ("1", "0", "i"), ("-1", "0", "i")]
)
def test_the_intensity_function_is_applied(slope: str, offset: str, kind: str, tmp_path: Path) -> None:
    fields = {"ElementToIntensityFunctionSlope": slope, "ElementToIntensityFunctionOffset": offset}
    volume = read_volume(write_metaimage(tmp_path / "a.mha", fields))
    np.testing.assert_array_equal(volume.data, DATA * float(slope) + float(offset))
    assert volume.data.dtype.kind == kind


@pytest.mark.parametrize("slope", ["0", "nan", "inf", "x"])
def test_an_intensity_function_without_sense(slope: str, tmp_path: Path) -> None:
    with pytest.raises(ReadError):
        read_volume(write_metaimage(tmp_path / "a.mha", {"ElementToIntensityFunctionSlope": slope}))


TYPES = {
    "CHAR": "i1", "UCHAR": "u1", "SHORT": "i2", "USHORT": "u2", "INT": "i4", "UINT": "u4", "LONG": "i4",
    "ULONG": "u4", "LONG_LONG": "i8", "ULONG_LONG": "u8", "FLOAT": "f4", "DOUBLE": "f8",
}  # fmt: skip


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("msb", ["True", "False"])
@pytest.mark.parametrize("order", ["BinaryDataByteOrderMSB", "ElementByteOrderMSB"])
def test_every_type_against_itk(name: str, msb: str, order: str, tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    dtype = np.dtype(TYPES[name]).newbyteorder(">" if msb == "True" else "<")
    stored = (STORED // 4 if dtype.itemsize == 1 else STORED + 100).astype(dtype)
    fields = {"ElementType": f"MET_{name}", "BinaryDataByteOrderMSB": None, order: msb}
    path = write_metaimage(tmp_path / "a.mha", fields, data=stored.tobytes(order="F"))
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.data, stored.transpose(2, 1, 0)[:, ::-1, ::-1])
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), stored.transpose(2, 1, 0))


TEXT = b" ".join(b"%d" % value for value in STORED.ravel(order="F"))


@pytest.mark.parametrize(
    ("fields", "data"),
    [
        ({"CompressedData": "True"}, zlib.compress(RAW)),
        ({"CompressedData": "True", "CompressedDataSize": str(len(zlib.compress(RAW)))}, zlib.compress(RAW)),
        ({"CompressedData": "True"}, gzip.compress(RAW)),
        ({"CompressedData": "False"}, RAW),
        ({"BinaryData": "False"}, TEXT),
        ({"BinaryData": "False"}, TEXT.replace(b" ", b"\n")),
        ({"BinaryData": None}, RAW),
    ],
)
@pytest.mark.parametrize("local", [True, False])
def test_every_encoding(fields: dict[str, str | None], data: bytes, local: bool, tmp_path: Path) -> None:
    if local:
        check(write_metaimage(tmp_path / "a.mha", fields, data=data))
    else:
        (tmp_path / "a.zraw").write_bytes(data)
        check(write_metaimage(tmp_path / "a.mhd", fields, file="a.zraw"))


def test_header_size(tmp_path: Path) -> None:
    for skip, before in (("7", b"1234567"), ("-1", b"whatever")):
        (tmp_path / "a.raw").write_bytes(before + RAW)
        check(write_metaimage(tmp_path / "a.mhd", {"HeaderSize": skip}, file="a.raw"))
    check(write_metaimage(tmp_path / "b.mha", {"HeaderSize": "-1"}, data=b"xyz" + RAW))
    with pytest.raises(ReadError, match="HeaderSize is -2"):
        scan(write_metaimage(tmp_path / "c.mha", {"HeaderSize": "-2"}))


@pytest.mark.parametrize("compressed", ["True", "False"])
def test_data_longer_or_shorter_than_the_sizes(compressed: str, tmp_path: Path) -> None:
    pack = zlib.compress if compressed == "True" else bytes
    fields = {"CompressedData": compressed}
    with pytest.raises(ReadError, match="longer than the header's sizes say"):
        read_volume(write_metaimage(tmp_path / "a.mha", fields, data=pack(RAW + bytes(2))))
    with pytest.raises(ReadError, match="truncated"):
        read_volume(write_metaimage(tmp_path / "b.mha", fields, data=pack(RAW[:-2])))


@pytest.mark.parametrize(
    ("fourth", "step"), [("3.71", 3.71), ("0.5", 0.5), ("1", None), ("0", None), ("nan", None), ("-2", None)]
)
def test_four_axes(fourth: str, step: float | None, tmp_path: Path) -> None:
    """Seconds, as ITK's readers of NIfTI hand them to its writer; 1 is what it fills in for none."""
    fields = {
        "NDims": "4", "DimSize": "5 4 3 2", "ElementSpacing": f"1 2 2.5 {fourth}", "Offset": "-10 20 30 0",
        "TransformMatrix": "1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1",
    }  # fmt: skip
    path = write_metaimage(tmp_path / "a.mha", fields, data=RAW + (STORED + 1).tobytes(order="F"))
    found = read_sequence(path)
    np.testing.assert_array_equal(found.data, np.stack([DATA, DATA + 1]))
    np.testing.assert_allclose(found.affine, AFFINE)
    assert found.step_s == step
    np.testing.assert_array_equal(read_volume(path, frame=1).data, DATA + 1)
    fields["TransformMatrix"] = "1 0 0 1 0 1 0 0 0 0 1 0 0 0 0 1"
    with pytest.raises(ReadError, match="mixes space with further axes"):
        scan(write_metaimage(tmp_path / "b.mha", fields, data=RAW * 2))


def test_what_is_no_volume(tmp_path: Path) -> None:
    rgb = write_metaimage(
        tmp_path / "a.mha", {"ElementType": "MET_UCHAR", "ElementNumberOfChannels": "3"}, data=bytes(180)
    )
    assert kinds_of(rgb) == ["colour"]
    field = write_metaimage(tmp_path / "b.mha", {"ElementNumberOfChannels": "3"}, data=RAW * 3)
    assert kinds_of(field) == ["not a volume"]
    flat = {"NDims": "2", "DimSize": "5 12", "ElementSpacing": "1 1", "Offset": "0 0", "TransformMatrix": "1 0 0 1"}
    assert kinds_of(write_metaimage(tmp_path / "c.mha", flat)) == ["not a volume"]
    with pytest.raises(ReadError, match="no image but another object"):
        scan(write_metaimage(tmp_path / "d.mha", {"ObjectType": "Tube"}))


@pytest.mark.parametrize(
    "fields",
    [
        {"DimSize": "5 4"}, {"DimSize": "5 4 -3"}, {"DimSize": None}, {"NDims": None}, {"NDims": "x"},
        {"ElementType": "MET_STRING"}, {"ElementType": None}, {"ElementSpacing": "1 2"}, {"Offset": "1 2 x"},
        {"TransformMatrix": "1 0 0 0 1 0 0 0"}, {"TransformMatrix": "1 0 0 1 0 0 0 0 1"}, {"DimSize": "50000 50000 9"},
        {"TransformMatrix": "inf 0 0 0 1 0 0 0 1"}, {"ElementNumberOfChannels": "0"}, {"Offset": "nan 0 0"},
    ],
)  # fmt: skip
def test_damaged_headers(fields: dict[str, str | None], tmp_path: Path) -> None:
    with pytest.raises(ReadError):
        read_volume(write_metaimage(tmp_path / "a.mha", fields))
