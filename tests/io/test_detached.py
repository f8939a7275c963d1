"""Headers that name their data: nothing outside their own folder, everything in it; from a folder as from a zip."""

from __future__ import annotations

import bz2
import gzip
import zipfile
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest

from detached_files import AFFINE, DATA, RAW, STORED, metaimage_text, nrrd_text
from napari_sparse3d.errors import ReadError
from napari_sparse3d.io import read_sequence, read_volume, scan

SLICES = [STORED[:, :, k].tobytes(order="F") for k in range(3)]
ROWS = [STORED[:, j, k].tobytes() for k in range(3) for j in range(4)]


def check(path: Path) -> None:
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.data, DATA)
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-9)


Files = dict[str, bytes]


def slices(pattern: str, numbers: list[int], parts: list[bytes] = SLICES, pack: object = bytes) -> Files:
    return {pattern % n: pack(part) for n, part in zip(numbers, parts, strict=True)}  # type: ignore[operator]


def listed(files: Files, head: str = "LIST") -> str:
    return "\n".join([head, *files])


S = slices("s%d.raw", [0, 1, 2])
ROW_FILES = slices("r%02d.raw", list(range(12)), ROWS)

# name of the case: header's ending, changes of the header, the data file field, the files
INSIDE: dict[str, tuple[str, dict[str, str | None], str, Files]] = {
    "nrrd one": (".nhdr", {}, "a.raw", {"a.raw": RAW}),
    "nrrd dot": (".nhdr", {}, "./a.raw", {"a.raw": RAW}),
    "nrrd backslash dot": (".nhdr", {}, ".\\a.raw", {"a.raw": RAW}),
    "nrrd there and back": (".nhdr", {}, "sub/../a.raw", {"a.raw": RAW}),
    "nrrd other capitals": (".nhdr", {}, "A.raw", {"a.RAW": RAW}),
    "nrrd blanks": (".nhdr", {}, "my scan 1.raw", {"my scan 1.raw": RAW}),
    "nrrd gz": (".nhdr", {"encoding": "gzip"}, "a.raw.gz", {"a.raw.gz": gzip.compress(RAW)}),
    "nrrd bz2": (".nhdr", {"encoding": "bzip2"}, "a.raw.bz2", {"a.raw.bz2": bz2.compress(RAW)}),
    "nrrd list": (".nhdr", {}, listed(S), S),
    "nrrd list with dots": (".nhdr", {}, "LIST\n./s0.raw\n./s1.raw\n./s2.raw", S),
    "nrrd list 2": (".nhdr", {}, listed(S, "LIST 2"), S),
    "nrrd list of rows": (".nhdr", {}, listed(ROW_FILES, "LIST 1"), ROW_FILES),
    "nrrd list of slabs": (".nhdr", {}, listed(S, "LIST 3"), S),
    "nrrd list of gz": (
        ".nhdr",
        {"encoding": "gz"},
        "LIST\ns0.gz\ns1.gz\ns2.gz",
        slices("s%d.gz", [0, 1, 2], pack=gzip.compress),
    ),
    "nrrd list with skips": (
        ".nhdr",
        {"byte skip": "4", "line skip": "1"},
        listed(S),
        slices("s%d.raw", [0, 1, 2], [b"x\n1234" + part for part in SLICES]),
    ),
    "nrrd list, last bytes": (
        ".nhdr",
        {"byte skip": "-1"},
        listed(S),
        slices("s%d.raw", [0, 1, 2], [b"head" * (k + 1) + part for k, part in enumerate(SLICES)]),
    ),
    "nrrd pattern": (".nhdr", {}, "img.%03d.raw 1 3 1", slices("img.%03d.raw", [1, 2, 3])),
    "nrrd pattern 2": (".nhdr", {}, "img.%03d.raw 1 3 1 2", slices("img.%03d.raw", [1, 2, 3])),
    "nrrd pattern in steps": (".nhdr", {}, "i%d.raw 10 20 5", slices("i%d.raw", [10, 15, 20])),
    "nrrd pattern backwards": (".nhdr", {}, "i%d.raw 3 1 -1", slices("i%d.raw", [3, 2, 1])),
    "nrrd pattern with a dot": (".nhdr", {}, "./i%d.raw 1 3 1", slices("i%d.raw", [1, 2, 3])),
    "nrrd pattern with %%": (".nhdr", {}, "5%%_%d.raw 1 3 1", slices("5%%_%d.raw", [1, 2, 3])),
    "nrrd pattern of rows": (".nhdr", {}, "r%02d.raw 0 11 1 1", ROW_FILES),
    "nrrd long header": (
        ".nhdr",
        {"comment field": "x" * 200_000},
        listed(S),
        S,
    ),
    "mhd one": (".mhd", {}, "a.raw", {"a.raw": RAW}),
    "mhd dot": (".mhd", {}, "./a.raw", {"a.raw": RAW}),
    "mhd other capitals": (".mhd", {}, "A.RAW", {"a.raw": RAW}),
    "mhd compressed": (".mhd", {"CompressedData": "True"}, "a.zraw", {"a.zraw": zlib.compress(RAW)}),
    "mhd list": (".mhd", {}, listed(S), S),
    "mhd list 2": (".mhd", {}, listed(S, "LIST 2"), S),
    "mhd list 2D": (".mhd", {}, listed(S, "LIST 2D"), S),
    "mhd list of rows": (".mhd", {}, listed(ROW_FILES, "LIST 1"), ROW_FILES),
    "mhd list with headers": (
        ".mhd",
        {"HeaderSize": "4"},
        listed(S),
        slices("s%d.raw", [0, 1, 2], [b"1234" + part for part in SLICES]),
    ),
    "mhd pattern": (".mhd", {}, "i%03d.raw 1 3 1", slices("i%03d.raw", [1, 2, 3])),
    "mhd pattern, first and last": (".mhd", {}, "i%d.raw 4 6", slices("i%d.raw", [4, 5, 6])),
    "mhd pattern, first": (".mhd", {}, "i%d.raw 4", slices("i%d.raw", [4, 5, 6])),
    "mhd pattern alone": (".mhd", {}, "i%d.raw", slices("i%d.raw", [1, 2, 3])),
    "mhd pattern in steps": (".mhd", {}, "i%d.raw 2 6 2", slices("i%d.raw", [2, 4, 6])),
}


