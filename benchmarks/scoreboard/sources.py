"""Who answers: our product, dcm2niix and the set's published reference."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import nibabel

from napari_sparse3d.errors import ReadError
from napari_sparse3d.io import SeriesInfo, scan
from scoreboard.images import Image, from_nifti, from_sequence, stem

DCM2NIIX = "1.0.20260724"
_REPAIRED = re.compile(r"_(Eq|Tilt)(_\d+)?[a-z]?$")
_OVERLAY = re.compile(r"_ROI\d+[a-z]?$")


@dataclass
class Answer:
    """What one reader made of a set.

    Parameters
    ----------
    images : list of Image
        What it read.
    refused : dict
        What it did not read, and why: a name to a reason.
    """

    images: list[Image] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


@contextmanager
def dicom_of(folder: Path) -> Iterator[Path]:
    """The DICOM files of a set: its ``In`` folder, ``in.tar.xz`` unpacked for as long as needed, or the set itself."""
    packed = folder / "in.tar.xz"
    if packed.is_file():
        with tempfile.TemporaryDirectory() as scratch, tarfile.open(packed) as archive:
            archive.extractall(scratch, filter="data")
            yield Path(scratch)
    else:
        yield next((folder / name for name in ("In", "in") if (folder / name).is_dir()), folder)


def ours(dicom: Path) -> Answer:
    """Every series that our scan lists: read, or refused with its reason."""
    answer = Answer()
    try:
        listed = scan(dicom)
    except ReadError as error:
        return Answer(refused={"the folder": str(error)})
    for info in listed:
        if "DICOM" not in info.format:
            continue
        name = _label(info)
        try:
            image = from_sequence(info.load(), name)
        except ReadError as error:
            answer.refused[name] = info.reason or str(error)
        else:
            answer.images.append(image)
    return answer


def _label(info: SeriesInfo) -> str:
    return f"{info.index}: {info.description or info.modality}"


def by_dcm2niix(program: Path, dicom: Path) -> Answer:
    """What dcm2niix makes of the same files; what it resampled, and overlays, are left out."""
    with tempfile.TemporaryDirectory() as out:
        command = [str(program), "-b", "y", "-z", "n", "-f", "%s_%d", "-o", out, str(dicom)]
        subprocess.run(command, check=False, capture_output=True)
        return _niftis(Path(out))


def published(folder: Path) -> Answer:
    """The set's own reference."""
    return _niftis(next((folder / name for name in ("Ref", "ref") if (folder / name).is_dir()), None))


def _niftis(folder: Path | None) -> Answer:
    answer = Answer()
    found = sorted(path for path in folder.iterdir() if path.name.endswith((".nii", ".nii.gz"))) if folder else []
    for path in found:
        if _OVERLAY.search(stem(path)) or _REPAIRED.search(stem(path)):
            continue
        try:
            answer.images.append(from_nifti(path))
        except (ValueError, OSError, nibabel.filebasedimages.ImageFileError) as error:
            answer.refused[stem(path)] = str(error).splitlines()[0]
    return answer


def find_dcm2niix(given: Path | None) -> Path | None:
    """The program: the one that was named, beside this Python, or on PATH."""
    if given is not None:
        return given
    beside = Path(sys.executable).with_name("dcm2niix")
    found = str(beside) if beside.is_file() else shutil.which("dcm2niix")
    return Path(found) if found else None


def version_of(program: Path) -> str:
    """What the program calls itself, such as ``"v1.0.20260724"``."""
    said = subprocess.run([str(program), "--version"], check=False, capture_output=True, text=True).stdout
    return said.strip().splitlines()[-1] if said.strip() else "of an unknown version"
