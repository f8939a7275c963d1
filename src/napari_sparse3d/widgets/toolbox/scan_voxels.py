"""A voxel set with all that it follows from. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import Recipe, VoxelSet

if TYPE_CHECKING:
    from napari_sparse3d.cases.facts import Facts
    from napari_sparse3d.cases.identity import CaseIdentity


@dataclass(frozen=True, eq=False)
class ScanVoxels:
    """A voxel set and what it comes from: the content of a layer with the role ``voxels``.

    Attributes
    ----------
    voxels : VoxelSet
    recipe : Recipe
        By which it was made.
    volume : Volume
        Of which.
    frame : int
        The time point, where the scan's layer has several.
    case : CaseIdentity
        Which case the scan is.
    saved : bool
        It was read from a file of voxels, and ``volume`` is its mask: ``recipe`` would only give its sites again.
    """

    voxels: VoxelSet
    recipe: Recipe
    volume: Volume
    frame: int
    case: CaseIdentity
    saved: bool = False

    def same_as(self, other: ScanVoxels) -> bool:
        """Whether both are one set, of one time point and by one recipe, though it was made twice.

        Which scan's is not known here. The voxels are compared themselves: a scan may have been changed since.
        """
        if self is other:
            return True
        if (self.frame, self.saved, self.recipe) != (other.frame, other.saved, other.recipe):
            return False
        ours, theirs = self.voxels, other.voxels
        return (
            ours.shape == theirs.shape
            and np.array_equal(ours.affine, theirs.affine)
            and np.array_equal(ours.indices, theirs.indices)
            and np.array_equal(ours.features, theirs.features)
        )

    @cached_property
    def facts(self) -> Facts:
        """What is known of its case, but for the content: quick to tell."""
        from napari_sparse3d.cases.facts import facts_of

        return facts_of(self.voxels if self.saved else self.volume, with_content=False)

    @cached_property
    def content(self) -> str:
        """SHA-256 of its case, as tables have it. All voxels are hashed: not for the thread of the window."""
        from napari_sparse3d.cases.identity import content_of_volume, content_of_voxels

        return content_of_voxels(self.voxels) if self.saved else content_of_volume(self.volume)

    def recipe_hash(self, of_model: Recipe) -> str:
        """As tables have it: a saved set, which does not say by what it was made, counts as the model takes it."""
        from napari_sparse3d.cases.identity import recipe_hash

        return recipe_hash(of_model if self.saved else self.recipe)
