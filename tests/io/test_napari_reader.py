"""The npe2 reader, writer and samples, through npe2 and without a display."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dicom_files import check_world_code, series_of
from napari_sparse3d.errors import ReadError
from napari_sparse3d.io import read_volume, sample_head_mri_path, write_volume
from napari_sparse3d.io.phantom import chest_phantom, nodules_phantom
from napari_sparse3d.napari_reader import get_reader


@pytest.fixture(autouse=True)
def _plugins() -> None:
    npe2 = pytest.importorskip("npe2")
    npe2.PluginManager.instance().discover()


def test_file_and_folder_through_npe2(tmp_path: Path) -> None:
    import npe2

    series_of(tmp_path / "in")
    for path in (tmp_path / "in", sample_head_mri_path()):
        ((data, kwargs, kind),) = npe2.read([str(path)], stack=False, plugin_name="napari-sparse3d")
        volume = read_volume(path)
        assert kind == "image"
        np.testing.assert_array_equal(data, volume.data)
        np.testing.assert_array_equal(kwargs["metadata"]["affine"], volume.affine)
        assert kwargs["units"] == ("mm", "mm", "mm")
        assert kwargs["axis_labels"] == ("I", "P", "L")
        assert kwargs["scale"] == pytest.approx(tuple(-value for value in volume.spacing_mm))
        assert kwargs["translate"] == pytest.approx(tuple(-volume.affine[:3, 3]))
        assert "drawn" not in kwargs["metadata"]
        low, high = kwargs["contrast_limits"]
        assert low < high
    check_world_code(read_volume(tmp_path / "in"))


def test_layers_can_be_added_and_show_superior_up(tmp_path: Path) -> None:
    components = pytest.importorskip("napari.components")
    import npe2

    viewer = components.ViewerModel()
    ((data, kwargs, _),) = npe2.read([str(sample_head_mri_path())], stack=False, plugin_name="napari-sparse3d")
    layer = viewer.add_image(data, **kwargs)
    # canvas rows grow downwards: the first index is inferior and must lie below (a larger coordinate)
    bottom, top = layer.data_to_world((0, 0, 0))[0], layer.data_to_world((188, 0, 0))[0]
    assert bottom > top
    assert layer.data_to_world((0, 0, 0))[2] > layer.data_to_world((0, 0, 196))[2]


def test_layer_is_written_and_comes_back(tmp_path: Path) -> None:
    import npe2

    for phantom, kind in ((chest_phantom(), "image"), (nodules_phantom(), "labels")):
        path = tmp_path / f"{kind}.nii.gz"
        write_volume(phantom, path)
        ((data, kwargs, found),) = npe2.read([str(path)], stack=False, plugin_name="napari-sparse3d")
        assert found == kind
        out = tmp_path / "out" / f"{kind}.nrrd"
        npe2.write(str(out), [(data, kwargs, kind)], plugin_name="napari-sparse3d")
        back = read_volume(out)
        np.testing.assert_array_equal(back.data, phantom.data)
        np.testing.assert_allclose(back.affine, phantom.affine, atol=1e-6)


def test_layer_without_geometry_is_not_written(tmp_path: Path) -> None:
    from napari_sparse3d.errors import InputError
    from napari_sparse3d.napari_writer import write_layer

    with pytest.raises(InputError, match="no geometry of a scan"):
        write_layer(str(tmp_path / "a.nii"), np.ones((3, 3, 3)), {"name": "mine", "metadata": {}})
    assert not list(tmp_path.iterdir())


def test_samples_through_npe2() -> None:
    import npe2

    keys = [
        item.key for item in npe2.PluginManager.instance().get_manifest("napari-sparse3d").contributions.sample_data
    ]
    assert keys == ["head_mri", "chest_ct", "nodules"]
    for name, n_layers in (("sample_head_mri", 1), ("sample_chest_ct", 1), ("sample_nodules", 2)):
        layers = npe2.PluginManager.instance().commands.execute(f"napari-sparse3d.{name}")
        assert len(layers) == n_layers
        assert all(data.ndim == 3 for data, _, _ in layers)


def test_what_is_no_scan_is_left_to_other_plugins(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG" + bytes(300))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("words")
    for path in ("a.png", "notes", "nothing", "\0"):
        assert get_reader(str(tmp_path / path)) is None
    assert get_reader([]) is None
    assert get_reader(None) is None  # type: ignore[arg-type]
    series_of(tmp_path / "in")
    bare = next((tmp_path / "in").iterdir()).rename(tmp_path / "in" / "1.2.840.77")
    assert get_reader(str(bare)) is not None
    assert get_reader([str(bare)]) is not None


def test_reason_reaches_the_user(tmp_path: Path) -> None:
    paths = series_of(tmp_path / "in")
    paths[2].unlink()
    reader = get_reader(str(tmp_path / "in"))
    assert reader is not None
    with pytest.raises(ReadError, match="gap"):
        reader(str(tmp_path / "in"))


def test_reading_imports_neither_qt_nor_napari_nor_torch() -> None:
    code = (
        "import sys; from napari_sparse3d.napari_reader import sample_chest_ct; sample_chest_ct();"
        "bad = {'napari', 'qtpy', 'torch', 'nilearn'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
