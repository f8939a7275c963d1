"""Decoding planes into a volume: one at a time, straight into its place."""

from __future__ import annotations

import filecmp
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby, islice
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_modality_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID

from napari_sparse3d.errors import ReadError
from napari_sparse3d.io.dicom.header import JPEG_EXTENDED, PARSE_ERRORS, quiet
from napari_sparse3d.io.dicom.padding import Padding
from napari_sparse3d.io.dicom.plane import Plane
from napari_sparse3d.io.dicom.values import (
    EXACT_FLOAT32,
    NO_VALUES,
    Span,
    common_type,
    exact_integer,
    no_image_data,
    piecewise,
    span_of,
)


def decode(planes: Sequence[Plane], out: NDArray[Any], padding: Padding | None = None, t: int = 0) -> NDArray[Any]:
    """Decode ``planes`` into ``out`` (N, rows, columns), each mapped to its values as its header says.

    Parameters
    ----------
    planes : sequence of Plane
    out : ndarray
        (N, rows, columns), of :func:`dtype_of`.
    padding : Padding, optional
        Takes the padded pixels, as volume ``t``; it has to be settled by the caller. Unless given, it is settled here.
    t : int
        Which volume of a series in time this is.

    Returns
    -------
    ndarray
        ``out``, or a wider copy where a value does not fit its type (values outside the bits that the header names).

    Raises
    ------
    ReadError
        If an image cannot be decoded or has not the size that its header says.
    """
    noted = Padding() if padding is None else padding
    for _, group in groupby(enumerate(planes), key=lambda item: item[1].path):
        members = list(group)
        stored = _stored_images([plane for _, plane in members])
        for (index, plane), (image, dataset) in zip(members, stored, strict=True):
            if image.shape != out.shape[1:]:
                raise ReadError(
                    f"image {index + 1} of {len(planes)} decodes to {image.shape}, its header says {out.shape[1:]}: "
                    "the file is damaged"
                )
            out = _decoded_into(out, index, image[::-1] if plane.reversed_rows else image, dataset, plane, noted, t)
    if padding is None and noted.masks:
        out = noted.settle(out[None], lambda data, _: data[0])[0][0]
    return out


def dtype_of(planes: Iterable[Plane]) -> np.dtype[Any]:
    """The type that holds the values of all planes, going by their headers."""
    seen = {
        (plane.kind.bits_stored, plane.kind.signed, plane.slope, plane.intercept, plane.values, plane.kind.lookup)
        for plane in planes
    }
    return common_type(
        Span(0.0, 0.0, whole=False) if lookup else span_of(bits, signed, slope, intercept, values)
        for bits, signed, slope, intercept, values, lookup in seen
    )


def _decoded_into(
    out: NDArray[Any], index: int, image: NDArray[Any], dataset: Dataset, plane: Plane, padding: Padding, t: int
) -> NDArray[Any]:
    """One image of stored numbers into ``out[index]``, its padding noted."""
    values = plane.values
    if values is NO_VALUES or (values.padding is None and not values.applied):
        return _place(_through_table(image, dataset, plane), plane, index, out)
    mask = no_image_data(image, values)
    image = _in_stored_bits(image, plane)
    if mask is not None:
        # what stands there must widen no type and be no extreme; where all is padding, any number does
        real = image[~mask]
        neutral = real.min() if real.size else image.dtype.type(0)
        declared = np.inf
        if values.padding is not None and not plane.kind.lookup and not values.applied:
            declared = min(
                values.padding[0] * plane.slope + plane.intercept, values.padding[1] * plane.slope + plane.intercept
            )
        image = np.where(mask, neutral, image)
        padding.add((t, index), mask, declared, lossy=values.lossy)
    if len(values.applied) > 1 or (values.applied and values.applied[0].table):
        out = _place_values(piecewise(image, values.applied), index, out)
    else:
        out = _place(_through_table(image, dataset, plane), plane, index, out)
    if mask is not None and out.dtype.kind == "f":
        out[index][mask] = np.nan
    return out