def header_of(ending: str, changes: dict[str, str | None], names: str) -> bytes:
    if ending.lower() == ".mhd":
        return metaimage_text(changes, names)
    field, _, lines = names.partition("\n")
    return nrrd_text({**changes, "data file": field}) + lines.encode()


@pytest.mark.parametrize("case", INSIDE)
def test_from_a_folder(case: str, tmp_path: Path) -> None:
    ending, changes, names, files = INSIDE[case]
    (tmp_path / f"a{ending}").write_bytes(header_of(ending, changes, names))
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    check(tmp_path / f"a{ending}")
    (info,) = scan(tmp_path)  # the data beside it is no series of its own
    assert info.readable
    (tmp_path / f"a{ending}").rename(tmp_path / f"B{ending.upper()}")
    check(tmp_path / f"B{ending.upper()}")


@pytest.mark.parametrize("case", INSIDE)
@pytest.mark.parametrize("folder", ["", "Doe Jane/ct/"])
def test_from_a_zip(case: str, folder: str, tmp_path: Path) -> None:
    ending, changes, names, files = INSIDE[case]
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(folder + name, content)
        archive.writestr(f"{folder}Doe_Jane_ct{ending}", header_of(ending, changes, names))
    check(tmp_path / "a.zip")
    (info,) = scan(tmp_path / "a.zip")
    assert info.description == "ct"


def test_two_scans_of_one_name_in_two_folders_of_a_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for place, more in (("one", 0), ("two", 1000)):
            archive.writestr(f"{place}/a.mhd", metaimage_text(None, "a.raw"))
            archive.writestr(f"{place}/a.raw", (STORED + more).astype("<i2").tobytes(order="F"))
    found = scan(tmp_path / "a.zip")
    assert len(found) == 2
    for info, more in zip(found, (0, 1000), strict=True):
        np.testing.assert_array_equal(read_volume(info).data, DATA + more)


