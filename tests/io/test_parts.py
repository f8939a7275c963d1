"""What shares a series identifier and is no one volume: parted where each part stands alone, never mixed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import RLELossless, generate_uid

from dicom_files import save, series_of, slice_of
from napari_sparse3d import ReadError, read_volume, scan


def stack(
    folder: Path, start: float, value: int, n: int = 5, *, step: float = 5.0, first: int = 1, **tags: Any
) -> list[Path]:
    """Axial slices of one value from ``start``, mm."""
    paths = []
    for k in range(n):
        dataset = slice_of(
            (-10.0, 20.0, start + step * k), pixels=np.full((6, 8), 1000 + value), number=first + k, **tags
        )
        paths.append(save(dataset, folder / f"{value}_{k}.dcm"))
    return paths


def volumes(folder: Path) -> list[tuple[float, float, set[int]]]:
    """First slice, step and values of each series that can be read."""
    found = []
    for info in scan(folder):
        volume = info.load().volume(0)
        found.append((float(volume.affine[0, 3]), volume.spacing_mm[0], set(np.unique(volume.data).tolist())))
    return sorted(found)


def said(folder: Path) -> str:
    return " | ".join(f"{fault.kind.value}: {fault.detail}" for info in scan(folder) for fault in info.faults)


PASSES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}),
    ({"TemporalPositionIdentifier": 1}, {"TemporalPositionIdentifier": 2}),
    ({"ConvolutionKernel": "B30f"}, {"ConvolutionKernel": "B70f"}),
    ({"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"]}, {"ImageType": ["DERIVED", "SECONDARY", "MIP"]}),
    ({"KVP": 80}, {"KVP": 140}),
    ({"EchoNumbers": 1}, {"EchoNumbers": 2}),
    ({"DiffusionBValue": 0.0}, {"DiffusionBValue": 800.0}),
]


@pytest.mark.parametrize("offset", [2.5, 1.3], ids=["even", "uneven"])
@pytest.mark.parametrize("tags", PASSES, ids=lambda tags: next(iter(tags[0])))
def test_passes_that_interleave_are_volumes_of_their_own(
    tags: tuple[dict[str, Any], dict[str, Any]], offset: float, tmp_path: Path
) -> None:
    stack(tmp_path, 30.0, 0, **tags[0])
    stack(tmp_path, 30.0 + offset, 500, first=6, **tags[1])
    assert volumes(tmp_path) == [
        (30.0, pytest.approx(5.0), {0}),
        (pytest.approx(30.0 + offset), pytest.approx(5.0), {500}),
    ]
    assert "mixed content" in said(tmp_path)
    for how in (None, "resample"):
        with pytest.raises(ReadError, match="2 series are there"):
            read_volume(tmp_path, repair=how)


def test_a_reconstruction_of_another_step_is_a_volume_of_its_own(tmp_path: Path) -> None:
    stack(tmp_path, 30.0, 0, 6, step=5.0, ConvolutionKernel="H30s")
    stack(tmp_path, 30.0, 500, 16, step=2.0, ConvolutionKernel="H60s")
    assert volumes(tmp_path) == [(30.0, pytest.approx(2.0), {500}), (30.0, pytest.approx(5.0), {0})]


def test_stations_that_overlap_are_volumes_of_their_own(tmp_path: Path) -> None:
    stack(tmp_path, 0.0, 0, 8, AcquisitionNumber=1)
    stack(tmp_path, 32.5, 500, 8, first=9, AcquisitionNumber=2)
    assert volumes(tmp_path) == [(0.0, pytest.approx(5.0), {0}), (32.5, pytest.approx(5.0), {500})]


def test_slab_after_slab_on_one_grid_is_one_volume(tmp_path: Path) -> None:
    stack(tmp_path, 0.0, 0, 4, AcquisitionNumber=1, AcquisitionTime="100000")
    stack(tmp_path, 20.0, 500, 4, first=5, AcquisitionNumber=2, AcquisitionTime="100500")
    (info,) = scan(tmp_path)
    assert info.shape == (8, 6, 8)
    assert read_volume(tmp_path).spacing_mm[0] == pytest.approx(5.0)


def test_slices_taken_in_turns_with_a_pause_are_one_volume(tmp_path: Path) -> None:
    """Odd slices in one breath, even ones in the next: only the time of acquisition differs."""
    for k in range(10):
        second = 30 * (k % 2) + k // 2
        save(
            slice_of((-10.0, 20.0, 2.5 * k), modality="MR", number=k + 1, AcquisitionTime=f"1000{second:02d}"),
            tmp_path / f"{k}.dcm",
        )
    (info,) = scan(tmp_path)
    assert info.shape == (10, 6, 8)
    assert info.readable


def test_slices_excited_together_are_one_volume(tmp_path: Path) -> None:
    """Multiband: every third slice has the same time of acquisition."""
    for k in range(12):
        save(
            slice_of((-10.0, 20.0, 2.5 * k), modality="MR", number=k + 1, AcquisitionTime=f"10000{k % 4}.5"),
            tmp_path / f"{k}.dcm",
        )
    (info,) = scan(tmp_path)
    assert info.shape == (12, 6, 8)
    assert info.readable


def test_two_passes_told_by_time_alone_are_parted_where_the_whole_is_uneven(tmp_path: Path) -> None:
    for k in range(5):
        tags = {"AcquisitionTime": f"10000{k}"}
        stack(tmp_path / f"a{k}", 30.0 + 5 * k, 0, 1, first=k + 1, **tags)
        tags = {"AcquisitionTime": f"10050{k}"}
        stack(tmp_path / f"b{k}", 31.3 + 5 * k, 500, 1, first=k + 6, **tags)
    assert [values for _, _, values in volumes(tmp_path)] == [{0}, {500}]


def test_two_passes_that_nothing_tells_apart_are_refused_and_never_repaired(tmp_path: Path) -> None:
    stack(tmp_path, 30.0, 0)
    stack(tmp_path, 31.3, 500, first=6)
    assert "two passes" in said(tmp_path)
    for how in (None, "resample"):
        with pytest.raises(ReadError, match="refused"):
            read_volume(tmp_path, repair=how)


def test_a_mixture_that_is_no_two_stacks_is_refused_and_never_repaired(tmp_path: Path) -> None:
    for k, z in enumerate((0.0, 5.0, 10.0, 11.0, 18.0, 20.0, 27.0)):
        kernel = "B30f" if k % 3 else "B70f"
        save(slice_of((-10.0, 20.0, z), number=k + 1, ConvolutionKernel=kernel), tmp_path / f"{k}.dcm")
    for how in (None, "resample"):
        with pytest.raises(ReadError, match="2 kernels"):
            read_volume(tmp_path, repair=how)


def test_a_gap_of_one_volume_is_still_repaired(tmp_path: Path) -> None:
    for k in (0, 1, 2, 4, 5, 6):
        save(slice_of((-10.0, 20.0, 5.0 * k), number=k + 1, AcquisitionNumber=k + 1), tmp_path / f"{k}.dcm")
    with pytest.raises(ReadError, match="repair='resample'"):
        read_volume(tmp_path)
    assert read_volume(tmp_path, repair="resample").shape[0] == 7


@pytest.mark.parametrize("n", [2, 3])
def test_slices_of_two_acquisitions_in_turns_are_one_stack_where_they_fill_it(n: int, tmp_path: Path) -> None:
    """Concatenations: each breath takes every nth slice; the header says how close they lie."""
    for k in range(4 * n):
        tags = {"AcquisitionNumber": 1 + k % n, "SliceThickness": 2.2, "AcquisitionTime": f"10{k % n}0{k:02d}"}
        stack(tmp_path / str(k), 2.5 * k, k, 1, modality="MR", first=k + 1, **tags)
    (info,) = scan(tmp_path)
    assert info.shape == (4 * n, 6, 8)
    assert "slices that differ in acquisition" in said(tmp_path)


@pytest.mark.parametrize(
    "tags",
    [
        lambda k: {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", f"CT_SOM5 {'AB'[k % 2]}"]},
        lambda k: {"SliceThickness": 2.5 + 0.01 * (k % 2)},
        lambda k: {"ImageComments": "ab"[k % 2]},
        lambda k: {"ImageComments": f"{10 * k} %"},
        lambda k: {"RepetitionTime": 500.0 + k % 2, "InversionTime": 90.0 + k % 2, "EchoTime": 10 + 0.1 * (k % 2)},
        lambda k: {"TemporalPositionIdentifier": k + 1, "AcquisitionNumber": k + 1, "ImageIndex": 8 - k},
        lambda k: {"ComplexImageComponent": "MAGNITUDE", "SequenceName": "x"} if k % 2 else {},
        lambda k: {"ContentTime": ("235958", "235959", "000000", "000001", "000002", "000003", "000004", "000005")[k]},
    ],
)
def test_one_volume_whose_tags_change_from_slice_to_slice(tags: Any, tmp_path: Path) -> None:
    for k in range(8):
        stack(tmp_path / str(k), 2.5 * k, k, 1, modality="MR", first=k + 1, **tags(k))
    (info,) = scan(tmp_path)
    assert (info.n_frames, info.shape) == (1, (8, 6, 8))
    assert read_volume(tmp_path).data[:, 0, 0].tolist() == list(range(8))


@pytest.mark.parametrize("gap", [60.0, 500.0])
def test_two_equal_stacks_beside_a_gap_are_no_series_in_time(gap: float, tmp_path: Path) -> None:
    stack(tmp_path, 0.0, 0, 4)
    stack(tmp_path, 15.0 + gap, 500, 4, first=5)
    assert "slices are missing" in said(tmp_path)
    assert all(info.n_frames == 1 for info in scan(tmp_path))


def test_a_volume_that_lacks_slices_is_parted_from_the_whole_ones(tmp_path: Path) -> None:
    for t in range(3):
        stack(tmp_path / str(t), 0.0, 100 * t, 5 - (t == 2), modality="MR", TemporalPositionIdentifier=t + 1)
    assert [(info.n_frames, info.shape) for info in scan(tmp_path)] == [(2, (5, 6, 8)), (1, (4, 6, 8))]


# --- one identifier, several series -----------------------------------------------------------------------------------

ORIGINS = [
    ({"PatientID": "p1"}, {"PatientID": "p2"}, "2 patients"),
    ({"StudyInstanceUID": "1.2.3"}, {"StudyInstanceUID": "1.2.4"}, "2 studies"),
    ({"FrameOfReferenceUID": "1.2.9"}, {"FrameOfReferenceUID": "1.2.8"}, "2 frames of reference"),
    ({"SeriesNumber": 3}, {"SeriesNumber": 4}, "2 series numbers"),
]


@pytest.mark.parametrize("place", ["adjoining", "the same"])
@pytest.mark.parametrize(("one", "other", "what"), ORIGINS, ids=[what for _, _, what in ORIGINS])
def test_one_identifier_for_several(
    one: dict[str, Any], other: dict[str, Any], what: str, place: str, tmp_path: Path
) -> None:
    stack(tmp_path / "a", 30.0, 0, 4, **one)
    stack(tmp_path / "b", 50.0 if place == "adjoining" else 30.0, 500, 4, **other)
    assert [values for _, _, values in volumes(tmp_path)] == [{0}, {500}]
    assert what in said(tmp_path)
    with pytest.raises(ReadError, match="2 series are there"):
        read_volume(tmp_path)


def test_two_patients_have_two_hashes(tmp_path: Path) -> None:
    stack(tmp_path / "a", 30.0, 0, PatientID="p1")
    stack(tmp_path / "b", 60.0, 500, PatientID="p2")
    a, b = scan(tmp_path)
    assert a.patient
    assert b.patient
    assert a.patient != b.patient


@pytest.mark.parametrize("tag", ["PatientID", "FrameOfReferenceUID", "SeriesNumber", "StudyInstanceUID"])
def test_a_file_that_lacks_the_tag_goes_with_the_others(tag: str, tmp_path: Path) -> None:
    def change(k: int, own: dict[str, Any]) -> None:
        own[tag] = None if k == 2 else {"SeriesNumber": 7}.get(tag, "1.2.5")

    base = {"PatientID": "x"}
    for k in range(5):
        own: dict[str, Any] = {**base}
        change(k, own)
        dataset = slice_of((-10.0, 20.0, 2.5 * k), number=k + 1, **{key: v for key, v in own.items() if v is not None})
        if own[tag] is None and tag in dataset:
            delattr(dataset, tag)
        save(dataset, tmp_path / f"{k}.dcm")
    (info,) = scan(tmp_path)
    assert info.shape == (5, 6, 8)


# --- identifiers that are new for each file ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ("FrameOfReferenceUID",),
        ("StudyInstanceUID",),
        ("StudyInstanceUID", "FrameOfReferenceUID"),
        ("SeriesInstanceUID",),
        ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"),
    ],
)
@pytest.mark.parametrize("times", [1, 2])
def test_an_identifier_for_each_file_makes_no_hundred_series(
    names: tuple[str, ...], times: int, tmp_path: Path
) -> None:
    for t in range(times):
        for k in range(5):
            tags = {name: generate_uid() for name in names}
            tags["AcquisitionNumber"] = t + 1
            stack(tmp_path / f"{t}{k}", 2.5 * k, 100 * t + k, 1, first=5 * t + k + 1, **tags)
    (info,) = scan(tmp_path)
    assert (info.n_frames, info.shape) == (times, (5, 6, 8))
    assert "each" in said(tmp_path)
    assert "file" in said(tmp_path)
    assert [v[:, 0, 0].tolist() for v in info.load().data] == [[100 * t + k for k in range(5)] for t in range(times)]


@pytest.mark.parametrize(
    "other",
    [
        lambda k: {"position": (0.0, 0.0, (0.0, 3.0, 50.0, 51.0)[k])},
        lambda k: {"PatientID": "ab"[k // 2]},
        lambda k: {"number": 1},
        lambda k: {"SeriesNumber": 3 + k},
        lambda k: {"StudyInstanceUID": f"1.2.{k // 2}"},
    ],
    ids=["uneven", "patients", "equal numbers", "series numbers", "two studies"],
)
def test_single_images_that_do_not_belong_together_stay_apart(other: Any, tmp_path: Path) -> None:
    for k in range(4):
        own = {"position": (0.0, 0.0, 2.5 * k), "number": k + 1, "SeriesInstanceUID": generate_uid(), **other(k)}
        position = own.pop("position")
        save(slice_of(position, **own), tmp_path / f"{k}.dcm")
    assert len(scan(tmp_path)) == 4


def test_one_instance_identifier_for_all_images_is_no_copy(tmp_path: Path) -> None:
    for k in range(5):
        stack(tmp_path / str(k), 2.5 * k, k, 1, first=k + 1, SOPInstanceUID="1.2.3.4.5")
    assert read_volume(tmp_path).data[:, 0, 0].tolist() == list(range(5))


# --- everything twice -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("renumbered", [False, True])
def test_a_doubled_series_keeps_one_copy_and_says_so(renumbered: bool, tmp_path: Path) -> None:
    series_of(tmp_path / "a", 5)
    series_of(tmp_path / "b", 5, change=lambda k, own: own.update(number=k + (6 if renumbered else 1)))
    (info,) = scan(tmp_path)
    assert (info.n_frames, info.shape) == (1, (5, 6, 8))
    assert "duplicate identical: 5 images are there twice" in said(tmp_path)
    read_volume(tmp_path)


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("anew", ["number", "no number", "time of making", "codec", "half of them"])
def test_a_copy_under_other_numbers_is_a_copy(anew: str, times: int, tmp_path: Path) -> None:
    for copy in range(2):
        for t in range(times):
            for k in range(4):
                if anew == "half of them" and copy and k > 1:
                    continue
                number = 1 + 4 * t + k + 100 * copy * (anew in ("number", "half of them"))
                tags = {"TemporalPositionIdentifier": t + 1, "ContentTime": f"10000{copy * (anew == 'time of making')}"}
                pixels = np.full((6, 8), 1000 + 100 * t + k)
                dataset = slice_of((0.0, 0.0, 2.5 * k), modality="MR", number=number, pixels=pixels, **tags)
                if copy and anew == "no number":
                    del dataset.InstanceNumber
                if copy and anew == "codec":
                    dataset.compress(RLELossless, generate_instance_uid=False)
                save(dataset, tmp_path / f"{copy}{t}{k}.dcm")
    (info,) = scan(tmp_path)
    assert (info.n_frames, info.shape) == (times, (4, 6, 8))
    assert "there twice" in said(tmp_path)
    expected = [[100 * t + k for k in range(4)] for t in range(times)]
    assert [v[:, 0, 0].tolist() for v in info.load().data] == expected


def test_a_series_in_time_with_equal_slices_keeps_its_volumes(tmp_path: Path) -> None:
    for t in range(2):
        series_of(tmp_path / str(t), 5, TemporalPositionIdentifier=t + 1)
    (info,) = scan(tmp_path)
    assert info.n_frames == 2


# --- echoes and maps --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("numbered", [True, False])
@pytest.mark.parametrize("scatter", [0.0, 0.002, 0.02])
def test_echo_times_that_scatter_are_one_echo(scatter: float, numbered: bool, tmp_path: Path) -> None:
    for echo in range(2):
        for k in range(4):
            tags: dict[str, Any] = {"EchoTime": round(10.0 + 10 * echo + scatter * k, 4)}
            if numbered:
                tags["EchoNumbers"] = echo + 1
            stack(tmp_path / f"{echo}{k}", 30.0 + 2.5 * k, 100 * echo, 1, modality="MR", first=k + 1, **tags)
    infos = scan(tmp_path)
    assert [info.shape for info in infos] == [(4, 6, 8)] * 2
    assert [values for _, _, values in volumes(tmp_path)] == [{0}, {100}]


@pytest.mark.parametrize(
    "derived",
    [
        {"DiffusionDirectionality": "ISOTROPIC"},
        {"ImageType": ["DERIVED", "PRIMARY", "ADC"]},
        {"RescaleType": "Hz"},
    ],
    ids=["isotropic", "image type", "unit"],
)
def test_a_map_inside_a_series_in_time_is_split_off(derived: dict[str, Any], tmp_path: Path) -> None:
    for t in range(3):
        tags = {"RescaleType": "US", "DiffusionDirectionality": "DIRECTIONAL", "TemporalPositionIdentifier": t + 1}
        if t == 2:
            tags.update(derived)
            tags["TemporalPositionIdentifier"] = 1
        stack(tmp_path / str(t), 30.0, 100 * t, modality="MR", **tags)
    assert sorted(info.n_frames for info in scan(tmp_path)) == [1, 2]
    assert [values for _, _, values in volumes(tmp_path)] in ([{0}, {200}], [{200}, {0}])


# --- no image ---------------------------------------------------------------------------------------------------------

NO_IMAGES = {
    "raw data": "1.2.840.10008.5.1.4.1.1.66",
    "a spectrum": "1.2.840.10008.5.1.4.1.1.4.2",
    "a presentation state": "1.2.840.10008.5.1.4.1.1.11.1",
    "a report": "1.2.840.10008.5.1.4.1.1.88.11",
    "a treatment record": "1.2.840.10008.5.1.4.1.1.481.6",
    "an object of radiotherapy": "1.2.840.10008.5.1.4.1.1.481.12",
    "a hanging protocol": "1.2.840.10008.5.1.4.38.1",
    "a protocol": "1.2.840.10008.5.1.4.1.1.200.1",
    "a stereometric relationship": "1.2.840.10008.5.1.4.1.1.77.1.5.3",
    "a private object": "1.3.12.2.1107.5.9.1",
}


@pytest.mark.parametrize("what", NO_IMAGES)
def test_an_object_without_pixels_condemns_nothing(what: str, tmp_path: Path) -> None:
    series_of(tmp_path, 5)
    other: Dataset = slice_of((-10.0, 20.0, 30.0), number=99)
    del other.PixelData
    other.SOPClassUID = other.file_meta.MediaStorageSOPClassUID = NO_IMAGES[what]
    other.SOPInstanceUID = generate_uid()
    save(other, tmp_path / "other.dcm")
    images = [info for info in scan(tmp_path) if not info.auxiliary]
    assert [info.status for info in images] == ["clean"]
    assert what in said(tmp_path)
    assert read_volume(tmp_path).shape == (5, 6, 8)


def test_an_image_without_pixels_is_still_truncated(tmp_path: Path) -> None:
    paths = series_of(tmp_path, 5)
    content = paths[2].read_bytes()
    paths[2].write_bytes(content[: content.index(b"\xe0\x7f\x10\x00")])
    with pytest.raises(ReadError, match="truncated"):
        read_volume(tmp_path)