def _through_table(image: NDArray[Any], dataset: Dataset, plane: Plane) -> NDArray[Any]:
    """Through the modality lookup table, where the plane has one (PS3.3, C.11.1)."""
    if not plane.kind.lookup:
        return image
    with _said_plainly():
        return np.asarray(apply_modality_lut(image, dataset))


def _place_values(values: NDArray[np.float64], index: int, out: NDArray[Any]) -> NDArray[Any]:
    """Values that are computed already into ``out[index]``."""
    reach = np.abs(values, where=np.isfinite(values), out=np.zeros_like(values)).max(initial=0.0)
    if out.dtype.kind != "f":
        out = out.astype(np.float64 if out.dtype.itemsize > 2 else np.float32)
    if reach > EXACT_FLOAT32 and out.dtype != np.float64:
        out = out.astype(np.float64)
    out[index] = values
    return out


def _place(image: NDArray[Any], plane: Plane, index: int, out: NDArray[Any]) -> NDArray[Any]:
    """Rescale one image into ``out[index]``."""
    same = plane.slope == 1 and plane.intercept == 0
    if image.dtype.kind == "f" and (image.dtype == np.float64 or out.dtype.kind != "f"):
        return _place_values(image if same else image.astype(np.float64) * plane.slope + plane.intercept, index, out)
    if out.dtype.kind == "f":
        if same:
            out[index] = image
        else:
            out[index] = image.astype(np.float64) * plane.slope + plane.intercept
        return out
    slope, intercept = int(plane.slope), int(plane.intercept)
    limits = np.iinfo(out.dtype)
    ends = sorted((int(image.min()) * slope + intercept, int(image.max()) * slope + intercept))
    if ends[0] < limits.min or ends[1] > limits.max:
        wider = exact_integer(min(ends[0], int(limits.min)), max(ends[1], int(limits.max)))
        out = out.astype(wider or np.float64)
        if wider is None:
            out[index] = image.astype(np.float64) * slope + intercept
            return out
    if slope == 1:
        # the sum fits (just checked), so arithmetic modulo 2^n is exact even where the cast alone would wrap
        np.add(image.astype(out.dtype, copy=False), np.array(intercept).astype(out.dtype), out=out[index])
    else:
        out[index] = image.astype(np.int64) * slope + intercept
    return out


def _stored_images(planes: list[Plane]) -> Iterator[tuple[NDArray[Any], Dataset]]:
    """The stored numbers of planes of one file, in the order asked for, and the file."""
    first = planes[0]
    with _said_plainly():
        dataset = _with_syntax(pydicom.dcmread(first.path, force=True), first)
        if first.tile is not None or len({plane.frame for plane in planes}) == 1:
            image = _pixels(dataset, first)
            for plane in planes:
                yield _tile(image, plane), dataset
            return
        frames = _long_jpeg_frames(dataset, first)
        for plane in planes:
            yield _pixels(dataset, plane, frames), dataset


@contextmanager
def _said_plainly() -> Iterator[None]:
    """What the codecs and pydicom raise becomes a ``ReadError`` that tells a limit of theirs from damage."""
    try:
        with quiet():
            yield
    except ReadError:
        raise
    except (NotImplementedError, ImportError) as error:
        raise ReadError(
            f"the pixels of an image cannot be decoded by the codecs here ({type(error).__name__}); "
            "store it uncompressed first"
        ) from error
    except EOFError as error:
        raise ReadError("the pixels of an image cannot be decoded (EOFError): the file is truncated") from error
    except PARSE_ERRORS as error:
        raise ReadError(
            f"the pixels of an image cannot be decoded by the codecs here ({type(error).__name__}): "
            "the file is truncated or damaged, or uses what they do not support"
        ) from error


