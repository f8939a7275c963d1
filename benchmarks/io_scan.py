"""Scanning headers: ours against pydicom's own loop over the same files, the same tags, in the same process.

    python benchmarks/io_scan.py --files 10000

Prints one JSON object: seconds and files a second of both (interleaved, median), their ratio, and what the scan keeps
in memory a file. The floor is opening every file and reading its first 4 kB.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from statistics import median

import pydicom

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from dicom_files import save, slice_of
from napari_sparse3d.io import scan
from napari_sparse3d.io.dicom.header import TAGS


def make(folder: Path, n_files: int) -> list[Path]:
    """Series of 250 slices with headers of a realistic length."""
    template = slice_of((0, 0, 0), size=(64, 64))
    for number in range(60):
        template.add_new(0x00091000 + number, "LO", f"private value {number}")
        template.add_new(0x00190000 + 0x1000 + number, "DS", "1.5")
    paths = []
    for index in range(n_files):
        series, k = divmod(index, 250)
        template.SeriesInstanceUID = f"1.2.3.{series}"
        template.SOPInstanceUID = template.file_meta.MediaStorageSOPInstanceUID = f"1.2.4.{index}"
        template.InstanceNumber = k + 1
        template.ImagePositionPatient = [0, 0, 2.0 * k]
        paths.append(save(template, folder / f"{series:03d}" / f"{k:04d}"))
    return paths


def seconds(work: object, *args: object) -> float:
    start = time.perf_counter()
    work(*args)  # type: ignore[operator]
    return time.perf_counter() - start


def by_pydicom(paths: list[Path]) -> None:
    for path in paths:
        dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=TAGS)
        # the tags that any scan needs are converted on first use
        for keyword in ("SeriesInstanceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
            dataset.get(keyword)


def by_opening(paths: list[Path]) -> None:
    for path in paths:
        with path.open("rb") as file:
            file.read(4096)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        paths = make(Path(name), options.files)
        ours, theirs, floor = [], [], []
        for _ in range(options.repeats):
            floor.append(seconds(by_opening, paths))
            theirs.append(seconds(by_pydicom, paths))
            ours.append(seconds(scan, name))
        tracemalloc.start()
        found = scan(name)
        kept, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    print(
        json.dumps(
            {
                "workload": f"scan {options.files} headers",
                "series": len(found),
                "ours_s": round(median(ours), 3),
                "pydicom_s": round(median(theirs), 3),
                "ratio": round(median(t / o for t, o in zip(theirs, ours, strict=True)), 2),
                "files_per_s": round(options.files / median(ours)),
                "floor_s": round(median(floor), 3),
                "kept_bytes_per_file": round(kept / options.files),
                "peak_mb": round(peak / 1e6, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
