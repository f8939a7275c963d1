"""What napari.yaml names: readers and sample data. Layer data tuples only: npe2 can use it without napari or Qt."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import current_thread, main_thread
from typing import TYPE_CHECKING, Any

from napari_sparse3d.cases.identity import CASE, CaseIdentity, identify
from napari_sparse3d.io.formats import content_of_folder, looks_like_a_scan
from napari_sparse3d.io.layers import LayerData, layer_of
from napari_sparse3d.io.samples import sample_layers

if TYPE_CHECKING:
    from napari_sparse3d.io import SeriesInfo

PathOrPaths = str | os.PathLike[str] | Sequence[str]

_LOOK_AT_FILES = 200


def get_reader(path: PathOrPaths) -> Callable[[PathOrPaths], list[LayerData]] | None:
    """npe2's reader for a file, a folder or a list of files; ``None`` for what is something else. Never raises."""
    try:
        paths = [Path(item) for item in ([path] if isinstance(path, (str, os.PathLike)) else path)]
        if paths and all(_may_be_a_scan(item) for item in paths):
            return read_layers
    except (OSError, TypeError, ValueError):
        pass
    return None


def read_layers(path: PathOrPaths) -> list[Any]:
    """Read the series at a path as layers.

    A path that holds one clean series opens at once. Where several could be meant, or the one needs a repair, a napari
    window asks; without a window the error lists them.

    Raises
    ------
    ReadError
        With the reason, where no exact volume can be made.
    """
    from napari_sparse3d.errors import ReadError
    from napari_sparse3d.io.read import only_series
    from napari_sparse3d.io.scanning import scan

    series = scan(path)
    _let_sides_stand()
    try:
        info = only_series(series)
        data, kwargs, kind = layer_of(info.load(), info.title)
        kwargs["metadata"][CASE] = _case_of(path, series, info)
        return [(data, kwargs, kind)]
    except ReadError:
        if not _window_is_open() or all(item.status == "refuse" for item in series):
            raise
    from napari_sparse3d.widgets.opening.series_chooser import ask_for_series

    chosen = ask_for_series(series)
    if chosen is None:
        return [(None,)]  # npe2: read, and nothing to show
    info, repair = chosen
    data, kwargs, kind = layer_of(info.load(None, repair), info.title)
    # with these the layer can be read again by a command
    kwargs["metadata"].update({"series": info.index, **({"repair": repair} if repair else {})})
    kwargs["metadata"][CASE] = _case_of(path, series, info)
    return [(data, kwargs, kind)]


def _case_of(path: PathOrPaths, series: Sequence[SeriesInfo], info: SeriesInfo) -> CaseIdentity:
    """Which case of tables a layer shows; files that were chosen one by one are no place that could be named."""
    if not isinstance(path, (str, os.PathLike)):
        if len(path) > 1:
            return CaseIdentity(patient=info.patient)
        (path,) = path
    return identify(Path(path).absolute(), series, info)


def _window_is_open() -> bool:
    """Whether a napari window can ask. Looks without importing: headless use must not pull in Qt."""
    napari = sys.modules.get("napari.viewer")
    qt = sys.modules.get("qtpy.QtWidgets")
    return (
        napari is not None
        and qt is not None
        and qt.QApplication.instance() is not None
        and napari.current_viewer() is not None
    )


def _let_sides_stand() -> None:
    """The patient's sides stand on the canvas as soon as a scan is in a window, with or without a panel."""
    if _window_is_open() and current_thread() is main_thread():
        from napari_sparse3d.widgets.patient_view import show_sides_in_front

        show_sides_in_front()


def sample_head_mri() -> list[LayerData]:
    """Sample: the MNI152 T1 average, packaged with nilearn."""
    return _sample("head_mri")


def sample_chest_ct() -> list[LayerData]:
    """Sample: a synthetic chest CT."""
    return _sample("chest_ct")


def sample_nodules() -> list[LayerData]:
    """Sample: the synthetic chest CT with its nodules as labels."""
    return _sample("nodules")


def _sample(name: str) -> list[LayerData]:
    _let_sides_stand()
    return sample_layers(name)


def _may_be_a_scan(path: Path) -> bool:
    if not path.is_dir():
        return looks_like_a_scan(path)
    looked_at = 0
    for root, folders, names in os.walk(path):
        if content_of_folder(Path(root), {*names, *folders}) is not None:
            return True
        for name in sorted(names)[: _LOOK_AT_FILES - looked_at]:
            if looks_like_a_scan(Path(root, name)):
                return True
            looked_at += 1
        if looked_at >= _LOOK_AT_FILES:
            break
    return False
