"""NRRD and MetaImage files written byte by byte: no code of the project, and none of a library."""

from __future__ import annotations

from pathlib import Path

import numpy as np

SIZES = (5, 4, 3)
STORED = np.arange(60, dtype=np.int16).reshape(SIZES, order="F") * 7 - 100
"""(x, y, z), x fastest in the file."""
RAW = STORED.tobytes(order="F")
SPACING, ORIGIN_LPS = (1.0, 2.0, 2.5), (-10.0, 20.0, 30.0)
AFFINE_RAS = np.array([[-1.0, 0, 0, 10], [0, -2.0, 0, -20], [0, 0, 2.5, 30], [0, 0, 0, 1]])
"""What the plain headers below say, from LPS."""
DATA = STORED.transpose(2, 1, 0)[:, ::-1, ::-1]
"""As (S, A, R)."""
AFFINE = np.array([[2.5, 0, 0, 30.0], [0, 2.0, 0, -26.0], [0, 0, 1.0, 6.0], [0, 0, 0, 1.0]])
"""Of DATA."""

NRRD = {
    "type": "short",
    "dimension": "3",
    "sizes": "5 4 3",
    "endian": "little",
    "space": "left-posterior-superior",
    "space directions": "(1,0,0) (0,2,0) (0,0,2.5)",
    "space origin": "(-10,20,30)",
    "encoding": "raw",
}
METAIMAGE = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "BinaryDataByteOrderMSB": "False",
    "TransformMatrix": "1 0 0 0 1 0 0 0 1",
    "Offset": "-10 20 30",
    "ElementSpacing": "1 2 2.5",
    "DimSize": "5 4 3",
    "ElementType": "MET_SHORT",
}


def nrrd_text(changes: dict[str, str | None] | None = None, *more: str) -> bytes:
    """A header without its blank line; ``None`` takes a field away, ``more`` are whole lines at the end."""
    fields = {**NRRD, **(changes or {})}
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return "\n".join(["NRRD0005", *lines, *more]).encode() + b"\n"


def write_nrrd(path: Path, changes: dict[str, str | None] | None = None, *more: str, data: bytes = RAW) -> Path:
    path.write_bytes(nrrd_text(changes, *more) + b"\n" + data)
    return path


def metaimage_text(changes: dict[str, str | None] | None = None, file: str = "LOCAL") -> bytes:
    fields = {**METAIMAGE, **(changes or {}), "ElementDataFile": file}
    return "".join(f"{name} = {value}\n" for name, value in fields.items() if value is not None).encode()


def write_metaimage(
    path: Path, changes: dict[str, str | None] | None = None, *, data: bytes = RAW, file: str = "LOCAL"
) -> Path:
    path.write_bytes(metaimage_text(changes, file) + (data if file == "LOCAL" else b""))
    return path
