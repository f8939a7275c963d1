"""A file is what its first bytes say: other names, capitals, no ending at all, and what lies beside scans."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import yaml

from detached_files import AFFINE, DATA, STORED, write_metaimage, write_nrrd
from dicom_files import check_world_code, series_of
from napari_sparse3d.catalog.formats import ARCHIVE_ENDINGS, FORMATS
from napari_sparse3d.errors import ReadError
from napari_sparse3d.io import read_volume, scan
from napari_sparse3d.napari_reader import get_reader, read_layers

RAS = np.array([[-1.0, 0, 0, 10], [0, -2.0, 0, -20], [0, 0, 2.5, 30], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One small sound file of each format."""
    folder = tmp_path_factory.mktemp("made")
    nibabel.save(nibabel.Nifti1Image(STORED, RAS), folder / "nifti1.nii")
    nibabel.save(nibabel.Nifti2Image(STORED, RAS), folder / "nifti2.nii")
    nibabel.save(nibabel.MGHImage(STORED, RAS), folder / "mgh.mgh")
    write_nrrd(folder / "nrrd.nrrd")
    write_metaimage(folder / "metaimage.mha")
    found = {path.stem: path.read_bytes() for path in folder.iterdir()}
    return found | {f"{name} gz": gzip.compress(found[name]) for name in ("nifti1", "nifti2", "mgh")}


def check(path: Path) -> None:
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.data, DATA)
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-5)


NAMES = [
    "a.nii",
    "a.nii.gz",
    "a.NII.GZ",
    "a.Nii",
    "a.dat",
    "a",
    "a.nrrd",
    "a.mha",
    "a.dcm",
    "a.img",
    "a.hdr",
    "1.2.840.5",
    "a.zip",
]


