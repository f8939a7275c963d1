"""Persons are planted in every tag, in two hundred spellings; then every output of every command is searched for them.

What is searched with shares no code with the package: a normaliser of its own, which knows letters and digits alone.
"""

from __future__ import annotations

import itertools
import json
import re
import unicodedata
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.datadict import dictionary_VR
from typer.testing import CliRunner

from dicom_files import slice_of
from napari_sparse3d.io import scan
from napari_sparse3d.io.dicom.header import IDENTIFYING
from napari_sparse3d.io.naming import identity_words, own_file_name, safe_file_name, without_identity
from persons import BORN, FAMILY, GIVEN, NAME, NUMBER, RECIPE, SECOND, content, planted_series, traces_in

KEPT = ("T1", "ax", "3D")


# -- the search --------------------------------------------------------------------------------------------------------


def test_the_search_finds_what_it_is_for() -> None:
    for text in ("Zebeda\u0308us", "ZEBEDAEUS", "z-e-b-e-d-a-u-s", "Jürgen", "Jue\u00adrgen", "mrn 0815.77", "29/2/34"):
        assert traces_in(f"T1 {text} ax"), text
    assert not traces_in("T1 ax 3D 1.5 mm, series 3 of 29, 0.2934")


# -- the spellings -----------------------------------------------------------------------------------------------------


def names() -> Iterator[str]:
    plain = {"ä": "a", "ü": "u", "ß": "ss"}
    german = {"ä": "ae", "ü": "ue", "ß": "ss"}
    for word in (FAMILY, GIVEN, SECOND):
        forms = [
            word,
            unicodedata.normalize("NFD", word),
            "".join(plain.get(ch, ch) for ch in word),
            "".join(german.get(ch, ch) for ch in word),
        ]
        for form in forms:
            yield from (form, form.upper(), form.lower(), form.swapcase())
        wide = "".join(chr(ord(ch) + 0xFEE0) if "!" <= ch <= "~" else ch for ch in forms[2])
        for hidden in ("\u00ad", "\u200b", "\u200d", "\u2060", "\ufeff"):
            yield hidden.join((forms[0][:3], forms[0][3:]))
        yield from (
            wide,
            " ".join(forms[2]),
            "-".join(forms[3]),
            ".".join(forms[2].upper()),
            f"{forms[0]}s",
            f"x{forms[3]}x",
        )
        yield word.encode().decode("latin-1")  # a program that took UTF-8 for Latin-1
    for order in itertools.permutations(("Zebedaeus", "Jürgen", "Strass")):
        for between in (" ", "", "_", "^", ", ", "-", ".", "/"):
            yield between.join(order)
    yield from ("J. Zebedäus", "Zebedaeus, J.", "JZebedäus", "ZEBEDAUSJ", "Zebedäus_J_S", "j.zebedaeus@clinic.org")


def numbers() -> Iterator[str]:
    yield from (
        NUMBER,
        NUMBER.lower(),
        "MRN081577",
        "mrn 0815 77",
        "MRN_0815_77",
        "0815-77",
        "MRN.0815.77",
        "M R N 0815 77",
    )


def dates() -> Iterator[str]:
    day, month, year = "29", "02", "1934"
    for between in ("-", ".", "/", "_", " ", ""):
        yield from (between.join(order) for order in ((year, month, day), (day, month, year), (month, day, year)))
    yield from ("29.2.34", "29/02/34", "2/29/34", "34-02-29", "340229", "290234", "29-2-1934", "２９.０２.１９３４")
    named = ("Feb", "feb.", "FEBRUARY", "Februar", "février", "fevrier", "febrero", "febbraio", "fevereiro", "februari",
             "lutego", "февраля", "Φεβρουαρίου", "şubat", "února")  # fmt: skip
    for month_name in named:
        yield from (f"29 {month_name} 1934", f"29.{month_name} 1934", f"29-{month_name}-34")
    yield from (
        "February 29, 1934",
        "February 29th 1934",
        "1934 Feb 29",
        "29 de febrero de 1934",
        "1934年2月29日",
        "29th of February 1934",
    )


