"""Sample data that is there without a network."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from napari_sparse3d.errors import ReadError
from napari_sparse3d.io.layers import LayerData, layer_of
from napari_sparse3d.io.read import read_volume
from napari_sparse3d.volume import Volume

_MNI152 = "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"


def sample_head_mri_path() -> Path:
    """Where nilearn's package keeps the MNI152 T1 average (ICBM 2009a, 1 mm), found without importing nilearn.

    Raises
    ------
    ReadError
        If nilearn is not installed or has moved the file.
    """
    spec = find_spec("nilearn")
    if spec is not None and spec.origin is not None:
        path = Path(spec.origin).parent / "datasets" / "data" / _MNI152
        if path.is_file():
            return path
    raise ReadError(
        "the sample head MRI comes with nilearn, which is not installed or has no such file; "
        "pip install 'nilearn>=0.11'"
    )


def sample_head_mri() -> Volume:
    """The MNI152 T1 average of 152 heads (ICBM 2009a nonlinear symmetric, 1 mm), as packaged with nilearn."""
    return replace(read_volume(sample_head_mri_path()), modality="MR", name="head MRI (MNI152)")


def sample_layers(name: str) -> list[LayerData]:
    """A sample of the plugin as layers: ``head_mri``, ``chest_ct`` (synthetic), ``nodules`` (that with labels)."""
    from napari_sparse3d.io.phantom import chest_phantom, nodules_phantom

    makers = {
        "head_mri": [sample_head_mri],
        "chest_ct": [chest_phantom],
        "nodules": [chest_phantom, nodules_phantom],
    }
    return [layer_of(make()) for make in makers[name]]
