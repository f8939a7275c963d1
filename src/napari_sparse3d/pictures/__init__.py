"""Pictures for reports. Every function gives a matplotlib ``Figure`` that belongs to no window."""

from napari_sparse3d.pictures.layers import layers_figure
from napari_sparse3d.pictures.planes import planes_figure
from napari_sparse3d.pictures.style import as_png

__all__ = ["as_png", "layers_figure", "planes_figure"]
