"""Reading: a path becomes a volume, exactly, or an error that says why not."""

from __future__ import annotations

from collections.abc import Sequence

from napari_sparse3d.environment import check_environment
from napari_sparse3d.errors import InputError, ReadError
from napari_sparse3d.io.scanning import PathLike, scan
from napari_sparse3d.io.series import DAMAGED, SeriesInfo, VolumeSequence
from napari_sparse3d.volume import Volume


def read_volume(
    path: PathLike | Sequence[PathLike] | SeriesInfo,
    *,
    series: int | None = None,
    frame: int | None = None,
    repair: str | None = None,
) -> Volume:
    """Read one volume.

    Parameters
    ----------
    path : path, sequence of paths or SeriesInfo
        A file, a folder, a ``.zip`` of a series, a list of files, or a series that :func:`scan` found.
    series : int, optional
        Which series, by its index in :func:`scan`. Needed where the path holds several that could be meant.
    frame : int, optional
        Which volume of a series in time, from 0. Needed where there are several.
    repair : {"resample", "magnitude"}, optional
        ``"resample"`` brings a tilted or unevenly spaced stack onto a true grid by linear interpolation;
        ``"magnitude"`` reads the magnitude of complex voxels. What was done is in ``meta["repairs"]``. A sound series
        is read as it is, whatever is asked for.

    Returns
    -------
    Volume
        ``data`` (Z, Y, X) = (S, A, R), ``affine`` to world mm in the same order. CT in HU.

    Raises
    ------
    ReadError
        With the reason, where no exact volume can be made: a gap, a tilt, copies that differ, several series, ...
    InputError
        Where ``series`` or ``frame`` is out of range.
    """
    info = choose_series(path, series)
    if frame is None and info.n_frames > 1 and info.readable:
        raise ReadError(
            f"the series holds {info.n_frames} volumes; choose one with frame=0 to {info.n_frames - 1} (--frame), "
            "or read all of them with read_sequence"
        )
    chosen = 0 if frame is None else frame
    sequence = info.load([chosen], repair)
    volume = sequence.volume(0)
    name = volume.name if info.n_frames == 1 else f"{volume.name} [{chosen}]"
    return Volume(volume.data, volume.affine, volume.unit, volume.modality, name, volume.meta)


def read_sequence(
    path: PathLike | Sequence[PathLike] | SeriesInfo, *, series: int | None = None, repair: str | None = None
) -> VolumeSequence:
    """Read all volumes of a series in time (or the one of a plain series), time first.

    Parameters, errors: as :func:`read_volume`.
    """
    return choose_series(path, series).load(None, repair)


def choose_series(
    path: PathLike | Sequence[PathLike] | SeriesInfo,
    series: int | None = None,
    *,
    found: Sequence[SeriesInfo] | None = None,
) -> SeriesInfo:
    """The series that is meant: the one asked for, or the only one that can be; of ``found`` by a scan of the path.

    Raises
    ------
    ReadError
        If the path holds several.
    InputError
        If there is no series of that index, or one of our environment variables cannot be used.
    """
    check_environment()
    if isinstance(path, SeriesInfo):
        return path
    found = scan(path) if found is None else found
    if series is not None:
        if not 0 <= series < len(found):
            raise InputError(
                f"series must be 0 to {len(found) - 1}, got {series}; list them with scan (napari-sparse3d info)"
            )
        return found[series]
    return only_series(found)


def only_series(found: Sequence[SeriesInfo]) -> SeriesInfo:
    """The one series among ``found`` that a user can mean.

    Scouts, reports, screenshots and files of other formats beside DICOM series are passed over when they are series of
    their own; a series identifier that holds several groups of images is ambiguous whatever they are.

    Raises
    ------
    ReadError
        If several remain.
    """
    candidates = [info for info in found if not (info.localizer or info.auxiliary)]
    dicom = [info for info in candidates if info.format == "DICOM"]
    candidates = dicom or candidates or [info for info in found if info.loader is not None] or list(found)
    damaged = sum(info.n_files for info in found if info.format == DAMAGED)
    if damaged and dicom:
        raise ReadError(
            f"{damaged} damaged file{'s' if damaged > 1 else ''} may belong to the series here; copy again, or choose "
            "with series=N (--series N) to read without them"
        )
    mixed = [info for info in found if any(fault.kind.value.startswith("mixed") for fault in info.faults)]
    if len(candidates) == 1 and not mixed:
        return candidates[0]
    if len(candidates) == 1 and len(found) == 1:
        return candidates[0]
    several = list(found) if mixed and len(candidates) == 1 else candidates
    listed = "; ".join(_one_line(info) for info in several[:6]) + ("; ..." if len(several) > 6 else "")
    why = next(
        (fault.kind.value for info in mixed for fault in info.faults if fault.kind.value.startswith("mixed")), ""
    )
    raise ReadError(
        f"{len(several)} series are there{f' ({why})' if why else ''}: {listed}; choose one with series=N (--series N)"
    )


def _one_line(info: SeriesInfo) -> str:
    size = "no volume" if info.shape is None else " x ".join(str(n) for n in info.shape)
    # of other formats the description is made of the file's name, which errors do not repeat
    described = info.description if "DICOM" in info.format else ""
    return f"{info.index}: {info.modality or info.format} {described} {size}".replace("  ", " ")
