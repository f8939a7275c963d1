"""The cases of several sources, each of them once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_sparse3d.cohort import gather
from napari_sparse3d.cohort.gather import Places, places_of
from napari_sparse3d.errors import InputError
from napari_sparse3d.voxels import VoxelSet


def make_sets(folder: Path, names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    indices = np.argwhere(np.ones((2, 3, 4))).astype(np.int32)
    for name in names:
        VoxelSet(indices, np.ones((len(indices), 1), np.float32), (8, 8, 8), np.eye(4)).save(folder / f"{name}.npz")
    return folder


def test_each_case_counts_once_from_wherever_it_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = make_sets(tmp_path / "all" / "first", "abc"), make_sets(tmp_path / "all" / "second", "ab")
    (tmp_path / "link").symlink_to(first)
    monkeypatch.chdir(tmp_path)
    for sources in (
        [first, second],
        [first, second, first],
        [first, tmp_path / "all"],
        [tmp_path / "link", Path("all"), first / "a.npz"],
    ):
        gathered = gather(sources)
        assert len({case.path.resolve() for case in gathered.cases}) == len(gathered.cases) == 5
        assert [case.number for case in gathered.cases] == [0, 1, 2, 3, 4]
    # a copy elsewhere is a case of its own; the first way to a case gives its label
    assert [case.label for case in gather([tmp_path / "all"]).cases] == ["first"] * 3 + ["second"] * 2
    assert [case.label for case in gather([second, tmp_path / "all"]).cases][:2] == [None, None]


def test_cases_that_are_there_are_counted_and_left_out(tmp_path: Path) -> None:
    first = make_sets(tmp_path / "first", "abc")
    (tmp_path / "cases.csv").write_text("path,label\nfirst/a.npz,x\nfirst/b.npz,y\n")
    rows = [{"path": "first/a.npz"}, {"path": str(first / "b.npz"), "series": None}, {"path": None}, {"path": "a\0b"}]
    known = places_of(rows, tmp_path / "table.parquet")
    gathered = gather([tmp_path / "cases.csv", first], known)
    assert [case.path.name for case in gathered.cases] == ["c.npz"]
    assert gathered.n_known == 4
    assert gather([first], places_of(rows[:0], None)).n_known == 0
    with pytest.raises(InputError, match="the folder is empty"):
        gather([first, make_sets(tmp_path / "empty", "")])


def test_series_of_one_folder_and_labels_of_one_map_are_cases_of_their_own(tmp_path: Path) -> None:
    places, folder, mask = Places(), tmp_path / "scans", tmp_path / "mask.nii"
    assert [places.take(folder, series) for series in (0, 1, 1, None, 2)] == [True, True, False, False, False]
    assert [places.take(tmp_path / "ct.nii", None, mask, item) for item in "112"] == [True, False, True]
    assert places.take(tmp_path / "ct.nii", None)
