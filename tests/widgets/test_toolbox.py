"""What the panels share and what needs no window: words, sources, lines, the child process."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from threading import Event, Thread, Timer
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_sparse3d.errors import EngineError, InputError
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import BUILT_IN, Components, RangeThreshold, Recipe, voxelize
from napari_sparse3d.widgets import repeat
from napari_sparse3d.widgets.child.process import Child
from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.toolbox.failures import ReportedError, failure_of
from napari_sparse3d.widgets.voxels.recipes import choices, custom_range, default_recipe


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (words.size(7_100_000), "7.1 MB"),
        (words.size(999), "999 bytes"),
        (words.work(1.9e9), "1.9 GMAC"),
        (words.seconds(0.021), "21 ms"),
        (words.seconds(4800), "1 h 20 min"),
        (words.percent(9.761), "9.76\N{NO-BREAK SPACE}%"),
        (words.percent(0.00412), "0.0041\N{NO-BREAK SPACE}%"),
        (words.percent(100.0), "100\N{NO-BREAK SPACE}%"),
        (words.grid((126, 126, 126)), "126³"),
        (words.grid((93, 110, 89)), "93 × 110 × 89"),
        (words.count(1, "voxels"), "1 voxel"),
        (words.left(37, 412, 37.0), "6 min left"),
        (words.left(0, 412, 37.0), ""),
    ],
)
def test_numbers_in_words(said: str, expected: str) -> None:
    assert said == expected


def test_numbers_of_a_voxel_set(oblique: Volume) -> None:
    recipe = Recipe.named("ct-bone-110")
    voxels = voxelize(oblique, recipe)
    text = words.voxel_numbers(voxels, recipe)
    assert f"{voxels.n_active:,} voxels" in text
    assert f"{100 * voxels.n_active / 126**3:.2f}\N{NO-BREAK SPACE}% of the field" in text
    assert words.size(voxels.n_active * 16) in text  # three int32 and one float32 a voxel


def test_errors_are_sentences() -> None:
    expected = failure_of(InputError("the threshold leaves no voxel; choose another"))
    assert expected.sentence == "The threshold leaves no voxel; choose another."
    assert expected.expected
    try:
        raise KeyError("x")
    except KeyError as error:
        surprise = failure_of(error)
    assert "Traceback" not in surprise.sentence
    assert "Traceback" in surprise.details
    assert not surprise.expected


def test_presets_of_the_other_modality_come_last_with_the_reason() -> None:
    found = choices("a.u.")
    assert not found[0].reason
    bone = next(choice for choice in found if choice.name == "bone")
    assert "HU" in bone.reason
    assert all(not choice.reason for choice in choices("HU") if choice.name in ("bone", "lung", "skin"))


def test_a_range_by_hand_is_open_at_the_ends_of_the_histogram() -> None:
    assert custom_range(226, 3071, -1024, 3071, "HU") == RangeThreshold(low=226, unit="HU")
    assert custom_range(-1024, 0, -1024, 3071, "HU") == RangeThreshold(high=0, unit="HU")
    assert custom_range(-1024, 3071, -1024, 3071, "HU") == RangeThreshold(low=-1024, unit="HU")


def test_what_to_begin_with(oblique: Volume) -> None:
    assert default_recipe(oblique).name == "ct-bone-110"
    assert default_recipe(Volume(oblique.data, oblique.affine)).name == "mri-110"


def test_a_recipe_on_the_command_line_is_a_name_or_a_file() -> None:
    for name, recipe in BUILT_IN.items():
        assert repeat.recipe_argument(recipe) == name
    changed = BUILT_IN["mri-110"].model_copy(update={"components": Components(keep=1)})
    path = Path(repeat.recipe_argument(changed))
    assert Recipe.load(path) == changed
    assert repeat.recipe_argument(changed) == str(path)


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))
@pytest.mark.skipif(sys.platform == "win32", reason="shlex is for POSIX shells")
def test_any_path_survives_the_shell(name: str) -> None:
    source = repeat.Source(Path(name), series=2)
    line = repeat.voxelize_command(source, BUILT_IN["mri-110"])
    assert shlex.split(line)[2:5] == [str(Path(name)), "--series", "2"]


def test_a_layer_of_something_else_is_refused_or_taken_by_its_scale() -> None:
    from napari.layers import Image

    from napari_sparse3d.widgets.toolbox.sources import volume_of_layer, why_no_volume

    assert "three axes" in why_no_volume(Image(np.zeros((4, 4)), name="flat"))
    assert "colour" in why_no_volume(Image(np.zeros((4, 5, 6, 3), dtype=np.uint8), rgb=True, name="rgb"))
    volume = volume_of_layer(Image(np.zeros((4, 5, 6)), scale=(3, -2, 1)))
    assert volume.spacing_mm == (3, 2, 1)
    with pytest.raises(InputError, match="three axes"):
        volume_of_layer(Image(np.zeros((4, 4))))


def test_a_grid_over_a_turned_layer_lies_where_the_scan_lies(oblique: Volume) -> None:
    from napari.layers import Image

    from napari_sparse3d.widgets.toolbox.sources import placement

    angle = np.deg2rad(30)
    turn = [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
    scan = Image(oblique.data, scale=(-3, 2, 1.5), translate=(5, -7, 2), rotate=turn, shear=[0.1, 0, 0.2])
    voxels = voxelize(oblique, Recipe.named("ct-bone-110"))
    made = Image(np.zeros(voxels.shape), **placement(scan, oblique, voxels.affine).arguments())
    to_scan = np.linalg.inv(oblique.affine) @ voxels.affine
    for index in ([0, 0, 0], [10, 20, 30], [5, 60, 99]):
        np.testing.assert_allclose(
            made.data_to_world(index), scan.data_to_world((to_scan @ [*index, 1])[:3]), atol=1e-9
        )


def test_what_is_cut_out_of_somebody_s_labels_lies_where_they_are_drawn() -> None:
    """A layer of another plugin, turned and along no axis of the patient's: the cut cube has axes in another order."""
    from napari.layers import Labels

    from napari_sparse3d.cases.finding import Cutting, finding_of_label
    from napari_sparse3d.widgets.toolbox.sources import label_volume, placement

    data = np.zeros((12, 14, 16), dtype=np.uint8)
    data[3:6, 4:9, 8:10] = 1
    swapped = np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, -1]])
    for turned in ({}, {"rotate": swapped}):
        layer = Labels(data, scale=(2, 1.5, 1), translate=(3, -20, 7), **turned)
        volume = label_volume(layer)
        mask = finding_of_label(volume, 1, Cutting("any", 32, 1.0)).mask
        shown = Labels(mask.data, **placement(layer, volume, mask.affine).arguments())
        middle = shown.data_to_world(np.argwhere(mask.data).mean(axis=0))
        np.testing.assert_allclose(middle, layer.data_to_world(np.argwhere(data).mean(axis=0)), atol=0.5)


