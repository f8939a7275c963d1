"""Decoding planes into a volume: one at a time, straight into its place."""

from __future__ import annotations

import filecmp
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_modality_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID

from napari_sparse3d.errors import ReadError
from napari_sparse3d.io.dicom.header import PARSE_ERRORS, quiet
from napari_sparse3d.io.dicom.plane import Plane
from napari_sparse3d.io.intensity import common_dtype, scaled_dtype


def decode(planes: Sequence[Plane], out: NDArray[Any]) -> NDArray[Any]:
    """Decode ``planes`` into ``out`` (N, rows, columns), rescaled each with its own slope and intercept.

    Returns ``out``, or a wider copy where a value does not fit its type (values outside the bits
    that the header names).

    Raises
    ------
    ReadError
        If an image cannot be decoded or has not the size that its header says.
    """
    for _, group in groupby(enumerate(planes), key=lambda item: item[1].path):
        members = list(group)
        stored = _stored_images([plane for _, plane in members])
        for (index, plane), image in zip(members, stored, strict=True):
            if image.shape != out.shape[1:]:
                raise ReadError(
                    f"image {index + 1} of {len(planes)} decodes to {image.shape}, its header says {out.shape[1:]}: "
                    "the file is damaged"
                )
            out = _place(image, plane, index, out)
    return out


def dtype_of(planes: Iterable[Plane]) -> np.dtype[Any]:
    """The type that holds the rescaled values of all planes, going by their headers."""
    seen = {
        (plane.slope, plane.intercept, plane.kind.bits_stored, plane.kind.signed, plane.kind.lookup) for plane in planes
    }
    dtypes = []
    for slope, intercept, bits, signed, lookup in seen:
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        dtypes.append(np.dtype(np.float32) if lookup else scaled_dtype(low, high, slope, intercept))
    return np.dtype(common_dtype(dtypes))


def _place(image: NDArray[Any], plane: Plane, index: int, out: NDArray[Any]) -> NDArray[Any]:
    """Rescale one image into ``out[index]``."""
    if out.dtype.kind == "f":
        if plane.slope == 1 and plane.intercept == 0:
            out[index] = image
        else:
            out[index] = image.astype(np.float64) * plane.slope + plane.intercept
        return out
    slope, intercept = int(plane.slope), int(plane.intercept)
    limits = np.iinfo(out.dtype)
    ends = sorted((int(image.min()) * slope + intercept, int(image.max()) * slope + intercept))
    if ends[0] < limits.min or ends[1] > limits.max:
        out = out.astype(np.int32 if max(-ends[0], ends[1]) < 2**31 else np.float32)
    if slope == 1:
        # the sum fits (just checked), so arithmetic modulo 2^n is exact even where the cast alone would wrap
        np.add(image.astype(out.dtype, copy=False), np.array(intercept).astype(out.dtype), out=out[index])
    else:
        out[index] = image.astype(np.int64) * slope + intercept
    return out


def _stored_images(planes: list[Plane]) -> Iterator[NDArray[Any]]:
    """The stored values of planes of one file, in the order asked for."""
    first = planes[0]
    try:
        with quiet():
            if len(planes) == 1 or first.tile is not None or len({plane.frame for plane in planes}) == 1:
                yield from _of_one_frame(planes)
                return
            dataset = pydicom.dcmread(first.path, force=True)
            for plane in planes:
                yield _finished(_pixels(_with_syntax(dataset, plane), plane), plane, dataset)
    except ReadError:
        raise
    except PARSE_ERRORS as error:
        raise ReadError(
            f"the pixels of an image cannot be decoded ({type(error).__name__}): the file is truncated or damaged"
        ) from error


def _of_one_frame(planes: list[Plane]) -> Iterator[NDArray[Any]]:
    plane = planes[0]
    dataset = _with_syntax(pydicom.dcmread(plane.path, force=True), plane)
    if plane.kind.transfer_syntax == _JPEG_EXTENDED and plane.kind.bits_stored > 8:
        image = _finished(_by_gdcm(plane, dataset), plane, dataset)
    else:
        image = _finished(_pixels(dataset, plane), plane, dataset)
    if plane.tile is None:
        yield from (image for _ in planes)
        return
    across = image.shape[1] // plane.kind.columns
    for item in planes:
        assert item.tile is not None  # the planes of a mosaic all are tiles
        down, right = divmod(item.tile, across)
        yield image[
            down * item.kind.rows : (down + 1) * item.kind.rows,
            right * item.kind.columns : (right + 1) * item.kind.columns,
        ]


_CODECS = {
    "1.2.840.10008.1.2.4.50": "pillow",
    "1.2.840.10008.1.2.4.51": "pillow",
    "1.2.840.10008.1.2.4.80": "gdcm",
    "1.2.840.10008.1.2.4.81": "gdcm",
    "1.2.840.10008.1.2.4.90": "pylibjpeg",
    "1.2.840.10008.1.2.4.91": "pylibjpeg",
}
"""The codec for a transfer syntax, where several are installed: the one that takes damaged data best.

GDCM ends the whole process on some damaged JPEG 2000 (an exception that it does not catch), and pyjpegls takes half a
minute to fail on damaged JPEG-LS. Only one is asked: a second one tried after a failure would bring both back.
"""


def _pixels(dataset: Dataset, plane: Plane) -> NDArray[Any]:
    """One frame as stored."""
    syntax = plane.kind.transfer_syntax
    codec = _CODECS.get(syntax, "")
    if codec and codec not in get_decoder(UID(syntax)).available_plugins:
        codec = ""
    return pixel_array(dataset, index=plane.frame, raw=True, decoding_plugin=codec)


_JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"


def _by_gdcm(plane: Plane, dataset: Dataset) -> NDArray[Any]:
    """12-bit JPEG, which pydicom hands to none of its codecs though GDCM decodes it.

    GDCM gets the one frame and its size, not the file: its own parser takes minutes and gigabytes over a damaged one.
    """
    import gdcm

    kind = plane.kind
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(get_frame(dataset.PixelData, plane.frame, number_of_frames=plane.frame + 1))
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((kind.columns, kind.rows, 1))
    image.SetDataElement(element)
    grey = gdcm.PhotometricInterpretation.GetPIType("MONOCHROME2")
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(grey))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(_JPEG_EXTENDED)))
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, kind.bits_stored, kind.bits_stored - 1, int(kind.signed)))
    buffer = image.GetBuffer().encode("utf-8", errors="surrogateescape")
    frame = np.frombuffer(buffer, dtype=np.int16 if kind.signed else np.uint16)
    return frame[: kind.rows * kind.columns].reshape(kind.rows, kind.columns)


def _with_syntax(dataset: Dataset, plane: Plane) -> Dataset:
    """A file without a meta header decodes by the transfer syntax that its reading showed."""
    if not hasattr(dataset, "file_meta"):
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(plane.kind.transfer_syntax)
    return dataset


def _finished(image: NDArray[Any], plane: Plane, dataset: Dataset) -> NDArray[Any]:
    return apply_modality_lut(image, dataset) if plane.kind.lookup else image


def same_pixels(a: Plane, b: Plane) -> bool:
    """Whether two planes store the same values and rescale them alike; an image that cannot be decoded equals none."""
    if (a.frame, a.tile) == (b.frame, b.tile) and filecmp.cmp(a.path, b.path, shallow=False):
        return True
    if (a.kind.rows, a.kind.columns, a.slope, a.intercept) != (b.kind.rows, b.kind.columns, b.slope, b.intercept):
        return False
    try:
        return bool(np.array_equal(next(_stored_images([a])), next(_stored_images([b]))))
    except ReadError:
        return False