@pytest.mark.parametrize("content", ["nifti1", "nifti2", "nifti1 gz", "nifti2 gz", "nrrd", "metaimage"])
@pytest.mark.parametrize("name", NAMES)
def test_any_content_under_any_name(content: str, name: str, made: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(made[content])
    check(path)
    check(tmp_path)
    assert get_reader(str(path)) is not None
    assert get_reader(str(tmp_path)) is not None


@pytest.mark.parametrize("content", ["mgh", "mgh gz"])
@pytest.mark.parametrize("name", ["a.mgh", "a.mgz", "a.MGZ", "A.MGH"])
def test_mgh_packed_or_not(content: str, name: str, made: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(made[content])
    check(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "name"),
    [("nrrd", "A.NRRD"), ("metaimage", "A.MHA"), ("nifti1 gz", "A.NII.GZ"), ("nrrd", "A.NHDR"), ("metaimage", "A.MHD")],
)
def test_endings_in_capitals(content: str, name: str, made: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(made[content])
    check(tmp_path / name)
    check(tmp_path)


@pytest.mark.parametrize(
    "ending", [".img", ".hdr", ".nii", ".nii.gz", ".nrrd", ".mha", ".mhd", ".mgz", ".IMA", ".DCM", ".dat", "", ".001"]
)
def test_dicom_under_any_name(ending: str, tmp_path: Path) -> None:
    for number, path in enumerate(series_of(tmp_path / "in")):
        path.rename(path.with_name(f"im{number}{ending}"))
    check_world_code(read_volume(tmp_path / "in"))
    check_world_code(read_volume(sorted((tmp_path / "in").iterdir())))
    assert len(scan(tmp_path / "in")) == 1
    assert get_reader(str(tmp_path / "in")) is not None
    assert get_reader(str(tmp_path / "in" / f"im0{ending}")) is not None


def test_dicom_without_its_mark_under_other_names(tmp_path: Path) -> None:
    import pydicom

    for number, path in enumerate(series_of(tmp_path / "in")):
        dataset = pydicom.dcmread(path)
        bare = pydicom.Dataset({tag: dataset[tag] for tag in dataset.keys()})  # noqa: SIM118 - tags, not elements
        bare.save_as(
            tmp_path / "in" / f"im{number}.img", implicit_vr=True, little_endian=True, enforce_file_format=False
        )
        path.unlink()
        assert (tmp_path / "in" / f"im{number}.img").read_bytes()[128:132] != b"DICM"
    check_world_code(read_volume(tmp_path / "in"))


def test_files_named_by_uid_in_a_folder_and_dropped_one_by_one(tmp_path: Path) -> None:
    npe2 = pytest.importorskip("npe2")
    manager = npe2.PluginManager.instance()
    manager.discover()
    for number, path in enumerate(series_of(tmp_path / "in")):
        path.rename(path.with_name(f"1.2.840.113619.2.5.{1000 + number}"))
    series_of(tmp_path / "plain")
    for number, path in enumerate(sorted((tmp_path / "plain").iterdir())):
        path.rename(path.with_name(f"IM{number:06d}"))
    check_world_code(read_volume(tmp_path / "in"))
    for folder in (tmp_path / "in", tmp_path / "plain"):
        for path in [folder, *folder.iterdir()]:
            offered = [reader.command for reader in manager.iter_compatible_readers([str(path)])]
            assert "napari-sparse3d.read" in offered
            assert get_reader(str(path)) is not None
        ((data, _, kind),) = npe2.read([str(folder)], stack=False, plugin_name="napari-sparse3d")
        assert (data.shape, kind) == ((5, 6, 8), "image")
        assert len(read_layers([str(path) for path in sorted(folder.iterdir())])) == 1


def test_the_reader_is_not_offered_for_other_files(tmp_path: Path) -> None:
    npe2 = pytest.importorskip("npe2")
    manager = npe2.PluginManager.instance()
    manager.discover()
    for name in ("a.png", "a.tif", "a.txt", "a.csv", "a.ome.tiff", "a.json", "a.py", "a.7z"):
        (tmp_path / name).write_bytes(b"words" * 100)
        offered = [reader.command for reader in manager.iter_compatible_readers([str(tmp_path / name)])]
        assert "napari-sparse3d.read" not in offered
    (tmp_path / "Makefile").write_text("all:\n" * 100)
    assert get_reader(str(tmp_path / "Makefile")) is None, "offered, and turned down by its content"


def test_the_manifest_names_what_the_readers_take_and_the_writer_writes() -> None:
    contributions = yaml.safe_load((Path(__file__).parents[2] / "napari.yaml").read_text())["contributions"]
    patterns = contributions["readers"][0]["filename_patterns"]
    ours = [part for part in FORMATS.values() if part.home.startswith("napari_sparse3d.")]
    endings = [*(ending for part in ours for ending in part.endings), *ARCHIVE_ENDINGS]
    named = [pattern for pattern in patterns if pattern.startswith("*.") and "[" not in pattern]
    assert sorted(named) == sorted(f"*{ending}" for ending in endings)
    assert "*" not in patterns
    written = [ending for part in ours for ending in part.written]
    assert len(contributions["writers"]) == 2
    for writer in contributions["writers"]:
        assert writer["filename_extensions"] == written


def test_strays_do_not_make_a_folder_unreadable(made: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(made["nifti1"])
    (tmp_path / "._a.nii").write_bytes(b"\x00\x05\x16\x07" + bytes(400))
    (tmp_path / ".DS_Store").write_bytes(b"\x00\x00\x00\x01Bud1" + bytes(400))
    (tmp_path / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" + bytes(400))
    check(tmp_path)
    assert len(scan(tmp_path)) == 1
    (tmp_path / "notes.txt").write_text("words\n" * 100)
    (tmp_path / "disk.img").write_bytes(bytes(2000))
    (tmp_path / "broken.nrrd").write_text("words\n" * 100)
    (tmp_path / "empty.nii").write_bytes(b"")
    check(tmp_path)
    listed = {info.description: info for info in scan(tmp_path)}
    assert listed["a"].status != "refuse"
    shutil.copytree(tmp_path, tmp_path / "sub")
    for path in series_of(tmp_path / "ct"):
        (path.parent / f"._{path.name}").write_bytes(b"\x00\x05\x16\x07" + bytes(400))
    check_world_code(read_volume(tmp_path / "ct"))


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("a.nii", b"\x89PNG" + bytes(500), "like a PNG"),
        ("a.nrrd", b"words " * 100, "with text"),
        ("a.mhd", bytes(500), "not what its name says"),
        ("a.mgz", b"words " * 100, r"not (gzip|what its name says)"),
        ("a.nii", b"", "empty"),
        ("a.nii.gz", b"\x1f\x8b" + bytes(50), "gzip"),
        ("a.dcm", b"words " * 100, "not DICOM"),
    ],
)
def test_what_it_is_not_is_said(name: str, content: bytes, match: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ReadError, match=match) as caught:
        read_volume(tmp_path / name)
    assert name not in str(caught.value)


@pytest.mark.parametrize("content", ["nrrd", "metaimage"])
def test_formats_that_are_never_packed_as_a_whole(content: str, made: dict[str, bytes], tmp_path: Path) -> None:
    for name in ("a.nrrd.gz", "a.nrrd", "a.mha"):
        (tmp_path / name).write_bytes(gzip.compress(made[content]))
        with pytest.raises(ReadError, match=r"not DICOM, NIfTI|like gzip"):
            read_volume(tmp_path / name)


def test_a_zip_under_another_name(made: dict[str, bytes], tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.dat", "w") as archive:
        archive.writestr("a.nii", made["nifti1"])
    check(tmp_path / "a.dat")