SPELLINGS = [*names(), *numbers(), *dates()]


def test_there_are_two_hundred_spellings() -> None:
    assert len(set(SPELLINGS)) >= 200


def identity() -> frozenset[str]:
    return identity_words([NUMBER, BORN], [NAME])


@pytest.mark.parametrize("place", ["T1 ax {} 3D", "T1_ax_{}_3D", "{} T1 ax 3D", "T1 ax 3D ({})"])
def test_every_spelling_goes_and_the_rest_stays(place: str) -> None:
    known = identity()
    for spelling in SPELLINGS:
        text = without_identity(place.format(spelling), known)
        assert not traces_in(text), (spelling, text)
        assert all(word in text for word in KEPT), (spelling, text)


@pytest.mark.parametrize(
    ("person", "gone"),
    [
        ("Li^Wu", ["Li", "WU", "li", "LiWu", "wuli", "LI_WU", "Wu, Li"]),
        ("王^小明", ["王小明", "小明", "王", "頭部王小明", "王 小 明"]),
        (
            "Yamada^Tarou=山田^太郎=やまだ^たろう",
            ["山田", "太郎", "山田太郎", "ヤマダ", "yamada", "ﾔﾏﾀﾞ", "頭部山田太郎"],
        ),
        ("Hong^Gildong=洪^吉洞=홍^길동", ["홍길동", "길동", "洪吉洞", "GILDONG"]),
        ("Щукин^Юрий", ["ЩУКИН", "Shchukin", "Schukin", "Yuri", "Iurii", "Юрий", "щукина"]),
        ("Ivanov^Sergey", ["Иванов", "Ivanoff", "ИВАНОВ", "Сергей"]),
        ("Παπαδόπουλος^Γιώργος", ["ΠΑΠΑΔΟΠΟΥΛΟΣ", "Papadopoulos", "γιωργος", "Giorgos"]),
        ("Ångström^Øystein", ["Angstrom", "Ångstroem", "ANGSTROM", "Oystein", "Øystein"]),
        ("Łukaszewicz^Żaneta", ["Lukaszewicz", "ŁUKASZEWICZ", "Zaneta"]),
        ("O'Brien^Sean", ["O'Brien", "OBrien", "O’BRIEN", "o brien"]),
        ("Nguyễn^Thị", ["Nguyen", "NGUYỄN", "Thi"]),
        ("García-López^José", ["GARCIA", "Lopez", "GarciaLopez", "Jose", "García"]),
        ("كمال^سالم", ["كمال", "سالم"]),
        ("Axial^Tee", ["Axial", "AXIAL"]),  # privacy before description
    ],
)
def test_names_of_all_scripts_and_lengths(person: str, gone: list[str]) -> None:
    known = identity_words([], [person])
    for name in gone:
        for text in (f"T1 {name} 3D", f"T1_{name}_3D"):
            assert set(re.split(r"[\s_]+", without_identity(text, known))) == {"T1", "3D"}, name


@pytest.mark.parametrize("person", ["A^B", "T^1", "3^D", "Test^01", "Mr^T", "Li^Wu", "Doe^Jane^^Dr^MD", "An^Le", ""])
def test_terms_of_imaging_stay(person: str) -> None:
    """Single letters and short numbers of a name erase nothing."""
    known = identity_words(["1", "01", "MR", "Head and Neck Clinic", "3T"], [person])
    for text in ("T1 3D", "ep2d_diff b1000", "CT Thorax 3.0", "t2_tse_sag_p2", "MPRAGE 1mm iso", "FLAIR ax fs",
                 "WATER: LAVA",
                 "Head Neck 5.0 B30f", "TOF 3D multi-slab", "DTI 64 dir 2.5 2.5 2.5"):  # fmt: skip
        assert without_identity(text, known) == text


