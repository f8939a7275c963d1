"""Files that lie: a clear error of our own within seconds, and never more memory than the file deserves."""

from __future__ import annotations

import contextlib
import gzip
import os
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dicom_files import save, series_of, slice_of
from napari_sparse3d.errors import InputError, ReadError
from napari_sparse3d.io import read_sequence, read_volume, scan, write_volume
from napari_sparse3d.volume import Volume


@contextmanager
def bounded(megabytes: float = 64) -> Iterator[None]:
    """Python's own allocations (numpy's included) stay below a bound."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()
    assert peak < megabytes, f"{peak:.0f} MB"


def nifti_header(dims: tuple[int, ...], offset: float = 352, datatype: int = 4, bits: int = 16) -> bytes:
    header = bytearray(352)
    header[0:4] = struct.pack("<i", 348)
    header[40:56] = struct.pack("<8h", *(len(dims), *dims, *[1] * (7 - len(dims))))
    header[70:74] = struct.pack("<2h", datatype, bits)
    header[76:108] = struct.pack("<8f", *[1.0] * 8)
    header[108:112] = struct.pack("<f", offset)
    header[344:348] = b"n+1\0"
    return bytes(header)


@pytest.mark.parametrize("dims", [(32767,) * 3, (32767,) * 7, (30000, 30000, 2), (-5, 4, 4), (0, 4, 4), (4, 4, -1)])
@pytest.mark.parametrize("packed", [False, True])
def test_nifti_with_absurd_dimensions(dims: tuple[int, ...], packed: bool, tmp_path: Path) -> None:
    path = tmp_path / ("a.nii.gz" if packed else "a.nii")
    raw = nifti_header(dims) + bytes(1000)
    path.write_bytes(gzip.compress(raw) if packed else raw)
    with bounded(), pytest.raises(ReadError):
        read_volume(path)


@pytest.mark.parametrize("offset", [1e30, -400.0, float("nan"), float("inf"), 3e9])
def test_nifti_with_absurd_offset(offset: float, tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    path.write_bytes(nifti_header((4, 4, 4), offset) + bytes(1000))
    with bounded(), pytest.raises(ReadError):
        read_volume(path)


def test_gzip_bomb_behind_a_small_header(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(nifti_header((4, 4, 4)) + bytes(128) + bytes(200_000_000), compresslevel=9))
    with bounded():
        assert read_volume(path).shape == (4, 4, 4)


def test_gzip_bomb_that_says_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    # the size of a bomb of 4 GB of zeros; its contents do not matter, since nothing of them may be unpacked
    path.write_bytes(
        gzip.compress(nifti_header((2000, 2000, 1000), datatype=2, bits=8) + bytes(4096)) + os.urandom(4_200_000)
    )
    with bounded(), pytest.raises(ReadError, match="no scan shrinks so far"):
        scan(path)


@pytest.mark.parametrize("change", [{"Rows": 65535, "Columns": 65535}, {"Rows": 7}, {"NumberOfFrames": 2**31 - 1}])
def test_dicom_with_a_pixel_count_that_does_not_match(change: dict[str, int], tmp_path: Path) -> None:
    dataset = slice_of((0, 0, 0))
    for keyword, value in change.items():
        setattr(dataset, keyword, value)
    save(dataset, tmp_path / "a.dcm")
    with bounded(), pytest.raises(ReadError):
        read_volume(tmp_path / "a.dcm")


def test_compressed_dicom_with_a_size_that_does_not_match(tmp_path: Path) -> None:
    from pydicom.uid import RLELossless

    dataset = slice_of((0, 0, 0))
    dataset.compress(RLELossless)
    dataset.Rows = 4000
    dataset.Columns = 5000
    save(dataset, tmp_path / "a.dcm")
    with bounded(200), pytest.raises(ReadError):
        read_volume(tmp_path / "a.dcm")


def test_sequences_in_sequences(tmp_path: Path) -> None:
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    nested = (b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff" + item) * 3000
    dataset = slice_of((0, 0, 0))
    path = save(dataset, tmp_path / "a.dcm")
    raw = path.read_bytes()
    meta_end = raw.index(b"\x08\x00", 132 + 12)
    path.write_bytes(raw[:meta_end] + nested + raw[meta_end:])
    with bounded(), pytest.raises(ReadError):
        read_volume(path)


def test_deflate_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_sparse3d.io.dicom import header

    monkeypatch.setattr(header, "memory_limit_bytes", lambda: 30_000_000)
    dataset = slice_of((0, 0, 0))
    path = save(dataset, tmp_path / "plain.dcm")
    raw = path.read_bytes()
    (length,) = struct.unpack("<I", raw[140:144])
    meta = pydicom.dcmread(path).file_meta
    meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    buffer = pydicom.filebase.DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    pydicom.filewriter.write_file_meta_info(buffer, meta)
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(raw[144 + length :] + bytes(100_000_000)) + packer.flush()
    path.write_bytes(bytes(128) + b"DICM" + buffer.getvalue() + packed)
    with bounded(), pytest.raises(ReadError, match="expands beyond"):
        read_volume(path)


def test_a_folder_that_loops_and_files_that_are_none(tmp_path: Path) -> None:
    series_of(tmp_path / "a")
    (tmp_path / "a" / "again").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "dead.dcm").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe.dcm")
    (info,) = scan(tmp_path)
    assert info.n_files == 5


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read every file")
def test_unreadable_file(tmp_path: Path) -> None:
    path = save(slice_of((0, 0, 0)), tmp_path / "a.dcm")
    path.chmod(0)
    with pytest.raises(ReadError, match=r"cannot be opened|cannot be parsed"):
        read_volume(path)


def _zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_zip_slip_bomb_and_damage(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    inside = series_of(folder)[0].read_bytes()
    before = sorted(tmp_path.rglob("*"))
    path = _zip(tmp_path / "slip.zip", {"../../../evil.dcm": inside, "/etc/evil.dcm": inside, "C:\\evil.dcm": inside})
    scan(path)
    path.unlink()
    assert sorted(tmp_path.rglob("*")) == before
    bomb = _zip(tmp_path / "bomb.zip", {f"{k}.dcm": bytes(40_000_000) for k in range(3)})
    with bounded(), pytest.raises(ReadError):
        scan(bomb)
    whole = _zip(tmp_path / "ok.zip", {"a.dcm": inside}).read_bytes()
    for cut in (10, len(whole) // 2, len(whole) - 4):
        (tmp_path / "cut.zip").write_bytes(whole[:cut])
        with pytest.raises(ReadError):
            scan(tmp_path / "cut.zip")


@pytest.mark.parametrize("name", ["/etc/passwd", "../secret.raw", "..\\secret.raw", "sub/secret.raw"])
@pytest.mark.parametrize("ending", [".mhd", ".nhdr"])
def test_detached_header_cannot_reach_outside(name: str, ending: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.raw").write_bytes(bytes(1000))
    if ending == ".mhd":
        text = f"ObjectType = Image\nNDims = 3\nDimSize = 4 4 4\nElementType = MET_UCHAR\nElementDataFile = {name}\n"
    else:
        text = f"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 4 4 4\nencoding: raw\ndata file: {name}\n\n"
    path = tmp_path / "in" / f"a{ending}"
    path.write_text(text)
    with pytest.raises(ReadError, match="another folder"):
        read_volume(path)


def test_nrrd_with_absurd_sizes(tmp_path: Path) -> None:
    path = tmp_path / "a.nrrd"
    path.write_bytes(
        b"NRRD0004\ntype: short\ndimension: 3\nsizes: 50000 50000 50000\nencoding: raw\nendian: little\n\n" + bytes(99)
    )
    with bounded(), pytest.raises(ReadError, match="claims"):
        read_volume(path)


# Mutations of sound files: bytes changed, cut out, doubled, cut off. Whatever happens, it is a volume or our own error.

Mutation = tuple[str, float, bytes]
mutations = st.lists(
    st.tuples(
        st.sampled_from(["set", "insert", "delete", "cut", "repeat"]),
        st.floats(0, 1, exclude_max=True),
        st.binary(min_size=1, max_size=8),
    ),
    min_size=1,
    max_size=4,
)


def mutated(raw: bytes, changes: list[Mutation]) -> bytes:
    data = bytearray(raw)
    for what, where, content in changes:
        # half of the changes go into the header, where they hurt
        place = int(where * 2 * len(data)) if where < 0.5 else int((where - 0.5) * 2 * min(len(data), 1500))
        if what == "set":
            data[place : place + len(content)] = content
        elif what == "insert":
            data[place:place] = content
        elif what == "delete":
            del data[place : place + len(content)]
        elif what == "repeat":
            data[place:place] = data[place : place + 16 * len(content)]
        else:
            del data[place:]
    return bytes(data)


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Small sound files of each kind, by ending."""
    folder = tmp_path_factory.mktemp("seeds")
    data = np.random.default_rng(1).integers(-1000, 1000, (5, 6, 7)).astype(np.int16)
    volume = Volume(data, np.diag([2.0, 1, 1, 1]), "HU", "CT", "seed", {})
    for ending in (".nii", ".nii.gz", ".nrrd"):
        write_volume(volume, folder / f"a{ending}")
    import SimpleITK as sitk

    sitk.WriteImage(sitk.GetImageFromArray(data), str(folder / "a.mha"))
    nibabel.save(nibabel.MGHImage(data.T.astype(np.float32), np.eye(4)), folder / "a.mgz")
    nibabel.save(nibabel.Nifti2Image(data.T, np.eye(4)), folder / "b.nii")
    save(slice_of((0, 0, 0)), folder / "a.dcm")
    rle = slice_of((0, 0, 0))
    rle.compress(pydicom.uid.RLELossless)
    save(rle, folder / "b.dcm")
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(folder / "a.dcm", "a.dcm")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


NAMES = ["a.nii", "a.nii.gz", "b.nii", "a.nrrd", "a.mha", "a.mgz", "a.dcm", "b.dcm", "a.zip"]


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(changes=mutations)
@example(changes=[("cut", 0.25, b"0")])
def test_mutated_files(name: str, changes: list[Mutation], seeds: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(mutated(seeds[name], changes))
    with contextlib.suppress(InputError):
        assert np.isfinite(read_sequence(path).affine).all()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(changes=mutations, which=st.integers(0, 400))
def test_mutated_real_files(changes: list[Mutation], which: int, data_dir: Path, tmp_path: Path) -> None:
    """Enhanced files, mosaics, compressed images, segmentations."""
    files = _small_dicom_files(data_dir)
    path = tmp_path / "a.dcm"
    path.write_bytes(mutated(files[which % len(files)].read_bytes(), changes))
    with contextlib.suppress(InputError):
        for info in scan(path):
            if info.readable:
                info.load()


def _small_dicom_files(data_dir: Path) -> list[Path]:
    return [
        path
        for path in sorted((data_dir / "dicom").rglob("*"))
        if path.is_file() and path.suffix not in (".xz", ".gz", ".json", ".npy") and path.stat().st_size < 400_000
    ]
