"""Formats of scans: what a name or the first bytes of a file say, and where it is scanned, read and written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Literal

from napari_sparse3d.catalog.registry import Part, Registry

Stored = Literal["file", "folder", "files"]
"""What one image is: a file (with what its header names beside it), a folder, or many files that lie together."""

ARCHIVE_ENDINGS = (".zip",)
"""Of archives: what lies in one is scanned as if it lay in a folder."""

VOXEL_SET_ENDING = ".npz"


@dataclass(frozen=True, kw_only=True)
class FormatInfo(Part):
    """A format of scans.

    ``home`` scans: of a file or a folder it names a function of its path, which gives a sequence of
    :class:`~napari_sparse3d.io.SeriesInfo`, each with the loader of its voxels; where an image is many files, it names
    a class that keeps the contract of :class:`~napari_sparse3d.io.formats.Gatherer`. The other homes are ``""`` where
    there is no such code.

    Attributes
    ----------
    stored : {"file", "folder", "files"}
        What one image is.
    endings : tuple of str
        Of names that claim this format, in lower case and with the dot. What it is, its content decides.
    marks : tuple of str
        Names of which each lies in a folder that is an image of this format.
    sniff : str
        Home of a function that tells an image by its content: of the
        :class:`~napari_sparse3d.io.content.Beginning` of a file; of the path of a folder that has the marks.
    files : str
        Home of a function of a path: all files that its reading depends on. Unless given, the file itself, or all
        files below the folder.
    write : str
        Home of a function ``(data, scan, path)``: ``data`` (Z, Y, X) or (T, Z, Y, X), in a type of NIfTI's and NRRD's;
        ``scan`` the volume or sequence with its geometry; nothing is at ``path`` yet.
    written : tuple of str
        The endings under which it is written, the usual one first.
    names_each_time : bool
        Whether what is written says when each volume begins, also where they lie unevenly in time.
    """

    stored: Stored = "file"
    endings: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    sniff: str = ""
    files: str = ""
    write: str = ""
    written: tuple[str, ...] = ()
    names_each_time: bool = False

    def __post_init__(self) -> None:
        if self.stored == "folder" and not self.marks:
            raise ValueError(f"the format {self.name!r} is a folder: marks must name a file by which it is known")
        wrong = [ending for ending in self.endings + self.written if ending != ending.lower() or ending[:1] != "."]
        if wrong or bool(self.write) != bool(self.written):
            raise ValueError(
                f"the format {self.name!r} needs endings in lower case with a dot, and some for what it writes, "
                f"got {self.endings} and {self.written}"
            )


class Formats(Registry[FormatInfo]):
    """The formats by name, and by the endings of names."""

    @property
    def titles(self) -> str:
        """As a sentence has them: ``DICOM, NIfTI, NRRD``."""
        return ", ".join(part.title for part in self.values())

    def named(self, name: str) -> FormatInfo | None:
        """The format that the name of a file or folder claims."""
        return self.by_ending.get(self._ending(name, self._longest_first))

    def ending_of(self, name: str) -> str:
        """The ending of a name by which a reader is chosen: of a format, an archive or a voxel set; ``""`` if none."""
        return self._ending(name, self._of_any_reader)

    def written_as(self, name: str) -> FormatInfo | None:
        """The format that is written under a name."""
        return self.by_written_ending.get(self._ending(name, tuple(self.by_written_ending)))

    @cached_property
    def by_ending(self) -> Mapping[str, FormatInfo]:
        """What the endings of names claim, for each ending."""
        endings: dict[str, FormatInfo] = {}
        for part in self.values():
            for ending in part.endings:
                endings.setdefault(ending, part)
        return MappingProxyType(endings)

    @cached_property
    def by_written_ending(self) -> Mapping[str, FormatInfo]:
        """What is written under an ending, the usual one of each format before its others."""
        endings: dict[str, FormatInfo] = {}
        for part in self.values():
            for ending in part.written:
                endings.setdefault(ending, part)
        return MappingProxyType(endings)

    @cached_property
    def of_one_file(self) -> tuple[FormatInfo, ...]:
        """Those of which an image is a file."""
        return tuple(part for part in self.values() if part.stored == "file")

    @cached_property
    def of_one_folder(self) -> tuple[FormatInfo, ...]:
        """Those of which an image is a folder."""
        return tuple(part for part in self.values() if part.stored == "folder")

    @cached_property
    def of_many_files(self) -> tuple[FormatInfo, ...]:
        """Those of which an image is many files."""
        return tuple(part for part in self.values() if part.stored == "files")

    def forget(self) -> None:
        """Look for installed packages anew, when the formats are next asked for."""
        super().forget()
        for name, member in vars(type(self)).items():
            if isinstance(member, cached_property):
                self.__dict__.pop(name, None)

    @cached_property
    def _longest_first(self) -> tuple[str, ...]:
        return tuple(sorted(self.by_ending, key=len, reverse=True))

    @cached_property
    def _of_any_reader(self) -> tuple[str, ...]:
        return tuple(sorted((*self.by_ending, *ARCHIVE_ENDINGS, VOXEL_SET_ENDING), key=len, reverse=True))

    @staticmethod
    def _ending(name: str, endings: tuple[str, ...]) -> str:
        lower = name.lower()
        return next((ending for ending in endings if lower.endswith(ending)), "") if lower.endswith(endings) else ""


FORMATS = Formats(
    "format",
    "napari_sparse3d.formats",
    FormatInfo,
    [
        FormatInfo(
            name="dicom",
            title="DICOM",
            description="series of files, enhanced files, mosaics, segmentations",
            home="napari_sparse3d.io.dicom.gather:Gatherer",
            stored="files",
            endings=(".dcm", ".dicom", ".ima", ".dic"),
            sniff="napari_sparse3d.io.content:is_dicom",
        ),
        FormatInfo(
            name="nifti",
            title="NIfTI",
            description="NIfTI-1 and -2, and Analyze, as one file or a pair",
            home="napari_sparse3d.io.nifti:scan_nifti",
            endings=(".nii", ".nii.gz", ".hdr", ".img", ".hdr.gz", ".img.gz"),
            sniff="napari_sparse3d.io.content:is_nifti",
            files="napari_sparse3d.io.nifti_files:halves_of",
            write="napari_sparse3d.io.write:write_nifti",
            written=(".nii.gz", ".nii"),
        ),
        FormatInfo(
            name="nrrd",
            title="NRRD",
            description="with attached or detached voxels",
            home="napari_sparse3d.io.nrrd:scan_nrrd",
            endings=(".nrrd", ".nhdr"),
            sniff="napari_sparse3d.io.content:is_nrrd",
            files="napari_sparse3d.io.nrrd:files_of",
            write="napari_sparse3d.io.write:write_nrrd",
            written=(".nrrd",),
            names_each_time=True,
        ),
        FormatInfo(
            name="metaimage",
            title="MetaImage",
            description="with attached or detached voxels",
            home="napari_sparse3d.io.metaimage:scan_metaimage",
            endings=(".mha", ".mhd"),
            sniff="napari_sparse3d.io.content:is_metaimage",
            files="napari_sparse3d.io.metaimage:files_of",
        ),
        FormatInfo(
            name="mgh",
            title="MGH",
            description="FreeSurfer's, packed or not",
            home="napari_sparse3d.io.nifti:scan_nifti",
            endings=(".mgz", ".mgh"),
            sniff="napari_sparse3d.io.content:is_mgh",
        ),
    ],
)