def test_what_identifies_is_read_in_every_tag() -> None:
    for keyword in IDENTIFYING:
        dataset = slice_of((0, 0, 0))
        is_date = dictionary_VR(keyword) == "DA"
        setattr(dataset, keyword, BORN if is_date else FAMILY)
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.SeriesDescription = "T1 29021934 ax" if is_date else "T1 ZEBEDAEUS ax"
        assert not traces_in(_described(dataset)), keyword


def _described(dataset: pydicom.Dataset) -> str:
    from io import BytesIO

    from napari_sparse3d.io.dicom.gather import _describe
    from napari_sparse3d.io.dicom.header import FileHeader

    stream = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.save_as(stream, enforce_file_format=True)
        stream.seek(0)
        again = pydicom.dcmread(stream)
        return _describe(FileHeader(Path("x"), {}, again, "", 0)).description


@pytest.mark.slow
@pytest.mark.parametrize("keyword", IDENTIFYING)
def test_every_spelling_of_every_tag(keyword: str) -> None:
    dataset = slice_of((0, 0, 0), SpecificCharacterSet="ISO_IR 192")
    known = {"PN": NAME, "DA": BORN}.get(dictionary_VR(keyword), f"{FAMILY} {GIVEN} {SECOND}")
    setattr(dataset, keyword, known)
    for spelling in dates() if known == BORN else names():
        for described in ("SeriesDescription", "ProtocolName"):
            dataset.SeriesDescription = ""
            setattr(dataset, described, f"T1 ax {spelling} 3D")
            text = _described(dataset)
            assert not traces_in(text), (keyword, spelling, text)
            assert all(word in text for word in KEPT), (keyword, spelling, text)


# -- files -------------------------------------------------------------------------------------------------------------


def test_dates_in_names_of_files_do_not_go_out() -> None:
    for date in dates():
        assert not traces_in(safe_file_name(Path(f"ct_{date}_thorax.nii".replace("/", "-")))), date


def test_the_one_who_opens_a_file_sees_its_name(tmp_path: Path) -> None:
    import nibabel

    from napari_sparse3d.napari_reader import read_layers

    for name in ("Zebedaeus_before", "Zebedaeus_after"):
        nibabel.save(nibabel.Nifti1Image(np.ones((3, 3, 3), np.uint8), np.eye(4)), tmp_path / f"{name}.nii.gz")
        ((_, kwargs, _),) = read_layers(tmp_path / f"{name}.nii.gz")
        assert kwargs["name"] == name
    info = CliRunner().invoke(_app(), ["info", str(tmp_path)])
    assert "Zebedaeus_before" in info.stdout
    assert "Zebedaeus_after" in info.stdout
    for series in scan(tmp_path):
        assert not traces_in(json.dumps(series.as_dict()) + repr(series) + series.load().name)
    assert own_file_name(Path("a\x1b[31mb\u202ec.nii")) == "abc"


# -- every command -----------------------------------------------------------------------------------------------------


def _app() -> Any:
    from napari_sparse3d.cli import app

    return app


@pytest.fixture
def dataset_folder(tmp_path: Path) -> Path:
    """Two classes, whose folders carry the person's name as well."""
    root = tmp_path / "Zebedaeus 29.02.1934"
    for label, radius in (("ball Zebedäus", 3.0), ("large_JUERGEN", 4.5)):
        for number in range(4):
            planted_series(root / label / f"Juergen Zebedaeus {number}", SPELLINGS[7 * number + 3], radius, number)
    return root


