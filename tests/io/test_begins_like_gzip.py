"""Voxels whose first bytes are by chance those of gzip (1f 8b) are voxels: the header says how they are stored."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from napari_sparse3d.io import read_volume

PAIRS = (nibabel.AnalyzeImage, nibabel.Spm99AnalyzeImage, nibabel.Nifti1Pair, nibabel.nifti2.Nifti2Pair)
SHAPE = (9, 8, 7)


def voxels(*first: int) -> np.ndarray:
    """Noise, which gzip makes longer; the first voxels as given, two bytes each."""
    data = np.random.default_rng(0).integers(-(2**15), 2**15, SHAPE).astype("<i2")
    data[: len(first), 0, 0] = np.array(first, "<u2").view("<i2")
    return data


LIKE_GZIP = {
    "its mark": (0x8B1F,),
    "its mark and method": (0x8B1F, 0x0008),
    "a whole head and a block": (0x8B1F, 0x0008, 0, 0, 0x0300, 0x0001),
}


@pytest.mark.parametrize("first", LIKE_GZIP.values(), ids=LIKE_GZIP)
@pytest.mark.parametrize("kind", PAIRS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("padding", [0, 400], ids=["", "padded"])
def test_a_pair(tmp_path: Path, kind: type, first: tuple[int, ...], padding: int) -> None:
    data = voxels(*first)
    nibabel.save(kind(data, np.eye(4)), tmp_path / "a.img")
    raw = (tmp_path / "a.img").read_bytes()
    assert raw[:2] == b"\x1f\x8b"
    (tmp_path / "a.img").write_bytes(raw + bytes(padding))
    for name in ("a.hdr", "a.img"):
        read = read_volume(tmp_path / name).data
        assert sorted(read.ravel()) == sorted(data.ravel())
        if issubclass(kind, nibabel.Nifti1Pair):
            np.testing.assert_array_equal(read, data.transpose(2, 1, 0))


@pytest.mark.parametrize("kind", PAIRS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("content", ["noise", "one value"])
@pytest.mark.parametrize("name", ["a.img", "a.img.gz"])
def test_a_packed_image_is_unpacked_whatever_its_name(tmp_path: Path, kind: type, content: str, name: str) -> None:
    """Of noise it is longer than the voxels, of one value shorter."""
    data = voxels(0x8B1F) if content == "noise" else np.full(SHAPE, 7, "<i2")
    nibabel.save(kind(data, np.eye(4)), tmp_path / "a.img")
    raw = (tmp_path / "a.img").read_bytes()
    (tmp_path / "a.img").unlink()
    (tmp_path / name).write_bytes(gzip.compress(raw))
    assert (len(gzip.compress(raw)) > len(raw)) == (content == "noise")
    assert sorted(read_volume(tmp_path / "a.hdr").data.ravel()) == sorted(data.ravel())


@pytest.mark.parametrize("packed", [False, True], ids=["raw", "gzip"])
@pytest.mark.parametrize("ending", [".nhdr", ".nrrd", ".mhd", ".mha"])
@pytest.mark.parametrize("first", LIKE_GZIP.values(), ids=LIKE_GZIP)
def test_nrrd_and_metaimage_say_it_themselves(
    tmp_path: Path, ending: str, first: tuple[int, ...], *, packed: bool
) -> None:
    data = voxels(*first).transpose(2, 1, 0)
    sitk.WriteImage(sitk.GetImageFromArray(data), tmp_path / f"a{ending}", useCompression=packed)
    read = read_volume(tmp_path / f"a{ending}").data
    np.testing.assert_array_equal(read, data[:, ::-1, ::-1])  # LPS, turned
