"""What drove an answer: an attribution at the voxels that the model was shown, and over their scan."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.errors import InputError
from napari_sparse3d.explain.methods import attribute_by_step, method_of
from napari_sparse3d.explain.placing import on_grid, values_at
from napari_sparse3d.explain.steps import result_of
from napari_sparse3d.models import Result
from napari_sparse3d.sparse import use_engine
from napari_sparse3d.text import did_you_mean
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import VoxelSet, centre_offset


@dataclass(frozen=True, eq=False)
class Explanation:
    """A value for each voxel that a model was shown.

    Attributes
    ----------
    values : ndarray
        (N,) float32, in the order of ``voxels.indices``, in units of the logit. Above 0 a voxel speaks for the class,
        below 0 against it. What is not active has no value.
    voxels : VoxelSet
        What the model was shown.
    target : int
        The class, from 0.
    class_name : str
    method : str
        Its name in ``catalog.ATTRIBUTIONS``.
    layer : str
        Whose sites were looked at; ``"input"``. Each voxel has the value of the nearest.
    """

    values: NDArray[np.float32]
    voxels: VoxelSet = field(repr=False)
    target: int
    class_name: str
    method: str
    layer: str

    @property
    def remark(self) -> str:
        """What has to be said of it; "" where nothing has to."""
        at = "" if self.layer == "input" else f" at {self.layer}"
        return "" if self.values.any() else f"the {self.method}{at} is 0 at every voxel; choose another method"

    def as_voxels(self) -> VoxelSet:
        """The same voxels with their values as the only feature."""
        shown = self.voxels
        return VoxelSet(shown.indices, self.values[:, None], shown.shape, shown.affine)

    def over(self, shape: tuple[int, int, int], affine: NDArray[np.float64]) -> Volume:
        """As a volume on the scan's own grid, 0 wherever nothing is active.

        Each voxel of the scan has the value of the nearest voxel of the set, which may be coarser or finer.

        Parameters
        ----------
        shape, affine
            Those of the scan.

        Raises
        ------
        InputError
            If the set is turned against the scan.
        """
        dense = np.zeros(self.voxels.shape, dtype=np.float32)
        dense[tuple(self.voxels.indices.T)] = self.values
        values = on_grid(dense, shape, np.linalg.inv(self.voxels.affine) @ affine)
        return Volume(values, affine, name="attribution")

    def record(self) -> dict[str, Any]:
        """Of what, by what and how much: plain numbers."""
        values = self.values
        return {
            "class": self.class_name,
            "class_number": self.target,
            "method": self.method,
            "layer": self.layer,
            "unit": "logit",
            "lowest": float(values.min()),
            "highest": float(values.max()),
            "sum": float(values.sum(dtype=np.float64)),
            "n_active": len(values),
            "n_for": int((values > 0).sum()),
            "n_against": int((values < 0).sum()),
        }


def explain(result: Result, voxels: VoxelSet, target: int | str | None = None, method: str = "") -> Explanation:
    """Attribute a class of a result to the voxels that the model was shown.

    Parameters
    ----------
    result : Result
        What :meth:`~napari_sparse3d.models.Model.run` gave for ``voxels``.
    voxels : VoxelSet
    target : int or str, optional
        The class, by its number from 0 or its name; unless given, the most probable one.
    method : str, optional
        A name in ``catalog.ATTRIBUTIONS``; by default the first of them.

    Raises
    ------
    InputError
        If there is no such class or method, what the method needs is not installed, nothing is active, or the
        gradients are not finite.
    """
    return result_of(explain_by_step(result, voxels, target, method))


def explain_by_step(
    result: Result, voxels: VoxelSet, target: int | str | None = None, method: str = ""
) -> Generator[tuple[int, int], None, Explanation]:
    """As :func:`explain`; yields how many steps are done, of how many, so that the caller can stop."""
    info = method_of(method)
    classes = result.model.card.classes
    number = int(result.probabilities.argmax()) if target is None else class_number(classes, target)
    network, x = result.model.network, result.input
    with use_engine(result.choice.engine):
        said = yield from attribute_by_step(network, x, number, info.name)
    places = voxels.indices + np.array(centre_offset(voxels.shape, result.model.describer.field), dtype=np.int32)
    sites, at_sites = said.indices[:, 1:].cpu().numpy(), said.values.detach().float().cpu().numpy()
    values = values_at(places, sites, at_sites, said.grid, said.spatial_shape)
    if not np.isfinite(values).all():
        raise InputError(f"the {info.title} of class {classes[number]!r} is not finite; choose another method")
    return Explanation(values, voxels, number, classes[number], info.name, said.layer)


def class_number(classes: tuple[str, ...], wanted: int | str) -> int:
    """The number of a class, from 0, by its name or its number; a name goes before a number that is spelled the same.

    Raises
    ------
    InputError
        If there is none.
    """
    if isinstance(wanted, str) and wanted in classes:
        return classes.index(wanted)
    number = int(wanted) if isinstance(wanted, int) or wanted.isdecimal() else -1
    if 0 <= number < len(classes):
        return number
    hint = did_you_mean(wanted, classes) if isinstance(wanted, str) else ""
    some = ", ".join(classes[:10]) + (", ..." if len(classes) > 10 else "")
    raise InputError(f"there is no class {wanted!r}; choose {some}, or a number from 0 to {len(classes) - 1}{hint}")
