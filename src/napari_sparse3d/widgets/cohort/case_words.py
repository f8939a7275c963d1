"""What is said and shown of one case of a cohort: its name, its columns, its thumbnail."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QBuffer, QByteArray, QIODevice
from qtpy.QtGui import QImage

from napari_sparse3d.cases.seen import warning_of_many
from napari_sparse3d.cohort.tables import Cohort
from napari_sparse3d.widgets.cohort.colours import TAG
from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.toolbox.plain_text import as_html


def case_name(row: dict[str, Any]) -> str:
    """What the one who made the cohort calls it."""
    return str(row.get("name") or Path(str(row.get("path", ""))).stem)


def title_of(row: dict[str, Any]) -> str:
    """The name of a case with its label, or what was answered where that is not known."""
    label = row.get("label") or (f"predicted {row['prediction']}" if row.get("prediction") else "")
    return " · ".join(filter(None, (case_name(row), str(label))))


def cohort_words(cohort: Cohort) -> str:
    """How many cases there are, and how many of them are unlike what their model was trained on."""
    models = sorted({str(value) for value in cohort.column("model") if value})
    text = words.count(len(cohort), "cases") + (f", {cohort.n_failed} failed" if cohort.n_failed else "")
    unlike = sum(bool(value) for value in cohort.column("outside_training"))
    said = warning_of_many(", ".join(models) or "the model", unlike, len(cohort), "cases")
    return f"{text}\n⚠ {said}" if said else text


def hover_words(cohort: Cohort, index: int) -> str:
    """Name, label, tag, prediction, split, what is unlike the training and the thumbnail, as rich text."""
    row = cohort.row(index)
    shown = (
        f"{name}: {row[name]}" for name in ("label", TAG, "prediction", "split") if row.get(name) not in (None, "")
    )
    unlike = words.unlike_training(str(row.get("model") or "the model"), row.get("outside_training"))
    picture = ""
    if cohort.thumbnails is not None:
        picture = f'<img src="data:image/png;base64,{_png(cohort.thumbnails[index])}"><br>'
    return picture + as_html("\n".join(filter(None, [case_name(row), *shown, unlike])))


def thumbnail_image(picture: NDArray[np.uint8]) -> QImage:
    """(S, S) uint8 as a grey picture."""
    height, width = picture.shape
    return QImage(np.ascontiguousarray(picture).tobytes(), width, height, width, QImage.Format.Format_Grayscale8).copy()


def _png(picture: NDArray[np.uint8]) -> str:
    data = QByteArray()
    buffer = QBuffer(data)
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    thumbnail_image(picture).save(buffer, "PNG")
    return base64.b64encode(data.data()).decode()
