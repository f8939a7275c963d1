"""``napari-sparse3d convert``: series become files of another format, or voxel sets."""

from __future__ import annotations

import errno
import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_sparse3d.catalog.formats import FORMATS, VOXEL_SET_ENDING
from napari_sparse3d.cli.common import CallError, JsonFlag, emit, finish, say, status, track
from napari_sparse3d.cli.options import (
    FrameOption,
    RecipeOption,
    RepairOption,
    ScanPath,
    SeriesOption,
    check_not_the_input,
    check_output,
    check_output_folder,
    find_recipe,
    read_voxels,
)
from napari_sparse3d.errors import failure_line

if TYPE_CHECKING:
    from napari_sparse3d.io import SeriesInfo, VolumeSequence
    from napari_sparse3d.voxels import Recipe


def convert(
    path: ScanPath,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="A {written} or .npz file, or a folder for all.",
        ),
    ],
    series: SeriesOption = None,
    frame: FrameOption = None,
    repair: RepairOption = None,
    recipe: RecipeOption = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="ENDING", help="What to write into a folder: {written} or .npz. Unless given, .nii.gz."
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Convert series to another format, or (with --recipe) to voxel sets.

    A series in time is written as one 4D file, unless --frame chooses a volume. A series with a fault that would
    falsify its geometry is refused, with the reason; the others are written.

    Exit code 1 if a series of images was refused, a file is damaged, or nothing was written.

    Example: napari-sparse3d convert dicom-folder -o converted/
    """
    from napari_sparse3d.io import scan
    from napari_sparse3d.io.read import choose_series

    endings = (*FORMATS.by_written_ending, VOXEL_SET_ENDING)
    into_folder = _is_folder_of_many(output, endings)
    if into_folder and re.search(r"\.[A-Za-z][A-Za-z0-9]{1,5}$", output.name) and not output.is_dir():
        raise CallError(f"the output must end in {', '.join(endings)} or name a folder, got {output.name!r}")
    wanted = ".nii.gz" if to is None else (to if to.startswith(".") else f".{to}").lower()
    if wanted not in endings:
        raise CallError(f"--to must be one of {', '.join(endings)}, got {to!r}")
    ending = wanted if into_folder else _ending(output.name, endings)
    if to is not None and wanted != ending:
        raise CallError(f"--to {to} says what to write into a folder, and the output is a {ending} file; leave one out")
    if (ending == VOXEL_SET_ENDING) != (recipe is not None):
        raise CallError("a voxel set (.npz) is made by a recipe: give --recipe with .npz, and only with it")
    how = None if recipe is None else find_recipe(recipe)
    if into_folder or _is_one_folder(output):
        check_output_folder(output)
    else:
        check_output(output, *endings)
    check_not_the_input(path, output)
    with status("Reading headers"):
        series_here = [choose_series(path, series)] if series is not None or not into_folder else scan(path)
    results: list[dict[str, Any]] = []
    missing = ""
    for info in track(series_here, "Converting") if into_folder else series_here:
        target = output / f"{_file_stem(info)}{ending}" if into_folder else output
        try:
            results.append(_convert_one(info, target, how, frame, repair))
        except _NoRoom as error:  # for none of those that follow either
            missing = str(error)
            if len(series_here) > 1:
                missing += f"; {len(series_here) - len(results)} of {len(series_here)} series were not written"
            results += [_result(each, status="refused", error=missing) for each in series_here[len(results) :]]
            break
    if as_json:
        emit({"series": results})
    for result in results:
        if result["status"] == "read":
            say(f"series {result['index']}: written to {result['out']}")
            for note in result["notes"]:
                say(f"series {result['index']}: {note}")
    refused = [result for result in results if result["status"] == "refused"]
    # reports, screenshots and the like are passed over beside what was written; alone they are all that was asked for
    passed_over = [result for result in refused if result["auxiliary"]] if len(refused) < len(results) else []
    if not as_json:
        for result in passed_over:
            say(f"series {result['index']}: passed over, {result['error']}")
    errors = [result["error"] for result in refused if result not in passed_over]
    finish([*(line for line in errors if line != missing), *([missing] if missing in errors else [])])


def _is_one_folder(output: Path) -> bool:
    """Whether a single series is written as a folder of this name."""
    written = FORMATS.written_as(output.name)
    return written is not None and written.stored == "folder"


def _is_folder_of_many(output: Path, endings: tuple[str, ...]) -> bool:
    return not _is_one_folder(output) and (output.is_dir() or not output.name.lower().endswith(endings))


def _ending(name: str, endings: tuple[str, ...]) -> str:
    return next(ending for ending in endings if name.lower().endswith(ending))


def _file_stem(info: SeriesInfo) -> str:
    words = re.sub(r"[^A-Za-z0-9]+", "_", f"{info.modality or info.format}_{info.description}").strip("_")
    return f"{info.index:02d}_{words}"[:60].rstrip("_")


class _NoRoom(Exception):
    """The place of the output takes nothing any more."""


_TAKES_NOTHING = {errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EPERM, getattr(errno, "EDQUOT", errno.ENOSPC)}


def _result(info: SeriesInfo, **more: Any) -> dict[str, Any]:
    from napari_sparse3d.io import FaultKind

    return {
        "index": info.index,
        "description": info.description,
        "status": "read",
        "faults": [fault.as_dict() for fault in info.faults],
        "error": None,
        "out": None,
        # a damaged file may be a part of any series here: it is not passed over
        "auxiliary": info.auxiliary and not any(fault.kind is FaultKind.UNREADABLE for fault in info.faults),
        "notes": [],
        **more,
    }


def _convert_one(
    info: SeriesInfo, target: Path, recipe: Recipe | None, frame: int | None, repair: str | None
) -> dict[str, Any]:
    from napari_sparse3d.io import read_volume, write_volume
    from napari_sparse3d.volume import Volume

    try:
        if recipe is not None:
            voxels = read_voxels(info, recipe, frame=frame, repair=repair)
            _write(voxels.save, target)
            return _result(info, out=target)
        scan = info.load(None, repair) if frame is None else read_volume(info, frame=frame, repair=repair)
        _write(functools.partial(write_volume, scan), target)
        notes = [] if isinstance(scan, Volume) else _of_time(scan, target)
        return _result(info, out=target, notes=notes)
    except _NoRoom:
        raise
    except Exception as error:  # whatever is wrong with one series, the others are converted
        return _result(info, status="refused", error=failure_line(error))


def _write(write: Callable[[Path], Any], target: Path) -> None:
    try:
        write(target)
    except OSError as error:
        if error.errno in _TAKES_NOTHING:
            raise _NoRoom(failure_line(error)) from error
        raise


def _of_time(sequence: VolumeSequence, target: Path) -> list[str]:
    """What the file that was written cannot say of the times of its volumes."""
    if len(sequence) < 2 or sequence.step_s is not None:
        return []
    if sequence.times_s is None:
        return ["the time between its volumes is not known: the file claims none"]
    written = FORMATS.written_as(target.name)
    if written is None or written.names_each_time:
        return []
    uneven = f"its volumes lie unevenly in time, which {written.title} has no field for"
    return [f"{uneven}: the file claims no time between them"]
