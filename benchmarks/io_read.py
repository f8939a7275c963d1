"""Reading a CT series: ours against highdicom and against pydicom's loop, on the same files, in the same process.

    python benchmarks/io_read.py --slices 300 --side 512

Prints one JSON object: seconds of each (interleaved, median), the ratio to highdicom, and our peak memory in multiples
of the result, measured in a process of its own. The floor is reading the bytes of all files.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from statistics import median

import numpy as np
import pydicom

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from dicom_files import save, slice_of
from napari_sparse3d.io import read_volume


def make(folder: Path, n_slices: int, side: int) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = []
    for k in range(n_slices):
        pixels = rng.integers(0, 4096, (side, side), dtype=np.uint16)
        dataset = slice_of((-250, -250, 1.0 * k), size=(side, side), spacing=(0.9, 0.9), pixels=pixels, number=k + 1)
        dataset.PatientName = dataset.PatientID = dataset.AccessionNumber = ""
        dataset.StudyDate = dataset.StudyTime = dataset.StudyID = dataset.PatientBirthDate = dataset.PatientSex = ""
        dataset.ReferringPhysicianName = ""
        paths.append(save(dataset, folder / f"{k:04d}.dcm"))
    return paths


def ours(folder: Path) -> np.ndarray:
    return read_volume(folder).data


def by_highdicom(folder: Path) -> np.ndarray:
    import highdicom

    datasets = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
    volume = highdicom.get_volume_from_series(datasets, dtype=np.float32, apply_presentation_lut=False)
    return volume.to_patient_orientation("HAR").array


def by_pydicom(folder: Path) -> np.ndarray:
    datasets = [pydicom.dcmread(path) for path in folder.iterdir()]
    datasets.sort(key=lambda dataset: float(dataset.ImagePositionPatient[2]))
    stack = np.stack([dataset.pixel_array for dataset in datasets]).astype(np.float32)
    return stack * np.float32(datasets[0].RescaleSlope) + np.float32(datasets[0].RescaleIntercept)


def by_bytes(folder: Path) -> int:
    return sum(len(path.read_bytes()) for path in folder.iterdir())


def seconds(work: object, folder: Path) -> float:
    start = time.perf_counter()
    work(folder)  # type: ignore[operator]
    return time.perf_counter() - start


def peak_of(folder: Path) -> None:
    """Print the peak of all allocations while one series is read, in multiples of the result."""
    tracemalloc.start()
    result = read_volume(folder).data
    print(tracemalloc.get_traced_memory()[1] / result.nbytes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peak-of", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak_of:
        peak_of(options.peak_of)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, options.slices, options.side)
        if not np.array_equal(ours(folder), by_highdicom(folder)):
            raise SystemExit("ours and highdicom's arrays differ: no time counts")
        times: dict[str, list[float]] = {"ours": [], "highdicom": [], "pydicom": [], "floor": []}
        for _ in range(options.repeats):
            works = {"floor": by_bytes, "highdicom": by_highdicom, "pydicom": by_pydicom, "ours": ours}
            for label, work in works.items():
                times[label].append(seconds(work, folder))
        peak = subprocess.run(
            [sys.executable, __file__, "--peak-of", name], check=True, capture_output=True, text=True
        ).stdout
    print(
        json.dumps(
            {
                "workload": f"read {options.slices} x {options.side} x {options.side}",
                **{f"{label}_s": round(median(values), 3) for label, values in times.items()},
                "ratio_to_highdicom": round(
                    median(a / b for a, b in zip(times["ours"], times["highdicom"], strict=True)), 2
                ),
                "peak_over_result": round(float(peak), 2),
            }
        )
    )


if __name__ == "__main__":
    main()
