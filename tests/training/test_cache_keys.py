"""The cache never gives one case's voxels to another: its key covers all that they follow from."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import nibabel
import numpy as np
import pytest

from detached_files import nrrd_text, write_metaimage
from napari_sparse3d import voxels as voxels_package
from napari_sparse3d.cases import store as store_module
from napari_sparse3d.cases.parts import state_of
from napari_sparse3d.cases.sources import cases_of, series_at
from napari_sparse3d.cases.store import VoxelStore, content_hash
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import Components, RangeThreshold, Recipe, ToLongestSide, voxelize
from napari_sparse3d.widgets import session

MASKS = Recipe(threshold=RangeThreshold(low=0.5))
FORMATS = ["mhd", "nhdr", "hdr", "img", "zip", "folder"]


def write_scan(folder: Path, ending: str, ones: int) -> Path:
    """A volume with so many ones; of every number of ones the header has the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    values = (np.arange(60) < ones).astype(np.int16)
    if ending == "mhd":
        (folder / "a.raw").write_bytes(values.tobytes())
        return write_metaimage(folder / "a.mhd", file="a.raw")
    if ending == "nhdr":
        (folder / "a.raw").write_bytes(values.tobytes())
        (folder / "a.nhdr").write_bytes(nrrd_text({"data file": "a.raw"}))
        return folder / "a.nhdr"
    if ending in ("hdr", "img"):
        nibabel.save(nibabel.Nifti1Pair(values.reshape(5, 4, 3), np.eye(4)), folder / "a.img")
        return folder / f"a.{ending}"
    inside = write_scan(folder / "inside", "mhd", ones)
    if ending == "folder":
        return inside.parent
    import zipfile

    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        for file in sorted(inside.parent.iterdir()):
            archive.write(file, file.name)
    return folder / "a.zip"


@pytest.mark.parametrize("as_mask", [False, True], ids=["images", "masks"])
@pytest.mark.parametrize("ending", FORMATS)
def test_a_table_of_alike_headers_gives_each_case_its_own_voxels(ending: str, as_mask: bool, tmp_path: Path) -> None:
    rows = []
    for ones in (7, 20, 41):
        place = write_scan(tmp_path / str(ones), ending, ones).relative_to(tmp_path)
        rows.append(f"{place},x,{place if as_mask else ''}")
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["path,label,mask", *rows]) + "\n")
    cases = cases_of(table)
    if ending in ("hdr", "img") and not as_mask:
        from dataclasses import replace

        cases = [replace(case, kind="scan") for case in cases]  # whether a table takes these is no matter here
    store = VoxelStore(MASKS, tmp_path / "cache")
    assert [store.get(case).n_active for case in cases] == [7, 20, 41]
    write_scan(tmp_path / "20", ending, 33)
    assert [store.get(case).n_active for case in cases] == [7, 33, 41]
    assert [VoxelStore(MASKS, tmp_path / "cache").get(case).n_active for case in cases] == [7, 33, 41]


@pytest.mark.parametrize("ending", FORMATS)
def test_kept_rows_and_sessions_see_rewritten_voxels_too(ending: str, tmp_path: Path) -> None:
    path = write_scan(tmp_path / "one", ending, 7)

    def seen() -> tuple[str, str]:
        (case,) = series_at(path).cases
        return state_of(case), session.content_hash(path)

    before = seen()
    write_scan(tmp_path / "one", ending, 8)
    assert all(one != other for one, other in zip(before, seen(), strict=True))


def test_a_file_alone_has_the_hash_that_sha256sum_prints(tmp_path: Path) -> None:
    path = write_metaimage(tmp_path / "a.mha")
    assert content_hash(path) == session.content_hash(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_rewrite_that_keeps_size_and_time_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(b"one")
    before, times = content_hash(path), path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert content_hash(path) != before


def test_a_name_that_says_labels_counts_and_no_other(tmp_path: Path) -> None:
    keys = []
    for name in ("anna.mha", "berta.mha", "anna_seg.mha"):
        write_metaimage(tmp_path / name)
        (tmp_path / "t.csv").write_text(f"path,label\n{name},x\n")
        keys.append(VoxelStore(MASKS, tmp_path / "cache").key(cases_of(tmp_path / "t.csv")[0]))
    assert keys[0] == keys[1] != keys[2]


def test_sets_of_an_earlier_way_to_make_voxels_are_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_metaimage(tmp_path / "a.mha")
    (tmp_path / "t.csv").write_text("path,label\na.mha,x\n")
    (case,) = cases_of(tmp_path / "t.csv")
    now = VoxelStore(MASKS, tmp_path / "cache").key(case)
    monkeypatch.setattr(store_module, "VOXELS_VERSION", voxels_package.VOXELS_VERSION + 1)
    assert VoxelStore(MASKS, tmp_path / "cache").key(case) != now


def test_other_voxels_raise_the_version() -> None:
    """Where the sum has changed, voxels are made in another way: raise VOXELS_VERSION, then write the new pair here."""
    z, y, x = np.indices((24, 20, 28))
    data = ((z * 7 + y * 13 + x * 5) % 31 + 40 * ((z - 12) ** 2 + (y - 10) ** 2 + (x - 14) ** 2 < 60)).astype(np.int16)
    volume = Volume(data, np.diag([2.0, 1.0, 1.0, 1.0]))
    total = hashlib.sha256()
    for recipe in (
        Recipe(threshold=RangeThreshold(low=20, high=50), features=("intensity",)),
        Recipe(threshold=RangeThreshold(low=35.37), resample=ToLongestSide(voxels=14)),
        Recipe(threshold=RangeThreshold(low=28), components=Components(keep=1)),
    ):
        made = voxelize(volume, recipe)
        assert made.n_active > 50
        total.update(np.ascontiguousarray(made.indices, "<i4").tobytes())
        total.update(np.round(100 * made.features).astype("<i4").tobytes())
    assert (voxels_package.VOXELS_VERSION, total.hexdigest()[:16]) == (3, "0918f05caf123842")
