"""Engines side by side: the same work, in the same process, one round after the other."""

from napari_sparse3d.bench.contenders import all_names, is_asked_for
from napari_sparse3d.bench.timing import Row, machine, measure
from napari_sparse3d.bench.workloads import WORKLOADS

__all__ = ["WORKLOADS", "Row", "all_names", "is_asked_for", "machine", "measure"]
