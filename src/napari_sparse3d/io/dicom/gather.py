"""Gathering the DICOM files of a scan, header by header, into series."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_sparse3d.errors import ReadError
from napari_sparse3d.io.dicom import segmentation
from napari_sparse3d.io.dicom.file_planes import planes_of
from napari_sparse3d.io.dicom.header import FileHeader, NotDicom, damage_as_read_error, read_header
from napari_sparse3d.io.dicom.person import identity_of
from napari_sparse3d.io.dicom.pixels import same_pixels
from napari_sparse3d.io.dicom.plane import Interner, Origin, Plane
from napari_sparse3d.io.dicom.series import Described, safe_meta, series_info
from napari_sparse3d.io.dicom.stack import stacks_of
from napari_sparse3d.io.faults import Fault, FaultKind
from napari_sparse3d.io.identity import patient_hash
from napari_sparse3d.io.naming import without_identity
from napari_sparse3d.io.series import DAMAGED, SeriesInfo


@dataclass
class _SeriesNotes:
    """What is remembered of a series beside its planes."""

    first: Described | None = None
    problems: list[str] = field(default_factory=list)
    broken: int = 0


@dataclass
class Gatherer:
    """The DICOM files of one scan so far: add them one by one, then list their series."""

    _planes: list[Plane] = field(default_factory=list)
    _intern: Interner = field(default_factory=Interner)
    _series: dict[Origin, _SeriesNotes] = field(default_factory=lambda: defaultdict(_SeriesNotes))
    _empty: dict[str, _SeriesNotes] = field(default_factory=lambda: defaultdict(_SeriesNotes))
    """Series without an image: reports, plans, structures."""
    _segmentations: list[SeriesInfo] = field(default_factory=list)
    _damaged: int = 0
    """Files that cannot be parsed: any of them may be a slice of one of the series."""

    def add(self, path: Path) -> bool:
        """Add one file; ``False`` if it is something else than an object of a series.

        Raises
        ------
        ReadError
            If it begins like DICOM and cannot be parsed; it is counted.
        """
        try:
            header = read_header(path)
            with damage_as_read_error():
                return self._add(header)
        except NotDicom:
            return False
        except ReadError:
            self._damaged += 1
            raise

    def _add(self, header: FileHeader) -> bool:
        uid, sop_class = header.text("SeriesInstanceUID"), header.text("SOPClassUID")
        if not (uid or sop_class or header.integer("Rows")):
            return False  # an index of other files (DICOMDIR)
        if sop_class in segmentation.SOP_CLASSES:
            described = _describe(header)
            self._segmentations.append(segmentation.scan_segmentation(header, described.description, described.patient))
            return True
        file_planes = planes_of(header, self._intern)
        key: Origin | str = file_planes.planes[0].kind.origin if file_planes.planes else uid
        group: dict[Any, _SeriesNotes] = self._series if file_planes.planes else self._empty
        # described before it is entered: a damaged header must leave nothing half-entered behind
        first = group[key].first if key in group else _describe(header)
        notes = group[key]
        notes.first = first
        notes.broken += file_planes.truncated
        if file_planes.problem and file_planes.problem not in notes.problems:
            notes.problems.append(file_planes.problem)
        self._planes.extend(file_planes.planes)
        return True

    def listed(self, source: Path, *, alone: bool) -> list[SeriesInfo]:
        """The series of all files added, each with its faults; ``alone`` where the scan found nothing else."""
        series = []
        for stack in stacks_of(self._planes, same_pixels):
            origins = dict.fromkeys(plane.kind.origin for plane in stack.planes)
            notes = [self._series[origin] for origin in origins]
            first = notes[0].first
            assert first is not None  # set when the series' first plane was added
            problems = dict.fromkeys(problem for note in notes for problem in note.problems)
            described = first.with_notes(sum(note.broken for note in notes), tuple(problems))
            series.append(series_info(stack, described, source))
        for empty in self._empty.values():
            assert empty.first is not None
            fault = Fault.of(FaultKind.NOT_A_VOLUME, "; ".join(empty.problems))
            series.append(_no_image(empty.first, fault, source))
        if self._damaged and (series or self._segmentations or not alone):
            reason = "they begin like DICOM but cannot be parsed, and may be slices of a series here"
            fault = Fault.of(FaultKind.UNREADABLE, reason)
            series.append(
                SeriesInfo(
                    0, DAMAGED, "", "", None, 1, None, "", "", self._damaged, (fault,), auxiliary=True, source=source
                )
            )
        return [*series, *self._segmentations]


def _no_image(described: Described, fault: Fault, source: Path) -> SeriesInfo:
    return SeriesInfo(
        0, "DICOM", described.modality, described.description, None, 1, None, "", "", 1, (fault,),
        patient=described.patient, auxiliary=True, source=source,
    )  # fmt: skip


def _describe(header: FileHeader) -> Described:
    identity = identity_of(header)
    description = header.text("SeriesDescription") or header.text("ProtocolName")
    return Described(
        without_identity(description, identity),
        patient_hash(header.text("PatientID")),
        safe_meta(header),
        header.text("Modality"),
        0,
        (),
        identity,
    )
