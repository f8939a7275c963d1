"""Scanning: a file, a folder tree, a list of files or a zip becomes a list of series. Headers only."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from napari_sparse3d.errors import InputError, ReadError
from napari_sparse3d.io import nifti
from napari_sparse3d.io.archive import is_zip, scan_zip
from napari_sparse3d.io.dicom import segmentation
from napari_sparse3d.io.dicom.header import IDENTIFYING, FileHeader, NotDicom, damage_as_read_error, read_header
from napari_sparse3d.io.dicom.pixels import same_pixels
from napari_sparse3d.io.dicom.plane import Interner, Plane, planes_of
from napari_sparse3d.io.dicom.series import Described, safe_meta, series_info
from napari_sparse3d.io.dicom.stack import stacks_of
from napari_sparse3d.io.faults import Fault, FaultKind
from napari_sparse3d.io.identity import patient_hash
from napari_sparse3d.io.naming import identity_words, safe_file_name, without_identity
from napari_sparse3d.io.series import DAMAGED, SeriesInfo

PathLike = str | os.PathLike[str]
Progress = Callable[[int], None]
"""Called with the number of files looked at so far. It may raise, to cancel the scan."""

MAX_FILES = 2_000_000
_ITK_SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")


def scan(path: PathLike | Sequence[PathLike], *, progress: Progress | None = None) -> list[SeriesInfo]:
    """List every series under a path. Headers only; no voxel is read.

    Parameters
    ----------
    path : path or sequence of paths
        A file, a folder (with everything below it), a ``.zip`` of files, or a list of files.
    progress : callable, optional
        Called with the number of files looked at, now and then; cancel by raising from it.

    Returns
    -------
    list of SeriesInfo
        DICOM series first, by series number; then other files. Each with its faults.

    Raises
    ------
    ReadError
        If there is nothing at the path, or nothing in it that can be read.
    """
    given = [path] if isinstance(path, (str, os.PathLike)) else list(path)
    if not given:
        raise InputError("an empty list of files was given; name at least one file or folder")
    roots = [Path(item) for item in given]
    for root in roots:
        if not root.exists():
            raise ReadError(f"no such file or folder: {root}")
    if len(roots) == 1 and is_zip(roots[0]):
        return scan_zip(roots[0], lambda folder: scan(folder, progress=progress))
    named = len(roots) == 1 and roots[0].is_file()
    collected = _Collected()
    count = 0
    for file in _files(roots):
        _look_at(file, collected, named=named)
        count += 1
        if progress is not None and count % 50 == 0:
            progress(count)
    if progress is not None:
        progress(count)
    series = _listed(collected, roots[0])
    if not series:
        raise ReadError(_nothing(roots, count, collected))
    return [info.at(index) for index, info in enumerate(series)]


@dataclass
class _SeriesNotes:
    """What is remembered of a series beside its planes."""

    first: Described | None = None
    problems: list[str] = field(default_factory=list)
    broken: int = 0
    sop_class: str = ""
    modality: str = ""


@dataclass
class _Collected:
    planes: list[Plane] = field(default_factory=list)
    intern: Interner = field(default_factory=Interner)
    series: dict[str, _SeriesNotes] = field(default_factory=lambda: defaultdict(_SeriesNotes))
    empty: dict[str, _SeriesNotes] = field(default_factory=lambda: defaultdict(_SeriesNotes))
    """DICOM series without an image: reports, plans, structures."""
    other: list[SeriesInfo] = field(default_factory=list)
    damaged: int = 0
    """DICOM files that cannot be parsed: any of them may be a slice of one of the series."""
    failures: list[str] = field(default_factory=list)
    """Why a file that looked like an image could not be read."""


def _files(roots: Iterable[Path]) -> Iterator[Path]:
    """All files below the roots in a stable order; each folder once, so that links cannot lead in a circle."""
    count = 0
    for root in roots:
        if root.is_file():
            yield root
            continue
        visited: set[tuple[int, int]] = set()
        for folder, folders, names in os.walk(root, followlinks=True, onerror=_refuse_folder):
            status = Path(folder).stat()
            key = (status.st_dev, status.st_ino)
            if key in visited:
                folders.clear()
                continue
            visited.add(key)
            folders.sort()
            for name in sorted(names):
                file = Path(folder, name)
                if file.is_file():  # not a pipe, a socket or a dead link
                    count += 1
                    if count > MAX_FILES:
                        raise ReadError(
                            f"more than {MAX_FILES} files below the folder; name a folder nearer to the series"
                        )
                    yield file


def _refuse_folder(error: OSError) -> None:
    # a folder that is passed over in silence may hold half of a series
    raise ReadError(
        "a folder below cannot be opened: check its permissions, or name the folder of the series itself"
    ) from error


def _look_at(file: Path, collected: _Collected, *, named: bool) -> None:
    """Add what one file holds; ``named`` when the user named it, so that what it is not is worth an error."""
    lower = file.name.lower()
    try:
        if lower.endswith(nifti.SUFFIXES):
            if lower.endswith((".img", ".img.gz")) and not named and _header_beside(file):
                return  # listed once, by its header
            collected.other.append(nifti.scan_nifti(file))
        elif lower.endswith(_ITK_SUFFIXES):
            from napari_sparse3d.io import itk  # SimpleITK is large, and a DICOM folder does not need it

            collected.other.append(itk.scan_itk(file))
        else:
            _add_dicom(read_header(file), collected)
    except NotDicom:
        if named:
            collected.failures.append(
                "the file is not DICOM, NIfTI, NRRD, MetaImage, MGH or a zip of them; convert it to NIfTI first"
            )
    except ReadError as error:
        collected.failures.append(str(error))
        if lower.endswith((*nifti.SUFFIXES, *_ITK_SUFFIXES)):
            if not named:
                collected.other.append(_unreadable(file, str(error)))
        else:
            collected.damaged += 1
    except OSError as error:
        collected.failures.append(f"a file cannot be opened ({type(error).__name__}); check its permissions")


def _header_beside(image: Path) -> bool:
    stem = image.name[: image.name.lower().rindex(".img")]
    return any((image.parent / (stem + suffix)).is_file() for suffix in (".hdr", ".hdr.gz"))


def _unreadable(file: Path, reason: str) -> SeriesInfo:
    fault = Fault.of(FaultKind.UNREADABLE, reason)
    return SeriesInfo(
        0, "unreadable", "", safe_file_name(file), None, 1, None, "", "", 1, (fault,), auxiliary=True, source=file
    )


def _add_dicom(header: FileHeader, collected: _Collected) -> None:
    with damage_as_read_error():
        _add_planes(header, collected)


def _add_planes(header: FileHeader, collected: _Collected) -> None:
    if header.text("SOPClassUID") in segmentation.SOP_CLASSES:
        described = _describe(header)
        collected.other.append(segmentation.scan_segmentation(header, described.description, described.patient))
        return
    found = planes_of(header, collected.intern)
    uid = header.text("SeriesInstanceUID")
    group = collected.series if found.planes else collected.empty
    # described before it is entered: a damaged header must leave nothing half-entered behind
    first = group[uid].first if uid in group else _describe(header)
    notes = group[uid]
    notes.first = first
    notes.broken += found.truncated
    if found.problem and found.problem not in notes.problems:
        notes.problems.append(found.problem)
    collected.planes.extend(found.planes)


def _describe(header: FileHeader) -> Described:
    identity = identity_words(header.text(keyword) for keyword in IDENTIFYING)
    description = header.text("SeriesDescription") or header.text("ProtocolName")
    return Described(
        without_identity(description, identity),
        patient_hash(header.text("PatientID")),
        safe_meta(header),
        header.text("SOPClassUID"),
        header.text("Modality"),
        0,
        (),
    )


def _listed(collected: _Collected, source: Path) -> list[SeriesInfo]:
    series = []
    for stack in stacks_of(collected.planes, same_pixels):
        notes = collected.series[stack.kind.series_uid]
        assert notes.first is not None  # set when the series' first plane was added
        described = notes.first.with_notes(notes.broken, tuple(notes.problems))
        series.append(series_info(stack, described, source))
    for notes in collected.empty.values():
        assert notes.first is not None
        fault = Fault.of(FaultKind.NOT_A_VOLUME, "; ".join(notes.problems))
        series.append(
            SeriesInfo(
                0,
                "DICOM",
                notes.first.modality,
                notes.first.description,
                None,
                1,
                None,
                "",
                "",
                1,
                (fault,),
                patient=notes.first.patient,
                auxiliary=True,
                source=source,
            )
        )
    if collected.damaged and (series or collected.other):
        reason = "they begin like DICOM but cannot be parsed, and may be slices of a series here"
        fault = Fault.of(FaultKind.UNREADABLE, reason)
        series.append(
            SeriesInfo(
                0, DAMAGED, "", "", None, 1, None, "", "", collected.damaged, (fault,), auxiliary=True, source=source
            )
        )
    return [*series, *collected.other]


def _nothing(roots: list[Path], count: int, collected: _Collected) -> str:
    if collected.failures:
        return collected.failures[0]
    if count == 0:
        return "the folder is empty; name a folder that holds DICOM, NIfTI, NRRD or MetaImage files"
    return (
        f"none of {count} files is DICOM, NIfTI, NRRD or MetaImage; name another folder, or convert them to NIfTI first"
    )