def _tile(image: NDArray[Any], plane: Plane) -> NDArray[Any]:
    """The part of a mosaic that is one plane; the whole image where it is none."""
    if plane.tile is None:
        return image
    rows, columns = plane.kind.rows, plane.kind.columns
    down, right = divmod(plane.tile, image.shape[1] // columns)
    return image[down * rows : (down + 1) * rows, right * columns : (right + 1) * columns]


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


def _pixels(dataset: Dataset, plane: Plane, frames: list[bytes] | None = None) -> NDArray[Any]:
    """One frame as stored."""
    frames = _long_jpeg_frames(dataset, plane) if frames is None else frames
    if frames:
        if plane.frame >= len(frames):
            raise ReadError(
                f"frame {plane.frame + 1} is not among the {len(frames)} in the file: it is truncated or damaged"
            )
        return _by_gdcm(frames[plane.frame], plane)
    syntax = plane.kind.transfer_syntax
    codec = _CODECS.get(syntax, "")
    if codec and codec not in get_decoder(UID(syntax)).available_plugins:
        codec = ""
    corrected = not _padding_beyond_bits(plane)
    return pixel_array(dataset, index=plane.frame, raw=True, decoding_plugin=codec, correct_unused_bits=corrected)


def _padding_beyond_bits(plane: Plane) -> bool:
    """Whether the padding value is none that the bits stored can hold: then it stands in the whole word.

    Such as -2000 beside 12 bits: the scanner's own sign for "outside", which the standard has no words for.
    """
    kind, padding = plane.kind, plane.values.padding
    if padding is None or plane.values.float_bits or kind.bits_stored >= kind.bits_allocated:
        return False
    half = 2 ** (kind.bits_stored - 1)
    low, high = (-half, half - 1) if kind.signed else (0, 2 * half - 1)
    return padding[0] < low or padding[1] > high


def _in_stored_bits(image: NDArray[Any], plane: Plane) -> NDArray[Any]:
    """What bits above the bits stored hold does not count (PS3.5, 8.1.1)."""
    if not _padding_beyond_bits(plane) or image.dtype.kind == "f":
        return image
    shift = 8 * image.dtype.itemsize - plane.kind.bits_stored
    corrected: NDArray[Any] = np.right_shift(np.left_shift(image, shift), shift)
    return corrected


def _long_jpeg_frames(dataset: Dataset, plane: Plane) -> list[bytes]:
    """The frames of a file in JPEG of more than 8 bits, each joined from its fragments; none for any other file.

    Where they begin, the extended offset table tells (PS3.3, C.7.6.3.1.8), else the basic one (PS3.5, A.4), else that
    each is one fragment, or ends with the marker of an image's end. A basic table for another number of frames than the
    file has tells nothing.
    """
    kind = plane.kind
    if kind.transfer_syntax != JPEG_EXTENDED or kind.bits_stored <= 8:
        return []
    buffer, n_frames = dataset.PixelData, int(dataset.get("NumberOfFrames") or 1)
    table = dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths")
    if all(isinstance(part, bytes) and len(part) == 8 * n_frames for part in table):
        return list(generate_frames(buffer, number_of_frames=n_frames, extended_offsets=table))
    (length,) = struct.unpack_from("<I", buffer, 4)
    if length not in (0, 4 * n_frames):
        buffer = buffer[:4] + bytes(4) + buffer[8 + length :]
    return list(islice(generate_frames(buffer, number_of_frames=n_frames), n_frames))


def _by_gdcm(content: bytes, plane: Plane) -> NDArray[Any]:
    """12-bit JPEG, which pydicom hands to none of its codecs though GDCM decodes it.

    GDCM gets the one frame and its size, not the file: its own parser takes minutes and gigabytes over a damaged one.
    """
    import gdcm

    kind = plane.kind
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(content)
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
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(JPEG_EXTENDED)))
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


def same_pixels(a: Plane, b: Plane) -> bool:
    """Whether two planes store the same numbers and map them alike; an image that cannot be decoded equals none."""
    if (a.frame, a.tile) == (b.frame, b.tile) and filecmp.cmp(a.path, b.path, shallow=False):
        return True
    if (a.kind.rows, a.kind.columns, a.slope, a.intercept, a.values) != (
        b.kind.rows,
        b.kind.columns,
        b.slope,
        b.intercept,
        b.values,
    ):
        return False
    try:
        first, second = (_through_table(*next(_stored_images([plane])), plane) for plane in (a, b))
        return bool(np.array_equal(first, second))
    except ReadError:
        return False