def test_the_child_says_what_went_wrong_and_goes_on(shared_child: Child) -> None:
    with pytest.raises(ReportedError) as caught:
        finish(shared_child.call("network.models", extra=["no-such-model"]))
    assert "there is no model" in caught.value.failure.sentence.lower()
    assert "Traceback" in caught.value.failure.details
    assert finish(shared_child.call("network.hello"))


def test_a_job_that_nobody_waits_for_leaves_the_child_free(shared_child: Child) -> None:
    call = shared_child.call("network.hello")
    next(call)
    call.close()
    assert shared_child.running
    assert finish(shared_child.call("network.hello"))


def test_a_stopped_child_is_an_error_and_the_next_call_starts_another() -> None:
    child = Child()
    call = child.call("network.hello")
    next(call)
    child.stop()
    with pytest.raises(EngineError, match="stopped"):
        call.send(None)
    assert finish(child.call("network.hello"))
    child.stop()
    assert not child.running


def test_no_call_that_waits_starts_a_process_for_a_window_that_is_closed() -> None:
    child = Child()
    call = child.call("maps.hello")
    next(call)
    said: list[str] = []

    def wait() -> None:
        with pytest.raises(EngineError) as caught:
            finish(child.call("maps.hello"))
        said.append(str(caught.value))

    waiting = Thread(target=wait)
    waiting.start()
    child.close()
    with pytest.raises(EngineError):
        call.send(None)
    waiting.join(30)
    assert said == ["the window was closed"]
    assert not child.running
    child.reopen()
    call = child.call("maps.hello")
    next(call)
    assert child.running
    child.stop()


def test_the_end_of_the_process_waits_for_every_worker(qapp: Any) -> None:
    from napari_sparse3d.widgets.toolbox.work import Work, end_all

    begun, may_end, written = Event(), Event(), Event()

    def writing() -> Any:
        yield None
        begun.set()
        may_end.wait(30)
        written.set()
        yield None

    work = Work()
    work.start(writing, "writing")
    assert begun.wait(30)
    Timer(0.2, may_end.set).start()
    end_all()
    assert written.is_set()
    work.deleteLater()


def test_the_child_and_what_it_is_made_of_import_no_qt() -> None:
    code = (
        "import sys, napari_sparse3d.widgets.child, napari_sparse3d.widgets.child.jobs.network,"
        "napari_sparse3d.widgets.child.jobs.maps;"
        "print([m for m in ('qtpy', 'PyQt6', 'napari') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_panels_import_no_torch() -> None:
    code = (
        "import sys;"
        "import napari_sparse3d.widgets.voxels.view, napari_sparse3d.widgets.network.view;"
        "import napari_sparse3d.widgets.cohort.view, napari_sparse3d.widgets.train.view;"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def finish(call: Any) -> Any:
    """Run a call to its end, and give back its result."""
    try:
        while True:
            next(call)
    except StopIteration as done:
        return done.value


def test_preferences_are_those_of_the_manifest() -> None:
    from npe2 import PluginManifest

    from napari_sparse3d.widgets.toolbox.preferences import _DEFAULTS, preference

    manifest = PluginManifest.from_file(Path(__file__).resolve().parents[2] / "napari.yaml")
    declared = {
        f"{group}.{key}": prop.default
        for group, configuration in manifest.contributions.configurations.items()
        for key, prop in configuration.properties.items()
    }
    assert declared == _DEFAULTS
    assert preference("network.engine") == "auto"


def test_every_command_of_the_manifest_can_be_imported() -> None:
    from npe2 import PluginManifest

    manifest = PluginManifest.from_file(Path(__file__).resolve().parents[2] / "napari.yaml")
    for command in manifest.contributions.commands:
        module, _, name = command.python_name.partition(":")
        assert callable(getattr(__import__(module, fromlist=[name]), name)), command.id
