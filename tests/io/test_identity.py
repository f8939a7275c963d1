"""A patient's identity is planted everywhere it can stand; then everything that comes out is searched for it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import warnings
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.datadict import DicomDictionary, keyword_for_tag

from dicom_files import save, series_of
from napari_sparse3d.errors import InputError
from napari_sparse3d.io import read_sequence, read_volume, scan, write_volume
from napari_sparse3d.io.dicom.private import WANTED
from napari_sparse3d.io.identity import patient_hash
from napari_sparse3d.io.layers import layer_of
from napari_sparse3d.io.naming import safe_file_name, without_identity

NAME = "ZEBEDEE^ALBATROSS"
TRACES = ("zebedee", "albatross", "19700131", "mrn0815")
TEXTS = {
    "LO": NAME,
    "SH": "ZEBEDEE",
    "PN": NAME,
    "LT": f"patient {NAME}",
    "ST": NAME,
    "UT": NAME,
    "UC": NAME,
    "CS": "ZEBEDEE",
}
DATES = {"DA": "19700131", "DT": "19700131120000"}


def plant(dataset: pydicom.Dataset) -> int:
    """An identity in every tag of the standard that can hold text, and in private ones. Returns how many."""
    count = 0
    for tag, (vr, _vm, _name, retired, _keyword) in DicomDictionary.items():
        keyword = keyword_for_tag(tag)
        if retired or not keyword or tag >> 16 in (0x0000, 0x0002, 0x0004, 0x5200, 0x7FE0, 0xFFFE, 0xFFFC):
            continue
        value = TEXTS.get(vr) or DATES.get(vr)
        if value is None or keyword in ("PhotometricInterpretation", "SpecificCharacterSet"):
            continue
        if keyword == "ImageType":
            value = ["ORIGINAL", "PRIMARY", "ZEBEDEE"]
        if keyword in ("Modality", "TransferSyntaxUID"):
            continue
        setattr(dataset, keyword, value)
        count += 1
    dataset.PatientID = "MRN0815"
    dataset.SeriesDescription = "T1 AX ZEBEDEE ALBATROSS 19700131 MRN0815"
    block = dataset.private_block(0x0029, f"{NAME} PRIVATE", create=True)
    block.add_new(0x10, "LO", NAME)
    dataset.add_new(0x00291010, "OB", f"SV10 {NAME}".encode())
    for number, tag in enumerate(WANTED):  # each private element that is read, of a type that holds text
        dataset.add_new((tag.group, 0x40 + number), "LO", tag.creator)
        dataset.add_new((tag.group, 0x40 + number << 8 | tag.element), "LO", NAME)
    mapping, code = pydicom.Dataset(), pydicom.Dataset()
    mapping.LUTLabel = mapping.LUTExplanation = code.CodeValue = code.CodeMeaning = NAME
    code.CodingSchemeDesignator = "UCUM"
    mapping.MeasurementUnitsCodeSequence = [code]
    mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept = 1.0, 0.0
    dataset.RealWorldValueMappingSequence = [mapping]
    dataset.add_new(0x00280120, "US", 0)
    return count


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    folder = tmp_path / "plain"
    for path in series_of(folder, 4):
        dataset = pydicom.dcmread(path)
        assert plant(dataset) > 1000
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            save(dataset, path)
    return folder


def clean(*outputs: object) -> None:
    text = " ".join(str(item) for item in outputs).lower()
    assert len(text) > 20, "nothing to search"
    for trace in TRACES:
        assert trace not in text, text[max(0, text.find(trace) - 80) : text.find(trace) + 80]


def test_nothing_of_it_comes_out_of_a_sound_series(
    planted: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        (info,) = scan(planted)
        volume = read_volume(planted)
        sequence = read_sequence(planted)
        _, kwargs, _ = layer_of(sequence)
        write_volume(volume, tmp_path / "out.nii")
        write_volume(volume, tmp_path / "out.nrrd")
    assert info.description == "T1 AX"
    clean(json.dumps(info.as_dict()), repr(info), volume.name, volume.meta, sequence.meta, sequence.name, kwargs)
    clean(*(str(item.message) for item in caught), "x" * 30)
    clean(caplog.text, "x" * 30)
    captured = capfd.readouterr()
    clean(captured.out, captured.err, "x" * 30)
    for name in ("out.nii", "out.nrrd"):
        clean((tmp_path / name).read_bytes()[:2000].decode("latin-1"))


@pytest.mark.parametrize("change", ["gap", "copy", "truncated", "codec", "colour", "calibration", "nonsense", "pixels"])
def test_nothing_of_it_stands_in_an_error(
    change: str, planted: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = planted.rename(tmp_path / "ZEBEDEE_ALBATROSS_19700131")
    paths = sorted(folder.iterdir())
    paths = [path.rename(path.with_name(f"Albatross_{path.name}")) for path in paths]
    dataset = pydicom.dcmread(paths[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if change == "gap":
            paths[1].unlink()
        elif change == "copy":
            dataset.PixelData = bytes(len(dataset.PixelData))
            save(dataset, folder / "other.dcm")
        elif change == "truncated":
            paths[1].write_bytes(paths[1].read_bytes()[:-50])
        elif change == "nonsense":
            paths[1].write_bytes(paths[1].read_bytes()[:200] + NAME.encode() * 50)
        else:
            for path in paths:
                dataset = pydicom.dcmread(path)
                if change == "codec":
                    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.55"
                    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8" + NAME.encode()])
                    dataset["PixelData"].is_undefined_length = True
                elif change == "colour":
                    dataset.PhotometricInterpretation = "PALETTE COLOR"
                elif change == "calibration":
                    dataset.RescaleType = "ZEBEDEE"
                elif change == "pixels":
                    dataset.BitsAllocated = 17
                save(dataset, path)
    outputs: list[Any] = []
    with contextlib.suppress(InputError):
        outputs.append([info.as_dict() for info in scan(folder)])
    outputs += [_read_or_error(folder, repair) for repair in (None, "resample")]
    clean(*outputs)
    clean(caplog.text, *capfd.readouterr(), "x" * 30)


@pytest.mark.parametrize(
    ("command", "sound"),
    [(command, sound) for command in ("info", "convert", "voxelize") for sound in (True, False)]
    + [("predict", False), ("missing", True)],
)
def test_commands_do_not_repeat_the_names_of_scans(
    command: str, sound: bool, planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders and files are often named after the patient; what comes out may be logged where the scan is not kept."""
    from typer.testing import CliRunner

    from napari_sparse3d.cli import app

    folder = planted.rename(tmp_path / "ZEBEDEE_ALBATROSS_19700131")
    paths = [path.rename(path.with_name(f"Albatross_{path.name}")) for path in sorted(folder.iterdir())]
    if not sound:
        paths[1].unlink()
    call = {
        "info": ["info", str(folder)],
        "convert": ["convert", str(folder), "-o", "out"],
        "voxelize": ["voxelize", str(folder), "--recipe", "ct-bone-110", "-o", "out.npz"],
        "predict": ["predict", str(folder), "--model", "deepc2", "-o", "out.parquet"],
        "missing": ["info", str(folder / "Zebedee.nii")],
    }[command]
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, call)
    assert done.exit_code in (0, 1), done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    clean(done.stdout, done.stderr, "x" * 30)
    if command == "convert" and sound:
        (written,) = (tmp_path / "out").iterdir()
        clean(written.name, nibabel.load(written).header, "x" * 30)


