"""Persons to plant in scans, and the search for them; it shares no code with the package."""

from __future__ import annotations

import gzip
import json
import re
import sqlite3
import unicodedata
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.config import disable_value_validation
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dicom_files import save, series_of
from napari_sparse3d.io.dicom.header import IDENTIFYING

FAMILY, GIVEN, SECOND = "Zebedäus", "Jürgen", "Straß"
NUMBER, BORN = "MRN-0815-77", "19340229"
NAME = f"{FAMILY}^{GIVEN}^{SECOND}"
FORMER = "Quirinus^Ottokar"
"""Named in a sequence alone."""

# -- the search --


def letters(text: str) -> str:
    """Letters and digits alone: no case, no accents, umlauts and ß in one spelling."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    plain = "".join(ch for ch in plain if ch.isalnum() and not unicodedata.combining(ch))
    for written in ("ae", "oe", "ue", "ss"):
        plain = plain.replace(written, written[0])
    return plain


TRACES = ("zebedaus", "jurgen", "stras", "mrn081577", "29021934", "19340229", "02291934", "29feb1934", "29februar1934",
          "29fevrier1934", "29febrero1934", "february291934", "1934feb29", "1934年2月29日",
          "quirinus", "ottokar")  # fmt: skip
SPELT_OUT = re.compile(r"29[./-]0?2[./-](19)?34|0?2[./-]29[./-](19)?34|(19)?34[./-]0?2[./-]29")


def traces_in(text: str) -> list[str]:
    found = [trace for trace in TRACES if trace in letters(text)]
    digits = unicodedata.normalize("NFKC", text)
    return found + [match[0] for match in SPELT_OUT.finditer(digits)]


# -- planting --


def plant(dataset: pydicom.Dataset, spelling: str) -> None:
    """The person in every identifying tag, and a spelling wherever people write."""
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for keyword in IDENTIFYING:
        vr = dictionary_VR(keyword)
        setattr(dataset, keyword, {"PN": NAME, "DA": BORN, "CS": "ZEBEDAUS"}.get(vr, f"{FAMILY} {NUMBER}"))
    dataset.PatientID, dataset.SeriesDescription = NUMBER, f"T1 ax {spelling} OTTOKAR 3D quirinus"
    former = Dataset()
    former.PatientName = FORMER
    changed = Dataset()
    changed.ModifiedAttributesSequence = Sequence([former])
    dataset.OriginalAttributesSequence = Sequence([changed])
    for keyword in ("ProtocolName", "StudyDescription", "ImageComments", "PatientComments", "AcquisitionComments",
                    "DerivationDescription", "ContrastBolusAgent", "SequenceName",
                    "ManufacturerModelName"):  # fmt: skip
        setattr(dataset, keyword, spelling[:60])


def planted_series(folder: Path, spelling: str, radius: float = 3.0, seed: int = 0) -> Path:
    """A ball of 400 HU in 12 slices of 12 x 12, of the person."""
    z, y, x = np.indices((12, 12, 12)) - 5.5
    noise = np.random.default_rng(seed).integers(0, 20, (12, 12, 12))
    values = np.where(z**2 + y**2 + x**2 < radius**2, 1400, 0) + noise

    def change(k: int, own: dict[str, Any]) -> None:
        own["pixels"] = values[k]

    uid = f"1.2.{zlib.crc32(str(folder).encode())}.{seed}"
    for path in series_of(folder, 12, size=(12, 12), spacing=(1.0, 1.0), step=(0, 0, 1), series=uid, change=change):
        dataset = pydicom.dcmread(path)
        with disable_value_validation():  # longer than the standard wants
            plant(dataset, spelling)
            save(dataset, path)
        path.rename(path.with_name(f"Zebedaeus_{path.name}"))
    return folder


RECIPE = """
name = "ball"
field = 16
[threshold]
kind = "range"
low = 200
"""


def content(path: Path) -> str:
    """What of a file could be read by somebody: of tables all but the column ``path``."""
    if path.suffix == ".parquet":
        from pyarrow import parquet

        table = parquet.read_table(path)
        kept = [name for name in table.column_names if name != "path"]
        return json.dumps(table.select(kept).to_pylist(), default=str) + str(table.schema.metadata)
    if path.suffix == ".sqlite":
        with sqlite3.connect(path) as database:
            return "\n".join(database.iterdump())
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return " ".join(f"{name} {arrays[name].ravel()[:20]}" for name in arrays.files)
    raw = path.read_bytes()
    raw = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    if path.suffix in (".png", ".safetensors", ".onnx", ".pt2", ".gz", ".nii", ".nrrd"):
        raw = b" ".join(re.findall(rb"[\x20-\x7e\x80-\xff]{4,}", raw[:200_000]))
    return raw.decode("utf-8", "replace")
