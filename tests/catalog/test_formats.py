"""The formats by name and ending; what a descriptor must say."""

import pytest

from napari_sparse3d.catalog import FORMATS, FormatInfo


def described(**values):
    return FormatInfo(**{"name": "x", "title": "X", "description": "", "home": "m:f", **values})


@pytest.mark.parametrize(
    ("name", "kind", "ending"),
    [
        ("a.nii.gz", "nifti", ".nii.gz"),
        ("A.NII", "nifti", ".nii"),
        ("a.hdr.gz", "nifti", ".hdr.gz"),
        ("a.mgz", "mgh", ".mgz"),
        ("a.ima", "dicom", ".ima"),
        ("a.nhdr", "nrrd", ".nhdr"),
        ("a.mhd", "metaimage", ".mhd"),
        ("a.zip", None, ".zip"),
        ("a.npz", None, ".npz"),
        ("a.gz", None, ""),
        ("nii", None, ""),
        ("", None, ""),
    ],
)
def test_what_a_name_claims(name, kind, ending):
    found = FORMATS.named(name)
    assert (found and found.name) == kind
    assert FORMATS.ending_of(name) == ending


def test_every_home_is_there():
    for part in FORMATS.values():
        for home in filter(None, (part.home, part.sniff, part.files, part.write)):
            assert callable(part.load(home))
    assert list(FORMATS.by_written_ending) == [".nii.gz", ".nii", ".nrrd"]
    assert FORMATS.written_as("b.NII.GZ") is FORMATS["nifti"]
    assert FORMATS.written_as("b.mha") is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"endings": ("nii",)},
        {"endings": (".NII",)},
        {"stored": "folder"},
        {"write": "m:f"},
        {"written": (".x",)},
    ],
)
def test_a_descriptor_that_says_too_little(wrong):
    with pytest.raises(ValueError, match="the format 'x'"):
        described(**wrong)
