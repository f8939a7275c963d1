"""The writer that napari.yaml names: a layer with the geometry of its scan becomes NIfTI or NRRD."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from napari_sparse3d.io.layers import scan_of


def write_layer(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """npe2's writer for one image or labels layer.

    Parameters
    ----------
    path : str
        Ends in ``.nii.gz``, ``.nii`` or ``.nrrd``.
    data : array
        (Z, Y, X), or (T, Z, Y, X).
    attributes : mapping
        The layer's attributes; ``metadata`` as this plugin's reader wrote it.

    Returns
    -------
    list of str
        The path, once the file is complete.

    Raises
    ------
    InputError
        If the layer has no geometry of a scan.
    """
    from napari_sparse3d.io.write import write_volume

    write_volume(scan_of(data, attributes.get("metadata") or {}, str(attributes.get("name", "volume"))), path)
    return [path]
