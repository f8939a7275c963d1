"""NIfTI, MetaImage and MGH read from their bytes, canonical order found by trying: no code of the project."""

from __future__ import annotations

import gzip
import itertools
import struct
from pathlib import Path

import numpy as np

_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
_UNITS = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 1e-3}


def read_nifti1(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """``data`` (x, y, z[, t]) scaled in float64, ``affine`` RAS mm (nifti1.h, methods 1 to 3)."""
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    end = "<" if struct.unpack("<i", raw[:4])[0] == 348 else ">"
    dim = struct.unpack(end + "8h", raw[40:56])
    (datatype,) = struct.unpack(end + "h", raw[70:72])
    pixdim = struct.unpack(end + "8f", raw[76:108])
    offset, slope, intercept = struct.unpack(end + "3f", raw[108:120])
    qform, sform = struct.unpack(end + "2h", raw[252:256])
    b, c, d, qx, qy, qz = struct.unpack(end + "6f", raw[256:280])
    rows = np.array(struct.unpack(end + "12f", raw[280:328]), dtype=float).reshape(3, 4)
    affine = np.eye(4)
    if sform > 0:
        affine[:3] = rows
    elif qform > 0:
        a = np.sqrt(max(0.0, 1 - b * b - c * c - d * d))
        rotation = np.array(
            [
                [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
                [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
                [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
            ]
        )
        sign = -1 if pixdim[0] < 0 else 1
        affine[:3, :3] = rotation * np.array([pixdim[1], pixdim[2], pixdim[3] * sign])
        affine[:3, 3] = qx, qy, qz
    else:
        affine[:3, :3] = np.diag(pixdim[1:4])
    affine[:3] *= _UNITS[raw[123] & 7]
    shape = dim[1 : 1 + dim[0]]
    data_file = path.with_suffix(".img").read_bytes() if path.suffix == ".hdr" else raw[int(offset) :]
    stored = np.frombuffer(data_file, end + _TYPES[datatype], count=int(np.prod(shape))).reshape(shape, order="F")
    data = stored.astype(np.float64)
    if slope not in (0, 1) or (slope != 0 and intercept != 0):
        data = data * slope + intercept
    return data, affine


def canonical_by_trying(data: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of all 48 reorderings of the spatial axes, the one whose axes lie closest to (S, A, R)."""
    best: tuple[float, np.ndarray, np.ndarray] | None = None
    unit = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            # axis k of the result is stored axis order[k], forwards or backwards; wanted: S, A, R = rows 2, 1, 0
            agreement = sum(sign * unit[2 - k, axis] for k, (axis, sign) in enumerate(zip(order, signs, strict=True)))
            if best is not None and agreement <= best[0]:
                continue
            moved = np.moveaxis(data, list(order), [0, 1, 2])
            moved = moved[tuple(slice(None, None, sign) for sign in signs)]
            result = np.eye(4)
            origin = affine[:3, 3].copy()
            for k, (axis, sign) in enumerate(zip(order, signs, strict=True)):
                result[:3, k] = sign * affine[:3, axis]
                if sign < 0:
                    origin += (data.shape[axis] - 1) * affine[:3, axis]
            result[:3, 3] = origin
            result[:3] = result[[2, 1, 0]]  # rows R, A, S to S, A, R
            best = (agreement, moved, result)
    assert best is not None
    return best[1], best[2]


def read_metaimage(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """An uncompressed or zlib-compressed .mha, ``data`` (x, y, z), ``affine`` RAS mm."""
    import zlib

    raw = path.read_bytes()
    marker = raw.index(b"ElementDataFile")
    start = raw.index(b"\n", marker) + 1
    fields = dict(
        line.split(" = ", 1) for line in raw[:start].decode("latin-1").replace("\r", "").splitlines() if " = " in line
    )
    size = [int(n) for n in fields["DimSize"].split()]
    types = {
        "MET_SHORT": "i2",
        "MET_USHORT": "u2",
        "MET_UCHAR": "u1",
        "MET_FLOAT": "f4",
        "MET_INT": "i4",
        "MET_DOUBLE": "f8",
    }
    body = zlib.decompress(raw[start:]) if fields.get("CompressedData", "False").strip() == "True" else raw[start:]
    end = ">" if fields.get("BinaryDataByteOrderMSB", "False").strip() == "True" else "<"
    data = np.frombuffer(body, end + types[fields["ElementType"].strip()], count=int(np.prod(size))).reshape(
        size, order="F"
    )
    spacing = np.array(fields["ElementSpacing"].split(), dtype=float)
    # MetaIO lists the direction of one axis after the other
    direction = np.array(fields["TransformMatrix"].split(), dtype=float).reshape(3, 3).T
    affine = np.eye(4)
    affine[:3, :3] = direction * spacing
    affine[:3, 3] = np.array(fields.get("Offset", fields.get("Position", "0 0 0")).split(), dtype=float)
    return data.astype(np.float64), np.diag([-1.0, -1, 1, 1]) @ affine


def read_mgz(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """FreeSurfer's format (fswiki, FsTutorial/MghFormat), ``data`` (x, y, z), ``affine`` RAS mm."""
    raw = gzip.decompress(path.read_bytes())
    _, width, height, depth, _frames, kind, _dof, good = struct.unpack(">7ih", raw[:30])
    numbers = np.array(struct.unpack(">15f", raw[30:90]), dtype=float)
    assert good == 1
    spacing, direction, centre = numbers[:3], numbers[3:12].reshape(3, 3).T, numbers[12:]
    dtype = {0: ">u1", 1: ">i4", 3: ">f4", 4: ">i2"}[kind]
    shape = (width, height, depth)
    data = np.frombuffer(raw[284:], dtype, count=int(np.prod(shape))).reshape(shape, order="F").astype(np.float64)
    affine = np.eye(4)
    affine[:3, :3] = direction * spacing
    affine[:3, 3] = centre - affine[:3, :3] @ (np.array(shape) / 2)
    return data, affine
