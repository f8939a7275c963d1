"""The files behind a path: what reading it really opens, as the interpreter itself reports it."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest

from detached_files import RAW, nrrd_text, write_metaimage
from dicom_files import series_of
from napari_sparse3d import read_volume
from napari_sparse3d.io.sources import files_behind

DATA = np.arange(60, dtype=np.int16).reshape(5, 4, 3)


class _Opened:
    """Every file below a folder that is opened while it is watched."""

    def __init__(self) -> None:
        self.below: str | None = None
        self.paths: set[Path] = set()

    def __call__(self, event: str, args: tuple[object, ...]) -> None:
        if event == "open" and self.below is not None and isinstance(args[0], str) and args[0].startswith(self.below):
            self.paths.add(Path(args[0]))


_opened = _Opened()
sys.addaudithook(_opened)  # cannot be taken away: asleep without a folder


@pytest.fixture
def opened_in(tmp_path: Path) -> Iterator[Callable[[Path], set[Path]]]:
    def opened(path: Path) -> set[Path]:
        _opened.below, _opened.paths = str(tmp_path), set()
        np.array(read_volume(path).data)
        _opened.below = None
        return {found for found in _opened.paths if found.is_file()}

    yield opened
    _opened.below = None


def nifti(folder: Path) -> Path:
    nibabel.save(nibabel.Nifti1Image(DATA, np.eye(4)), folder / "one.nii.gz")
    return folder / "one.nii.gz"


def pair(folder: Path) -> Path:
    nibabel.save(nibabel.Nifti1Pair(DATA, np.eye(4)), folder / "one.img")
    return folder / "one.hdr"


def image_of_pair(folder: Path) -> Path:
    return pair(folder).with_suffix(".img")


def packed_pair(folder: Path) -> Path:
    nibabel.save(nibabel.Nifti2Pair(DATA, np.eye(4)), folder / "one.img.gz")
    return folder / "one.hdr.gz"


def pair_in_capitals(folder: Path) -> Path:
    header = pair(folder)
    header.with_suffix(".img").rename(folder / "ONE.IMG")
    return header


def spm_analyze(folder: Path) -> Path:
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    affine[:3, 3] = 5, 6, 7  # such an origin is in the .mat alone
    nibabel.save(nibabel.Spm99AnalyzeImage(DATA, affine), folder / "one.img")
    assert (folder / "one.mat").is_file()
    return folder / "one.img"


def metaimage(folder: Path) -> Path:
    (folder / "one.raw").write_bytes(RAW)
    return write_metaimage(folder / "one.mhd", file="one.raw")


def metaimage_in_one(folder: Path) -> Path:
    return write_metaimage(folder / "one.mha")


def metaimage_of_slices(folder: Path) -> Path:
    for z in range(3):
        (folder / f"s{z}.raw").write_bytes(RAW[40 * z : 40 * z + 40])
    return write_metaimage(folder / "one.mhd", file="s%d.raw 0 2 1")


def nrrd_of_a_list(folder: Path) -> Path:
    for z in range(3):
        (folder / f"s{z}.raw").write_bytes(RAW[40 * z : 40 * z + 40])
    path = folder / "one.nhdr"
    path.write_bytes(nrrd_text({"data file": None}, "data file: LIST", "s2.raw", "s0.raw", "s1.raw"))
    return path


def nrrd_by_another_name(folder: Path) -> Path:
    (folder / "one.raw").write_bytes(RAW)
    path = folder / "one.dat"
    path.write_bytes(nrrd_text({"data file": "one.raw"}))
    return path


def dicom(folder: Path) -> Path:
    (folder / "deep").mkdir()
    series_of(folder / "deep")
    return folder


def folder_of_a_link(folder: Path) -> Path:
    (folder / "elsewhere").mkdir()
    series_of(folder / "elsewhere")
    (folder / "scan").mkdir()
    (folder / "scan" / "link").symlink_to(folder / "elsewhere", target_is_directory=True)
    return folder / "scan"


def zipped(folder: Path) -> Path:
    (folder / "in").mkdir()
    series_of(folder / "in")
    with zipfile.ZipFile(folder / "one.zip", "w") as archive:
        for file in sorted((folder / "in").iterdir()):
            archive.write(file, file.name)
    return folder / "one.zip"


MADE = [
    nifti, pair, image_of_pair, packed_pair, pair_in_capitals, spm_analyze, metaimage, metaimage_in_one,
    metaimage_of_slices, nrrd_of_a_list, nrrd_by_another_name, dicom, folder_of_a_link, zipped,
]  # fmt: skip


@pytest.mark.parametrize("made", MADE, ids=lambda made: made.__name__)
def test_they_are_the_files_that_a_reading_opens(
    made: Callable[[Path], Path], tmp_path: Path, opened_in: Callable[[Path], set[Path]]
) -> None:
    path = made(tmp_path)
    (tmp_path / "other.raw").write_bytes(b"no part of it") if not path.is_dir() else None
    found = files_behind(path)
    assert len(set(found)) == len(found)
    assert set(found) == opened_in(path)


def test_the_order_of_a_list_is_kept(tmp_path: Path) -> None:
    assert [file.name for file in files_behind(nrrd_of_a_list(tmp_path))] == ["one.nhdr", "s2.raw", "s0.raw", "s1.raw"]


def test_what_cannot_be_read_stands_for_itself_until_it_can(tmp_path: Path) -> None:
    header = write_metaimage(tmp_path / "one.mhd", file="one.raw")
    assert files_behind(header) == (header,)
    (tmp_path / "one.raw").write_bytes(RAW)
    assert files_behind(header) == (header, tmp_path / "one.raw")
    with pytest.raises(FileNotFoundError):
        files_behind(tmp_path / "none.mhd")