def test_names_that_differ_in_capitals_alone_are_two_members(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(STORED, np.eye(4)), tmp_path / "a.nii")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "a.nii", "a.nii")
        archive.write(tmp_path / "a.nii", "A.nii")
    assert len(scan(tmp_path / "a.zip")) == 2


@pytest.mark.parametrize("klass", [nibabel.Nifti1Pair, nibabel.Nifti2Pair, nibabel.AnalyzeImage])
@pytest.mark.parametrize(
    "names", [("a.hdr", "a.img"), ("A.HDR", "A.IMG"), ("a.hdr", "A.IMG"), ("a.hdr.gz", "a.img.gz")]
)
@pytest.mark.parametrize("zipped", [False, True])
def test_pairs(klass: type, names: tuple[str, str], zipped: bool, tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.mkdir()
    nibabel.save(klass(STORED, np.diag([1, 2, 2.5, 1])), made / f"a.img{'.gz' if names[0].endswith('gz') else ''}")
    sources = sorted(path for path in made.iterdir() if ".mat" not in path.name)
    assert len(sources) == 2
    folder = tmp_path / "in"
    folder.mkdir()
    for source, name in zip(sources, names, strict=True):
        source.rename(folder / name)
    opened = [folder, folder / names[0], folder / names[1]]
    if zipped:
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            for name in names:
                archive.write(folder / name, f"x/{name}")
        opened = [tmp_path / "a.zip"]
    for path in opened:
        volume = read_volume(path)
        assert sorted(volume.data.ravel()) == sorted(STORED.ravel())
        assert volume.spacing_mm == pytest.approx((2.5, 2, 1))
        assert len(scan(path)) == 1


OUTSIDE = {
    "up": "../{}",
    "up and down": "../in/../{}",
    "backslashes": "..\\{}",
    "mixed": ".\\../{}",
    "absolute": "{folder}/{}",
    "absolute with dots": "{folder}/in/../{}",
    "drive": "C:\\data\\{}",
    "drive without a slash": "c:{}",
    "share": "\\\\server\\share\\{}",
    "url": "http://localhost/{}",
    "file url": "file://{folder}/{}",
    "below": "sub/{}",
    "a link": "link-{}",
    "a linked folder": "linked/{}",
    "home": "~/{}",
}


@pytest.mark.parametrize("form", ["one", "list", "pattern"])
@pytest.mark.parametrize("ending", [".mhd", ".nhdr", ".mha", ".nrrd"])
@pytest.mark.parametrize("how", OUTSIDE)
def test_nothing_outside_is_read(how: str, ending: str, form: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    parts = [RAW] if form == "one" else SLICES
    for number, part in enumerate(parts):
        for place in (tmp_path, folder / "sub"):
            (place / f"s{number}.raw").write_bytes(part)
        (folder / f"link-s{number}.raw").symlink_to(tmp_path / f"s{number}.raw")
    (folder / "linked").symlink_to(tmp_path, target_is_directory=True)

    def named(name: str) -> str:
        return OUTSIDE[how].replace("{folder}", str(tmp_path)).replace("{}", name)

    if form == "one":
        names = named("s0.raw")
    elif form == "list":
        names = "\n".join(["LIST", *(named(f"s{k}.raw") for k in range(3))])
    else:
        names = f"{named('s%d.raw')} 0 2 1"
    path = folder / f"a{ending}"
    path.write_bytes(header_of(".mhd" if ending.startswith(".m") else ".nhdr", {}, names))
    for opened in (path, folder):
        with pytest.raises(ReadError, match=r"another folder|not beside it"):
            read_volume(opened)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(path, f"in/a{ending}")
        for number, part in enumerate(parts):
            archive.writestr(f"s{number}.raw", part)
    with pytest.raises(ReadError):
        read_volume(tmp_path / "a.zip")


def test_one_name_of_a_list_is_enough(tmp_path: Path) -> None:
    """The whole header is looked at, not its beginning."""
    (tmp_path / "in").mkdir()
    n = 9000
    for k in range(n - 1):
        (tmp_path / "in" / f"slice-{k:05d}.raw").write_bytes(b"\1\2")
    (tmp_path / "last.raw").write_bytes(b"\1\2")
    names = [f"slice-{k:05d}.raw" for k in range(n - 1)]
    path = tmp_path / "in" / "a.nhdr"
    path.write_bytes(header_of(".nhdr", {"sizes": f"1 1 {n}"}, "\n".join(["LIST", *names, "../last.raw"])))
    assert path.stat().st_size > 100_000
    with pytest.raises(ReadError, match="another folder"):
        scan(path)


def test_a_link_that_stays_inside(tmp_path: Path) -> None:
    (tmp_path / "data.raw").write_bytes(RAW)
    (tmp_path / "a.raw").symlink_to("data.raw")
    (tmp_path / "a.mhd").write_bytes(metaimage_text(None, "a.raw"))
    check(tmp_path / "a.mhd")
    (tmp_path / "b.mhd").write_bytes(metaimage_text(None, str(tmp_path / "data.raw")))
    check(tmp_path / "b.mhd")


@pytest.mark.parametrize("ending", [".mhd", ".nhdr"])
def test_files_that_are_missing_too_few_or_of_another_size(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{ending}"

    def refused(names: str, match: str) -> None:
        path.write_bytes(header_of(ending, {}, names))
        with pytest.raises(ReadError, match=match):
            read_volume(path)

    refused("a.raw", "not beside it")
    for name, part in S.items():
        (tmp_path / name).write_bytes(part)
    refused("LIST\ns0.raw\ns1.raw", "where its sizes need 3")
    refused("LIST\ns0.raw\ns1.raw\ns2.raw\ns0.raw", "where its sizes need 3")
    refused("LIST", "names 0 data files")
    refused("s%d.raw 0 1 1", "names 2 data files")
    refused("s%d.raw 0 2 0", "pattern")
    refused("s%d.raw 0 2000000 1", "too many")
    refused("s%s.raw 0 2 1", "pattern")
    refused("s%n%d.raw 0 2 1", "pattern")
    refused("LIST\ns0.raw\ns1.raw\ns3.raw", "not beside it")
    (tmp_path / "s1.raw").write_bytes(SLICES[1] + b"!!")
    refused("LIST\ns0.raw\ns1.raw\ns2.raw", "longer")
    (tmp_path / "s1.raw").write_bytes(SLICES[1][:-2])
    refused("LIST\ns0.raw\ns1.raw\ns2.raw", r"truncated|claims")


def test_a_pipe_is_no_data_file(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "a.raw")
    (tmp_path / "a.mhd").write_bytes(metaimage_text(None, "a.raw"))
    with pytest.raises(ReadError, match="not beside it"):
        read_volume(tmp_path / "a.mhd")


def test_volumes_in_a_list_of_files(tmp_path: Path) -> None:
    changes = {
        "dimension": "4", "sizes": "5 4 3 2", "space directions": "(1,0,0) (0,2,0) (0,0,2.5) none",
        "kinds": "domain domain domain time", "units": '"" "" "" "ms"', "spacings": "nan nan nan 250",
    }  # fmt: skip
    (tmp_path / "t0.raw").write_bytes(RAW)
    (tmp_path / "t1.raw").write_bytes((STORED + 1).tobytes(order="F"))
    (tmp_path / "a.nhdr").write_bytes(header_of(".nhdr", changes, "LIST\nt0.raw\nt1.raw"))
    found = read_sequence(tmp_path / "a.nhdr")
    np.testing.assert_array_equal(found.data, np.stack([DATA, DATA + 1]))
    assert found.step_s == 0.25


@pytest.mark.parametrize("value", [8, 2, 0x0800])
def test_data_that_begins_like_dicom(value: int, tmp_path: Path) -> None:
    """Group 0008 is how a data set without the mark of DICOM begins: so may any image of small numbers."""
    stored = np.full(STORED.shape, value, "<i2")
    (tmp_path / "a.raw").write_bytes(stored.tobytes())
    (tmp_path / "a.mhd").write_bytes(metaimage_text(None, "a.raw"))
    nibabel.save(nibabel.Nifti1Pair(stored, np.eye(4)), tmp_path / "b.img")
    assert [info.description for info in scan(tmp_path)] == ["a", "b"]
    for name in ("a.mhd", "b.img", "b.hdr"):
        assert (read_volume(tmp_path / name).data == value).all()
