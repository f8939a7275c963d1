"""Which images of a series are one volume, in which order, and when: told by tags, whatever the numbers of the files.

Every image holds 1000 + 100 t + k, t its volume and k its slice, so that a mixture is seen in the values.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import PositronEmissionTomographyImageStorage, generate_uid

from dicom_files import save, slice_of
from napari_sparse3d import ReadError, read_volume, scan
from napari_sparse3d.io import read_sequence

SLICES, TIMES = 4, 3
Change = Callable[[int, int], dict[str, Any]]


def write_series(
    folder: Path, tags: Change, *, times: int = TIMES, slices: int = SLICES, seed: int = 0, **options: Any
) -> list[Dataset]:
    """``times`` volumes of ``slices`` images; names and InstanceNumbers are random."""
    chance = random.Random(seed)
    numbers = list(range(1, times * slices + 1))
    chance.shuffle(numbers)
    made = []
    for t in range(times):
        for k in range(slices):
            own: dict[str, Any] = {"number": numbers[t * slices + k], "modality": "MR", **options, **tags(t, k)}
            position = own.pop("position", (-10.0, 20.0, 30.0 + 2.5 * k))
            made.append(slice_of(position, pixels=np.full((6, 8), 2000 + 100 * t + k), **own))
    chance.shuffle(made)
    for index, dataset in enumerate(made):
        # MR images of slice_of have an intercept of -1000
        save(dataset, folder / f"{index % 3}" / f"{index:03d}")
    return made


def values(folder: Path, **how: Any) -> np.ndarray:
    return read_sequence(folder, **how).data[:, :, 0, 0]


EXPECTED = 1000 + 100 * np.arange(TIMES)[:, None] + np.arange(SLICES)[None]
PHILIPS = "Philips Imaging DD 001"


def private(creator: str, group: int, element: int, vr: str, value: Any) -> Callable[[Dataset], None]:
    return lambda dataset: dataset.private_block(group, creator, create=True).add_new(element, vr, value)


IN_TIME: dict[str, Change] = {
    "temporal position": lambda t, k: {"TemporalPositionIdentifier": t + 1},
    "frame reference time": lambda t, k: {"FrameReferenceTime": 500.0 * t},
    "acquisition date and time": lambda t, k: {"AcquisitionDate": "20200101", "AcquisitionTime": f"1000{10 * t:02d}.5"},
    "acquisition date time": lambda t, k: {"AcquisitionDateTime": f"202001012359{10 * t:02d}.25+0100"},
    "over midnight": lambda t, k: {
        "AcquisitionDate": ["20191231", "20191231", "20200101"][t],
        "AcquisitionTime": ["235900", "235930", "000000"][t],
    },
    "slices one after another": lambda t, k: {"AcquisitionTime": f"1000{12 * t + 2 * k:02d}"},
    "slices in turns": lambda t, k: {"AcquisitionTime": f"1000{12 * t + (0, 6, 3, 9)[k]:02d}"},
    "acquisition number": lambda t, k: {"AcquisitionNumber": t + 1},
    "trigger time": lambda t, k: {"TriggerTime": 30.0 * t},
    "trigger time that scatters": lambda t, k: {"TriggerTime": 30.0 * t + 7.3 * k},
    "beats of other lengths": lambda t, k: {"TriggerTime": (20.0 + 15.0 * k) * t},
    "content time": lambda t, k: {"ContentTime": f"1200{t:02d}"},
    "b-value": lambda t, k: {"DiffusionBValue": 500.0 * t},
    "Siemens b-value": lambda t, k: {"private": private("SIEMENS MR HEADER", 0x19, 0x0C, "IS", str(500 * t))},
    "Philips b-value": lambda t, k: {"private": private(PHILIPS, 0x2001, 0x03, "FL", 500.0 * t)},
    "GE b-value": lambda t, k: {"private": private("GEMS_PARM_01", 0x43, 0x39, "IS", [str(500 * t), "8", "0", "0"])},
    "flip angle": lambda t, k: {"FlipAngle": 5.0 + 5 * t},
    "inversion time": lambda t, k: {"InversionTime": 100.0 + 400 * t},
    "two tags": lambda t, k: {"TemporalPositionIdentifier": 1 + t // 2, "TriggerTime": 40.0 * (t % 2)},
    "number of the volume": lambda t, k: {"InstanceNumber": t + 1},
    "respiratory phase": lambda t, k: {"NominalPercentageOfRespiratoryPhase": 30.0 * t},
    "cardiac phase": lambda t, k: {"NominalPercentageOfCardiacPhase": 35.0 * t},
    "percentage in the description": lambda t, k: {"SeriesDescription": ("Gated 5%", "Gated 10%", "Gated 100%")[t]},
    "percentage in the comments": lambda t, k: {"ImageComments": f"T={40 * t} % EX"},
    "temporal position index": lambda t, k: {"TemporalPositionIndex": t + 1},
    "temporal position offset": lambda t, k: {"TemporalPositionTimeOffset": 1.5 * t},
    "image index": lambda t, k: {"ImageIndex": 1 + SLICES * t + k},
    "image index of descending slices": lambda t, k: {"ImageIndex": SLICES * (t + 1) - k},
    "repetition time": lambda t, k: {"RepetitionTime": 500.0 + 1000 * t},
    "Philips phase number": lambda t, k: {"private": private(PHILIPS, 0x2001, 0x08, "IS", str(t + 1))},
    "Philips begin of the scan": lambda t, k: {
        "private": private("Philips MR Imaging DD 001", 0x2005, 0xA0, "FL", 2.0 * t)
    },
    "Philips number of the b-value": lambda t, k: {
        "private": private("Philips MR Imaging DD 005", 0x2005, 0x12, "IS", str(t + 1))
    },
    "Philips number of the direction": lambda t, k: {
        "private": private("Philips MR Imaging DD 005", 0x2005, 0x13, "IS", str(t + 1))
    },
    "sequence name": lambda t, k: {"SequenceName": ("*ep_b0", "*ep_b1000#1", "*ep_b1000#2")[t]},
    "comments": lambda t, k: {"ImageComments": f"b={1000 * t}(1,0,0)"},
    "a time beside a date and time of the series": lambda t, k: {
        "AcquisitionDateTime": "20200101100000", "AcquisitionTime": f"1000{10 * t:02d}",
    },
    "a date and time beside a time of the series": lambda t, k: {
        "AcquisitionDateTime": f"202001011000{10 * t:02d}", "AcquisitionTime": "100000",
    },
    "dates in half of the files": lambda t, k: {
        "AcquisitionTime": f"1000{10 * t:02d}", **({"AcquisitionDate": "20200101"} if (t + k) % 2 else {}),
    },
    "a tag that few files lack": lambda t, k: {
        "AcquisitionTime": f"1000{10 * t:02d}", **({} if t == k else {"TemporalPositionIdentifier": t + 1}),
    },
    "details of the image type by slice": lambda t, k: {
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "AB"[k % 2]], "TemporalPositionIdentifier": t + 1,
    },
    "comments by slice": lambda t, k: {"AcquisitionNumber": t + 1, "ImageComments": f"{k}" if t else "reference"},
    "empty beside full": lambda t, k: {"TemporalPositionIdentifier": "", "AcquisitionNumber": t + 1},
}  # fmt: skip


@pytest.mark.parametrize("name", IN_TIME)
def test_volumes_are_told_by_tags_whatever_the_instance_numbers(name: str, tmp_path: Path) -> None:
    write_private(tmp_path, IN_TIME[name])
    (info,) = scan(tmp_path)
    assert (info.n_frames, info.shape) == (TIMES, (SLICES, 6, 8))
    np.testing.assert_array_equal(values(tmp_path), EXPECTED)


def write_private(folder: Path, tags: Change, **options: Any) -> None:
    """As ``write_series``, with private elements by a tag ``private``."""
    chance = random.Random(1)
    numbers = list(range(1, TIMES * SLICES + 1))
    chance.shuffle(numbers)
    for t in range(TIMES):
        for k in range(SLICES):
            own = {"modality": "MR", "number": numbers.pop(), **options, **tags(t, k)}
            add = own.pop("private", None)
            dataset = slice_of((-10.0, 20.0, 30.0 + 2.5 * k), pixels=np.full((6, 8), 2000 + 100 * t + k), **own)
            if add is not None:
                add(dataset)
            save(dataset, folder / f"{chance.random():.9f}.dcm")


OVER_MIDNIGHT = [f"2359{50 + 2 * i:02d}" for i in range(5)] + [f"0000{2 * i:02d}" for i in range(7)]


@pytest.mark.parametrize("dated", [True, False], ids=["date of the series", "no date"])
@pytest.mark.parametrize("what", ["Acquisition", "Content"])
def test_midnight_within_a_volume_mixes_nothing(what: str, dated: bool, tmp_path: Path) -> None:
    """Two seconds from slice to slice; the day, where there is one, is that on which the series began."""
    write_series(
        tmp_path,
        lambda t, k: {
            f"{what}Time": OVER_MIDNIGHT[SLICES * t + k],
            **({f"{what}Date": "20200101"} if dated else {}),
        },
    )
    np.testing.assert_array_equal(values(tmp_path), EXPECTED)


KINDS: dict[str, Change] = {
    "phase beside magnitude by GE": lambda t, k: {
        "private": private("GEMS_PARM_01", 0x43, 0x2F, "SS", (0, 2, 3)[t]), "Manufacturer": "GE MEDICAL SYSTEMS",
    },
    "complex component": lambda t, k: {"ComplexImageComponent": ("MAGNITUDE", "PHASE", "REAL")[t]},
    "slice thickness": lambda t, k: {"SliceThickness": (1.0, 3.0, 5.0)[t]},
    "b-value absent without weighting": lambda t, k: {
        "DiffusionBValue": 1000.0, "DiffusionGradientOrientation": [float(t == 1), float(t == 2), 0.0],
    } if t else {},
    "flow direction": lambda t, k: {"SequenceName": "fl3d1_v150" + ("in", "ap", "fh")[t]},
    "flip angles of empty slices": lambda t, k: {"FlipAngle": 5.0 * (t + 1), "number": 7},
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_kinds_of_image_are_told_apart_whatever_their_order(name: str, tmp_path: Path) -> None:
    write_private(tmp_path, KINDS[name])
    found = [tuple(volume[:, 0, 0]) for info in scan(tmp_path) for volume in info.load().data]
    assert sorted(found) == sorted(map(tuple, EXPECTED))


def test_a_tag_that_was_lost_here_and_there_tells_nothing(tmp_path: Path) -> None:
    """Of each place one image has kept it, so that it is there as often everywhere."""
    write_series(tmp_path, lambda t, k: {"TemporalPositionIdentifier": t + 1} if (t == 0) == (k < 2) else {}, times=2)
    with pytest.raises(ReadError, match="no tag tells them apart"):
        read_volume(tmp_path, frame=0)


@pytest.mark.parametrize(
    "scatter",
    [
        lambda i: {"TriggerTime": float(37 * i % 101)},
        lambda i: {"AcquisitionTime": f"1000{7 * i % 60:02d}"},
    ],
    ids=["since a beat", "of the reconstruction"],
)
def test_times_that_mean_nothing_mix_nothing(scatter: Callable[[int], dict[str, Any]], tmp_path: Path) -> None:
    """The numbers run through volume after volume; the times order the images of each place in some other way."""
    write_series(tmp_path, lambda t, k: {"number": 1 + SLICES * t + k, **scatter(SLICES * t + k)})
    with pytest.raises(ReadError, match=r"than the instance numbers|would mix images of different acquisition time"):
        read_volume(tmp_path, frame=0)


def test_a_time_that_orders_all_volumes_comes_before_one_that_orders_some(tmp_path: Path) -> None:
    write_series(
        tmp_path, lambda t, k: {"TemporalPositionIdentifier": 1 + t % 2, "AcquisitionTime": f"10{t:02d}00"}, times=4
    )
    np.testing.assert_array_equal(values(tmp_path)[:, 0], 1000 + 100 * np.arange(4))


@settings(max_examples=12, deadline=None)
@given(order=st.permutations(range(TIMES * SLICES)), numbers=st.permutations(range(TIMES * SLICES)), data=st.data())
def test_files_names_folders_and_numbers_never_change_the_answer(
    order: list[int], numbers: list[int], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from([name for name in IN_TIME if name != "number of the volume"]))
    with tempfile.TemporaryDirectory() as made:
        for place, which in enumerate(order):
            t, k = divmod(which, SLICES)
            own = {"modality": "MR", **IN_TIME[name](t, k), "number": numbers[which] - 3}
            add = own.pop("private", None)
            dataset = slice_of((-10.0, 20.0, 30.0 + 2.5 * k), pixels=np.full((6, 8), 2000 + 100 * t + k), **own)
            if add is not None:
                add(dataset)
            save(dataset, Path(made, f"{numbers[place] % 3}", f"{place:02d}.dcm"))
        np.testing.assert_array_equal(values(Path(made)), EXPECTED)


@settings(max_examples=12, deadline=None)
@given(lost=st.sets(st.integers(0, TIMES * SLICES - 1)), numbers=st.permutations(range(TIMES * SLICES)))
@example(lost={0}, numbers=[4, 1, 2, 3, 0, 5, 6, 8, 9, 10, 11, 7])  # numbers that run, though through other volumes
def test_a_volume_never_mixes_whatever_tags_are_lost(lost: set[int], numbers: list[int]) -> None:
    with tempfile.TemporaryDirectory() as made:
        for which in range(TIMES * SLICES):
            t, k = divmod(which, SLICES)
            own: dict[str, Any] = {"AcquisitionTime": f"1000{10 * t:02d}", "AcquisitionNumber": t + 1}
            own = {} if which in lost else own
            own["number"] = numbers[which]
            pixels = np.full((6, 8), 2000 + 100 * t + k)
            save(slice_of((0.0, 0.0, 2.5 * k), modality="MR", pixels=pixels, **own), Path(made, f"{which}.dcm"))
        for info in scan(Path(made)):
            if info.status != "refuse":
                sequence = info.load()
                if "instance number" in sequence.meta.get("frames_by", "") and len(lost) > 1:
                    continue  # numbers that run, and too few tags to say that they are wrong
                for volume in sequence.data:
                    assert len(set((volume[:, 0, 0] - 1000) // 100)) == 1


@pytest.mark.parametrize("seed", range(4))
def test_names_folders_and_numbers_change_nothing(seed: int, tmp_path: Path) -> None:
    write_series(tmp_path, lambda t, k: {"AcquisitionTime": f"1000{20 * t + k:02d}"}, seed=seed)
    np.testing.assert_array_equal(values(tmp_path), EXPECTED)


def test_directions_and_repeated_b_values_are_told_together(tmp_path: Path) -> None:
    directions = [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)]
    write_series(
        tmp_path,
        lambda t, k: {
            "DiffusionBValue": 1000.0 if t else 0.0,
            "DiffusionGradientOrientation": list(directions[t]),
        },
    )
    data = values(tmp_path)
    assert sorted(map(tuple, data)) == sorted(map(tuple, EXPECTED))
    assert read_sequence(tmp_path).meta["frames_by"] == "b-value and gradient direction"


def test_label_and_control(tmp_path: Path) -> None:
    write_series(
        tmp_path,
        lambda t, k: {"TemporalPositionIdentifier": 1 + t // 2, "ASLContext": ["LABEL", "CONTROL"][t % 2]},
        times=4,
    )
    expected = 1000 + 100 * np.arange(4)[:, None] + np.arange(SLICES)
    assert sorted(map(tuple, values(tmp_path))) == sorted(map(tuple, expected))


def test_numbers_that_run_through_the_volumes_are_believed_and_said(tmp_path: Path) -> None:
    write_series(tmp_path, lambda t, k: {"number": 1 + SLICES * t + k})
    np.testing.assert_array_equal(values(tmp_path), EXPECTED)
    (info,) = scan(tmp_path)
    assert any("follow the instance numbers" in fault.detail for fault in info.faults)


def test_numbers_that_run_through_the_times_of_each_place_are_believed(tmp_path: Path) -> None:
    write_series(tmp_path, lambda t, k: {"number": 1 + TIMES * k + t})
    np.testing.assert_array_equal(values(tmp_path), EXPECTED)


def test_what_nothing_tells_apart_is_refused_with_what_was_tried(tmp_path: Path) -> None:
    write_series(tmp_path, lambda t, k: {"FlipAngle": 12.0})
    (info,) = scan(tmp_path)
    assert info.status == "refuse"
    with pytest.raises(ReadError, match=r"no tag tells them apart; tried:.*flip angle.*instance number"):
        read_volume(tmp_path, frame=0)


def test_marks_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    write_series(
        tmp_path,
        # at the last place the first two volumes have each other's acquisition
        lambda t, k: {
            "TemporalPositionIdentifier": t + 1,
            "AcquisitionNumber": (2, 1, 3)[t] if k == SLICES - 1 else t + 1,
        },
    )
    with pytest.raises(ReadError, match="mix images of different acquisition"):
        read_volume(tmp_path, frame=0)


def test_order_follows_time_and_says_what_runs_against_it(tmp_path: Path) -> None:
    write_series(
        tmp_path,
        lambda t, k: {
            "FrameReferenceTime": 60000.0 * t + 30000,
            "AcquisitionTime": f"10{t:02d}00",
            "number": 1 + SLICES * (TIMES - 1 - t) + k,
        },
        modality="PT",
        SOPClassUID=PositronEmissionTomographyImageStorage,
    )
    np.testing.assert_array_equal(values(tmp_path), EXPECTED)
    (info,) = scan(tmp_path)
    said = " ".join(fault.detail for fault in info.faults)
    assert "follow frame reference time" in said
    assert "instance number would order them otherwise" in said


def test_a_table_that_jitters_between_phases_is_one_series_in_time(tmp_path: Path) -> None:
    shift = [-0.05, 0.05, 0.0]
    write_series(
        tmp_path,
        lambda t, k: {"TemporalPositionIdentifier": t + 1, "position": (-10.0, 20.0, 30.0 + 2.5 * k + shift[t])},
    )
    np.testing.assert_array_equal(values(tmp_path), EXPECTED)
    (info,) = scan(tmp_path)
    assert any(fault.kind.value == "moved" and "0.100 mm" in fault.detail for fault in info.faults)


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (lambda t, k: {"TemporalPositionIdentifier": t + 1, "RepetitionTime": 3710.0}, (0.0, 3.71, 7.42)),
        # times of acquisition in whole seconds agree with the repetition time, which is exact
        (
            lambda t, k: {"AcquisitionTime": f"1000{(0, 4, 7)[t]:02d}", "RepetitionTime": 3600.0},
            (0.0, 3.6, 7.2),
        ),
        # a 3D sequence repeats many times in a volume
        (
            lambda t, k: {"AcquisitionTime": f"1000{5 * t:02d}", "RepetitionTime": 4.0, "MRAcquisitionType": "3D"},
            (0.0, 5.0, 10.0),
        ),
        (lambda t, k: {"TemporalPositionIdentifier": t + 1, "RepetitionTime": 4.0, "MRAcquisitionType": "3D"}, None),
        (lambda t, k: {"TemporalPositionIdentifier": t + 1, "TemporalResolution": 6500.0}, (0.0, 6.5, 13.0)),
        (lambda t, k: {"TriggerTime": 40.0 * t, "RepetitionTime": 5.0}, (0.0, 0.04, 0.08)),
        (lambda t, k: {"TemporalPositionIdentifier": t + 1}, None),
        (lambda t, k: {"FlipAngle": 5.0 + t, "RepetitionTime": 300.0}, None),
        (lambda t, k: {"FrameReferenceTime": (0.0, 10000.0, 70000.0)[t]}, (0.0, 10.0, 70.0)),
        (
            lambda t, k: {
                "AcquisitionDate": ["20191231", "20191231", "20200101"][t],
                "AcquisitionTime": ["235900", "235930", "000000"][t],
            },
            (0.0, 30.0, 60.0),
        ),
    ],
)
def test_times(tags: Change, expected: tuple[float, ...] | None, tmp_path: Path) -> None:
    write_series(tmp_path, tags)
    sequence = read_sequence(tmp_path)
    np.testing.assert_array_equal(sequence.data[:, :, 0, 0], EXPECTED)
    if expected is None:
        assert sequence.times_s is None
    else:
        np.testing.assert_allclose(sequence.times_s, expected, atol=1e-9)


def test_times_of_chosen_volumes(tmp_path: Path) -> None:
    write_series(tmp_path, lambda t, k: {"TemporalPositionIdentifier": t + 1, "RepetitionTime": 2000.0})
    (info,) = scan(tmp_path)
    assert info.load([2, 0]).times_s == (4.0, 0.0)


def test_times_hold_no_date(tmp_path: Path) -> None:
    write_series(tmp_path, lambda t, k: {"AcquisitionDate": "19700101", "AcquisitionTime": f"1000{t:02d}"})
    sequence = read_sequence(tmp_path)
    assert sequence.times_s == (0.0, 1.0, 2.0)
    assert "1970" not in repr(sequence.meta)


# --- many identifiers -------------------------------------------------------------------------------------------------


def test_a_series_in_time_sent_under_one_identifier_a_volume_is_one(tmp_path: Path) -> None:
    uids = [generate_uid() for _ in range(TIMES)]
    write_series(
        tmp_path,
        lambda t, k: {
            "SeriesInstanceUID": uids[t], "SeriesNumber": 5 + t, "AcquisitionNumber": t + 1,
            "NumberOfTemporalPositions": TIMES,
        },
    )  # fmt: skip
    (info,) = scan(tmp_path)
    assert info.n_frames == TIMES
    assert any("listed as one" in fault.detail for fault in info.faults)
    np.testing.assert_array_equal(values(tmp_path), EXPECTED)


@pytest.mark.parametrize(
    "other",
    [
        {"NumberOfTemporalPositions": None},
        {"AcquisitionNumber": 1},
        {"StudyInstanceUID": "1.2.77"},
        {"PixelSpacing": [2.0, 1.5]},
        {"position": (-10.0, 20.0, 99.0)},
    ],
)
def test_series_that_only_look_alike_stay_apart(other: dict[str, Any], tmp_path: Path) -> None:
    def tags(t: int, k: int) -> dict[str, Any]:
        own: dict[str, Any] = {
            "SeriesInstanceUID": f"1.2.{10 + t}", "AcquisitionNumber": t + 1, "NumberOfTemporalPositions": 2,
        }  # fmt: skip
        if t == 1:
            own.update(other)
            if "position" in other:
                own["position"] = (-10.0, 20.0, 99.0 + 2.5 * k)
            if own["NumberOfTemporalPositions"] is None:
                own.pop("NumberOfTemporalPositions")
        return own

    write_series(tmp_path, tags, times=2)
    assert len(scan(tmp_path)) == 2


# --- upside down ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scheme", "reversed_volumes"), [(0, []), (1, [0, 1, 2]), (2, [0, 2]), (3, [1])])
def test_volumes_stored_upside_down_are_turned(scheme: int, reversed_volumes: list[int], tmp_path: Path) -> None:
    rows = np.arange(6)[:, None] * np.ones(8)
    for t in range(TIMES):
        for k in range(SLICES):
            image = 1000 + 100 * t + 10 * rows
            stored = image[::-1] if t in reversed_volumes else image
            dataset = slice_of((-10.0, 20.0, 30.0 + 2.5 * k), modality="MR", pixels=stored, number=1,
                               TemporalPositionIdentifier=t + 1, Manufacturer="GE MEDICAL SYSTEMS")  # fmt: skip
            block = dataset.private_block(0x19, "GEMS_ACQU_01", create=True)
            block.add_new(0x9C, "LO", "research/ABCD/epi_pepolar")
            block.add_new(0xB3, "DS", str(float(scheme)))
            save(dataset, tmp_path / f"{t}{k}.dcm")
    sequence = read_sequence(tmp_path)
    for t in range(TIMES):
        # rows run from anterior to posterior; axis 1 grows toward anterior
        np.testing.assert_array_equal(sequence.data[t, 0, ::-1, 0], 100 * t + 10 * np.arange(6))
    said = " ".join(fault["detail"] for fault in sequence.meta["faults"])
    assert ("turned" in said) == bool(reversed_volumes)


@pytest.mark.parametrize("lacks", ["scheme", "volume"])
def test_a_polarity_that_is_not_told_is_refused(lacks: str, tmp_path: Path) -> None:
    for k in range(SLICES):
        tags = {} if lacks == "volume" else {"TemporalPositionIdentifier": 1}
        dataset = slice_of((-10.0, 20.0, 30.0 + 2.5 * k), modality="MR", **tags)
        block = dataset.private_block(0x19, "GEMS_ACQU_01", create=True)
        block.add_new(0x9C, "LO", "epi_pepolar")
        if lacks != "scheme":
            block.add_new(0xB3, "DS", "2")
        save(dataset, tmp_path / f"{k}.dcm")
    with pytest.raises(ReadError, match="upside down"):
        read_volume(tmp_path)