def _read_or_error(folder: Path, repair: str | None) -> Any:
    try:
        return read_volume(folder, repair=repair).meta
    except InputError as error:
        return str(error)


def test_nifti_file_names_and_headers(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.ones((3, 3, 3), np.uint8), np.eye(4))
    for field in ("descrip", "aux_file", "db_name", "intent_name"):
        image.header[field] = b"ZEBEDEE"
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", NAME.encode()))
    path = tmp_path / "Zebedee_Albatross_19700131_T1w.nii.gz"
    nibabel.save(image, path)
    volume = read_volume(path)
    clean(json.dumps([info.as_dict() for info in scan(path)]), volume.name, volume.meta, layer_of(volume)[1])
    assert volume.name == "T1w"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputError) as caught:
        read_volume(path)
    clean(caught.value, "x" * 30)
    text = tmp_path / "Zebedee.nii"
    text.write_text(f"{NAME} 19700131 " * 40)
    with pytest.raises(InputError, match="with text") as caught:
        read_volume(text)
    clean(caught.value, "x" * 30)


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("LIDC-IDRI-0001_ct.nii.gz", "LIDC-IDRI-0001_ct"),
        ("sub-01_ses-2_T1w.nii.gz", "sub-01_ses-2_T1w"),
        ("hippocampus_001.nii.gz", "hippocampus_001"),
        ("BraTS_T1ce.nii", "BraTS"),
        ("mueller_anna_ct_thorax.nrrd", "ct_thorax"),
        ("anna.nii", "volume"),
        ("20240131_4711123.mha", "volume"),
        ("sub-ZebedeeAlbatross_bold.nii", "bold"),
        ("seg117.nii.gz", "seg117"),
    ],
)
def test_safe_file_names(name: str, safe: str) -> None:
    assert safe_file_name(Path(name)) == safe


