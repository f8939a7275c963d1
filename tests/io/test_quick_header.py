"""The quick header against pydicom: the same values on real files, or nothing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pydicom
import pytest

from napari_sparse3d.io.dicom import header as module
from napari_sparse3d.io.dicom.header import FileHeader, NotDicom, read_header
from napari_sparse3d.io.dicom.private import WANTED
from scans import case_of, manifest

SEQUENCES = {
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "ModalityLUTSequence",
    "RealWorldValueMappingSequence",
}


def seen_by_both(path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[FileHeader, FileHeader]:
    quick = read_header(path)
    with monkeypatch.context() as patch:
        patch.setattr(module, "quick_header", lambda *_: None)
        slow = read_header(path)
    return quick, slow


def plain(header: FileHeader, keyword: str) -> Any:
    value = header.get(keyword)
    if value is None or keyword in SEQUENCES:
        return bool(value)
    value = str(value) if isinstance(value, pydicom.valuerep.PersonName) else value
    items = [value] if isinstance(value, (str, bytes, int, float)) or not hasattr(value, "__len__") else list(value)
    if items and not isinstance(items[0], (str, bytes, pydicom.valuerep.PersonName)):
        items = [float(item) for item in items]
    else:
        items = [_number_or_text(str(item)) for item in items]
    return items if items and items != [""] else False


def as_numbers_or_one(value: Any) -> Any:
    if value is None or isinstance(value, bytes):
        return value
    items = [value] if isinstance(value, (str, int, float)) or not hasattr(value, "__len__") else list(value)
    items = [_number_or_text(str(item)) for item in items]
    return items[0] if len(items) == 1 else items


def _number_or_text(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text.strip()


def some_of(paths: list[Path], most: int = 6) -> list[Path]:
    """So many files of each folder, evenly spread: the slices of a series differ in little."""
    chosen = []
    for folder in sorted({path.parent for path in paths}):
        files = [path for path in paths if path.parent == folder and path.is_file()]
        chosen += files[:: max(1, -(-len(files) // most))]
    return chosen


def test_both_readers_agree_on_real_files(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count: Counter[str] = Counter()
    for entry in manifest(data_dir):
        for path in some_of(sorted(case_of(data_dir, entry["case"], tmp_path).folder.rglob("*"))):
            try:
                quick, slow = seen_by_both(path, monkeypatch)
            except NotDicom:
                continue
            count["quick" if quick.dataset is None else "left to pydicom"] += 1
            if quick.dataset is not None:
                continue
            assert quick.transfer_syntax == slow.transfer_syntax
            assert abs(quick.bytes_after - slow.bytes_after) <= 12
            for keyword in module._TAG_OF:
                assert plain(quick, keyword) == plain(slow, keyword), f"{path.name} {keyword}"
            for tag in WANTED:
                theirs = slow.private(tag)
                theirs = theirs if theirs is None or isinstance(theirs, (str, bytes)) else as_numbers_or_one(theirs)
                assert as_numbers_or_one(quick.private(tag)) == (None if theirs == "" else theirs), tag
    assert count["quick"] > 100, "most files are plain"
    assert count["left to pydicom"] > 10, "enhanced, deflated and big-endian files are not"