def test_no_command_lets_a_person_out(
    dataset_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.clear()  # of what making the files said
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.chdir(out)
    monkeypatch.setenv("NAPARI_SPARSE3D_CACHE", str(tmp_path / "cache"))
    (out / "r.toml").write_text(RECIPE)
    one = next(path for path in sorted(dataset_folder.rglob("*")) if path.is_dir() and path.name.endswith("0"))
    broken = tmp_path / "Zebedaeus Juergen.nii"
    broken.write_text(f"{NAME} {BORN} " * 40)
    model = ["-s", "arguments.field=16", "-s", "arguments.channels=[4,8]", "-s", "arguments.embedding=8"]
    said = []
    for line, code in (
        (["info", one], 0),
        (["info", one, "--json"], 0),
        (["info", dataset_folder, "--json"], 0),
        (["info", broken], 1),
        (["info", tmp_path / "Zebedaeus.nii"], 1),
        (["convert", one, "-o", "c.nii.gz", "--json"], 0),
        (["convert", one, "-o", "c.nrrd"], 0),
        (["convert", dataset_folder, "-o", "converted"], 0),
        (["convert", broken, "-o", "d.nii"], 1),
        (["voxelize", one, "-r", "r.toml", "-o", "v.npz"], 0),
        (["voxelize", one, "-r", "ct-bone-110", "-o", "w.npz", "--json"], 0),
        (["train", dataset_folder, "-e", "1", "-r", "r.toml", *model, "--name", "balls", "-o", "m.safetensors"], 0),
        (["train", dataset_folder, "-e", "1", "-r", "r.toml", *model, "--json-lines"], 0),
        (["train", tmp_path / "Zebedaeus", "-e", "1", "--json"], 1),
        (["evaluate", "m.safetensors", dataset_folder, "--split", "all", "-o", "report"], 0),
        (["evaluate", "m.safetensors", dataset_folder, "--split", "all", "--json"], 0),
        (["runs"], 0),
        (["runs", "--json"], 0),
        (["models", "m.safetensors", "--json"], 0),
        (["activations", one, "-m", "m.safetensors", "--json"], 0),
        (["activations", broken, "-m", "m.safetensors"], 1),
        (["explain", one, "-m", "m.safetensors", "-o", "e.nii.gz", "--json"], 0),
        (["explain", one, "-m", "m.safetensors", "-o", "e.nrrd"], 0),
        (["explain", one, "-m", "m.safetensors", "-o", "e.npz"], 0),
        (["explain", broken, "-m", "m.safetensors", "-o", "f.nii"], 1),
        (["predict", dataset_folder, broken, "-m", "m.safetensors", "-o", "p.parquet"], 1),
        (["map", "p.parquet", "-o", "map.parquet", "--method", "pca", "--json"], 0),
        (["similar", one, "--table", "p.parquet", "-m", "m.safetensors"], 0),
        (["export", "m.safetensors", "--format", "torch"], 0),
        (["doctor", "--json"], None),
    ):
        done = CliRunner().invoke(_app(), [str(word) for word in line], env={"COLUMNS": "2000"})
        assert done.exception is None or isinstance(done.exception, SystemExit), (line, done.exception)
        assert code is None or done.exit_code == code, (line, done.output)
        shown = done.stdout
        if line[0] == "similar":  # its table shows the column path
            shown = "".join(row for row in shown.splitlines() if str(tmp_path) not in row)
        if line[0] in ("evaluate", "runs"):
            shown = shown.replace(dataset_folder.name, "")  # the set as its user called it, on the terminal
        said.append((" ".join(map(str, line[:1])), shown + done.stderr))
    for command, text in said:
        assert not traces_in(text), (command, traces_in(text), text[:3000])
    written = [path for path in sorted(out.rglob("*")) if path.is_file()]
    assert {path.suffix for path in written} >= {
        ".gz",
        ".nrrd",
        ".npz",
        ".safetensors",
        ".parquet",
        ".sqlite",
        ".json",
        ".md",
    }
    for path in written:
        assert not traces_in(str(path.relative_to(out))), path
        assert not traces_in(content(path)), (path.name, traces_in(content(path)))
    assert not traces_in(caplog.text)
