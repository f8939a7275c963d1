"""Point at a thing in a scan: its class by a model, and which known cases it is like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.cases.facts import facts_of
from napari_sparse3d.cases.finding import Finding, Millimetres, cutting_for, finding_in_scan, finding_of_label
from napari_sparse3d.cases.identity import recipe_hash
from napari_sparse3d.cases.seen import unlike_training
from napari_sparse3d.catalog import TRAINED
from napari_sparse3d.cohort.comparable import Origin, check_comparable
from napari_sparse3d.cohort.tables import Cohort, read_cohort
from napari_sparse3d.errors import InputError
from napari_sparse3d.measure.neighbours import similar
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import VoxelSet, voxelize

if TYPE_CHECKING:
    from napari_sparse3d.models import Model, Result

__all__ = ["Picked", "like", "pick", "shipped_cohort"]


@dataclass(frozen=True, eq=False)
class Picked:
    """What was pointed at, and what a model says of it.

    Attributes
    ----------
    finding : Finding
        The thing as a mask, and how that was found.
    voxels : VoxelSet
        What the model was run on.
    result : Result
        Its probabilities and embedding.
    outside_training : str or None
        In what the thing is unlike those that the model was trained on; ``""``: in nothing.
    like : list of dict
        The known cases that it is most like, the nearest first: the columns of the cohort, and ``distance``.
    """

    finding: Finding
    voxels: VoxelSet
    result: Result
    outside_training: str | None
    like: list[dict[str, Any]]


def pick(
    volume: Volume,
    model: Model | str = "nodule",
    *,
    at_mm: Millimetres | None = None,
    box_mm: Millimetres | None = None,
    label: int | None = None,
    above_hu: float | None = None,
    spacing_mm: float | None = None,
    k: int = 5,
    cohort: Cohort | None = None,
    engine: str = "auto",
    device: str = "auto",
) -> Picked:
    """Cut the thing at a place out of a scan, classify it, and find the known cases that it is like.

    Parameters
    ----------
    volume : Volume
        A CT in HU; with ``label``, a label map.
    model : Model or str
        One that was trained on masks of single things, such as ``nodule``.
    at_mm : tuple of float
        (s, a, r), a place inside the thing, in the world of ``volume.affine``. Needed unless there is a ``label``.
    box_mm : tuple of float, optional
        (s, a, r) sides of a box about ``at_mm``: the largest thing in it is taken.
    label : int, optional
        Take the voxels of this label instead of those above a threshold.
    above_hu, spacing_mm : float, optional
        From how many HU on a voxel is of the thing, and the size of the model's voxels; unless given, the model's own.
        A model that was trained without millimetres takes voxels as large as the scan's, where those are cubes.
    k : int
        How many known cases.
    cohort : Cohort, optional
        The known cases; unless given, those shipped with the model.
    engine, device : str
        As for ``Model.run``.

    Raises
    ------
    InputError
        If there is no such thing, in one line.
    """
    from napari_sparse3d.models import load_model

    network = load_model(model) if isinstance(model, str) else model
    how = cutting_for(network, spacing_mm=spacing_mm, above_hu=above_hu, own_mm=volume.spacing_mm)
    if label is not None:
        if box_mm is not None or above_hu is not None:
            raise InputError("a label says which voxels are meant; leave the box and the HU out")
        finding = finding_of_label(volume, label, how, at_mm=at_mm)
    elif at_mm is None:
        raise InputError("say where: a place in mm, or a label of a label map")
    else:
        finding = finding_in_scan(volume, at_mm, how, box_mm=box_mm)
    voxels = voxelize(finding.mask, network.card.recipe)
    result = network.run(voxels, engine=engine, device=device)
    facts = facts_of(finding.mask, with_content=False)
    outside = unlike_training(network.card, facts, voxels, result.input.active_percent)
    known = cohort if cohort is not None else shipped_cohort(network.card.name)
    origin = Origin(network.card.name, network.digest(), recipe_hash(network.card.recipe))
    return Picked(finding, voxels, result, outside, [] if known is None else like(result.embedding, known, origin, k))


def shipped_cohort(model: str) -> Cohort | None:
    """The known cases that are shipped with a model, if there are any."""
    path = TRAINED[model].cohort_path if model in TRAINED else None
    return None if path is None else read_cohort(path)


def like(embedding: NDArray[Any], known: Cohort, origin: Origin, k: int) -> list[dict[str, Any]]:
    """The rows of the known cases nearest to an embedding, with their ``distance`` and their number, ``index``.

    Raises
    ------
    InputError
        If another model or recipe has embedded them.
    """
    check_comparable(known, origin)
    indices, distances = similar(np.asarray(embedding)[None], known.embeddings, k)
    return [
        {**_said(known.row(int(index))), "index": int(index), "distance": float(distance)}
        for index, distance in zip(indices[0], distances[0], strict=True)
        if index >= 0
    ]


_NOT_SAID = ("model", "model_hash", "recipe", "recipe_hash", "schema", "status")


def _said(row: Mapping[str, Any]) -> dict[str, Any]:
    """What differs from case to case."""
    return {name: value for name, value in row.items() if name not in _NOT_SAID}