def test_descriptions_lose_the_identity_and_keep_the_rest() -> None:
    identity = frozenset({"mueller", "anna", "4711"})
    assert without_identity("CT Thorax 3.0 MUELLER^ANNA", identity) == "CT Thorax 3.0"
    assert without_identity("ep2d_diff b1000", identity) == "ep2d_diff b1000"
    assert without_identity("T1 19700131", identity) == "T1"
    assert without_identity("Muellers Knie", identity) == "Knie"
    assert without_identity("a\x00b\nc", frozenset()) == "a b c"


def test_patient_hash_is_salted_and_stable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAPARI_SPARSE3D_SALT", "one")
    first = patient_hash("MRN0815")
    assert len(first) == 16
    assert patient_hash(" MRN0815 ") == first != patient_hash("MRN0816")
    monkeypatch.setenv("NAPARI_SPARSE3D_SALT", "two")
    assert patient_hash("MRN0815") != first
    assert patient_hash("") == patient_hash("  ") == ""


def test_patient_hash_keeps_its_salt_with_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_sparse3d.io import identity

    monkeypatch.delenv("NAPARI_SPARSE3D_SALT", raising=False)
    monkeypatch.delenv("SPARSE3D_SALT", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    identity._kept_salt.cache_clear()
    first = patient_hash("MRN0815")
    identity._kept_salt.cache_clear()
    assert patient_hash("MRN0815") == first
    assert (tmp_path / "napari-sparse3d" / "salt").stat().st_mode & 0o077 == 0
    (tmp_path / "napari-sparse3d" / "salt").unlink()
    identity._kept_salt.cache_clear()
    assert patient_hash("MRN0815") != first
    identity._kept_salt.cache_clear()


def test_a_salt_of_an_earlier_version_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_sparse3d.io import identity

    for name in ("NAPARI_SPARSE3D_SALT", "SPARSE3D_SALT", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    # as on a system whose settings lie elsewhere
    monkeypatch.setattr(identity, "config_folder", lambda: tmp_path / "Application Support" / "napari-sparse3d")
    identity._kept_salt.cache_clear()
    new = patient_hash("MRN0815")
    assert (tmp_path / "Application Support" / "napari-sparse3d" / "salt").is_file()
    former = tmp_path / ".config" / "napari-sparse3d" / "salt"
    former.parent.mkdir(parents=True)
    former.write_bytes(b"1" * 32)
    identity._kept_salt.cache_clear()
    kept = patient_hash("MRN0815")
    identity._kept_salt.cache_clear()
    assert kept != new
    assert kept == hashlib.blake2b(b"MRN0815", key=b"1" * 32, digest_size=8).hexdigest()
