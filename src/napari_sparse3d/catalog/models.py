"""The trained models that have a name; what each is, its card in the file says."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from napari_sparse3d.catalog.registry import Part, Registry
from napari_sparse3d.errors import CatalogError


@dataclass(frozen=True, kw_only=True)
class TrainedInfo(Part):
    """A trained model. ``home`` is ``package:file``: a ``.safetensors`` file below the package's folder.

    Attributes
    ----------
    above_hu : float or None
        Of a model of masks: which voxels of a CT are such a mask where somebody points at a thing in it, from so many
        HU on. None: not known, they are asked for.
    cohort : str
        ``package:file``: a table of cases that it has embedded, to compare with; ``""``: none is shipped.
    """

    above_hu: float | None = None
    cohort: str = ""

    @property
    def path(self) -> Path:
        """Where its file is; the package is not imported.

        Raises
        ------
        CatalogError
            If it is not there.
        """
        return self._shipped(self.home)

    @property
    def cohort_path(self) -> Path | None:
        """Where the table of its cases is, if one is shipped; raises as :attr:`path`."""
        return self._shipped(self.cohort) if self.cohort else None

    def _shipped(self, home: str) -> Path:
        package, _, file = home.partition(":")
        try:
            spec = find_spec(package)  # of a package within others it imports those
        except Exception:  # whatever is wrong with them: the file is not to be had
            spec = None
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            if (path := Path(folder, file)).is_file():
                return path
        raise CatalogError(f"model {self.name!r} has lost its file; reinstall the package that it is part of")


def _bundled(name: str, description: str, *, above_hu: float | None = None, cohort: str = "") -> TrainedInfo:
    home = f"napari_sparse3d.models:bundled/{name}.safetensors"
    return TrainedInfo(name=name, title=name, description=description, home=home, above_hu=above_hu, cohort=cohort)


_BETWEEN_LUNG_AND_TISSUE_HU = -400.0
"""Halfway from lung (about -850 HU) to soft tissue (about 50 HU)."""


TRAINED: Registry[TrainedInfo] = Registry(
    "model",
    "napari_sparse3d.models",
    TrainedInfo,
    [
        _bundled("adrenal", "adrenal gland segmented in CT: normal, or hyperplasia"),
        _bundled(
            "nodule",
            "shape of a lung nodule: embedding for retrieval, and rated malignancy",
            above_hu=_BETWEEN_LUNG_AND_TISSUE_HU,
            cohort="napari_sparse3d.cohort:bundled/lidc-nodules.parquet",
        ),
        _bundled("vessel", "piece of a brain vessel: healthy, or with an aneurysm"),
    ],
)
