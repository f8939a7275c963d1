"""The session of a thing that was pointed at. No Qt."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from napari_sparse3d.cohort.classes import ClassNumbers
from napari_sparse3d.widgets import repeat
from napari_sparse3d.widgets.cohort.colours import colouring
from napari_sparse3d.widgets.pick.state import Answer
from napari_sparse3d.widgets.toolbox.notes import read_words
from napari_sparse3d.widgets.toolbox.session_folder import (
    Lines,
    finish,
    input_record,
    make_folder,
    save_csv,
    save_figure,
)
from napari_sparse3d.widgets.toolbox.words import RESEARCH_ONLY

FOUND = "finding"
"""Of the files that hold what was cut out: as a voxel set, and as a mask."""


def save_pick_session(folder: Path, answer: Answer, source: repeat.Source | None, lines: Lines) -> list[Path]:
    """Write what was cut out, the known cases most like it, their map, hashes, versions and the lines.

    Parameters
    ----------
    folder : Path
        As in :func:`save_network_session`.
    answer : Answer
    source : Source or None
        Where the scan or label map was read from.
    lines : Lines
        What repeats it, without names; empty where nothing can.
    """
    make_folder(folder)
    finding, result, volume = answer.finding, answer.result, answer.target.volume
    answer.made.voxels.save(folder / f"{FOUND}.npz")
    if answer.target.in_patient:  # else an image of it would lie anywhere
        from napari_sparse3d.io.write import write_volume

        write_volume(finding.mask, folder / f"{FOUND}.nii.gz")
    if answer.like:
        save_csv(answer.like, folder / "similar.csv")
    if answer.known is not None and answer.here is not None:
        from napari_sparse3d.pictures.maps import map_figure

        colours = colouring(answer.known.cohort, "label", ClassNumbers())
        title = f"{len(answer.known.cohort):,} known cases by PCA; + is this one"
        here = answer.here.tolist()
        figure = map_figure(
            answer.known.positions, colours.values, title=title, name="label", here=here, numbers_of=colours.numbers
        )
        save_figure(figure, folder / "map")
    s, a, r = finding.centre_mm
    record = {
        "input": None if source is None else input_record(source.path),
        "input_notes": read_words(volume.meta, volume.unit),
        "pointed_at": asdict(answer.target.pointed),
        "centre_mm": {"R": r, "A": a, "S": s},
        "extent_mm": dict(zip("SAR", finding.extent_mm, strict=True)),
        "volume_mm3": finding.volume_mm3,
        "spacing_mm": list(finding.mask.spacing_mm),
        "notes": list(finding.notes),
        "model": {
            "name": result.model.name,
            "argument": repeat.model_without_name(result.request.model),
            "sha256": result.model.sha256 or None,
            "model_hash": result.model_hash,
        },
        "engine": result.engine,
        "device": result.device,
        "classes": list(result.model.classes),
        "probabilities": [float(value) for value in result.probabilities],
        "embedding": [float(value) for value in result.embedding],
        "outside_training": result.outside_training,
        "note": RESEARCH_ONLY,
    }
    return finish(folder, record, lines)
