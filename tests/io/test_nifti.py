"""NIfTI, Analyze, NRRD, MetaImage and MGH against readers that share no code with the project."""

from __future__ import annotations

import gzip
import itertools
import subprocess
import sys
import tracemalloc
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_sparse3d.environment import variable
from napari_sparse3d.errors import InputError, ReadError
from napari_sparse3d.io import read_sequence, read_volume, sample_head_mri, sample_head_mri_path, scan
from raw_nifti import canonical_by_trying, read_metaimage, read_mgz, read_nifti1

DATA = Path(variable("NAPARI_SPARSE3D_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
ALL = sorted(path for path in (DATA / "nifti").rglob("*") if path.is_file()) if (DATA / "nifti").is_dir() else []
SPECIAL = {"ct_perfusion.nii.gz": "colour", "minimal.nii.gz": "has no orientation"}
NIFTI = [path for path in ALL if path.name.endswith((".nii.gz", ".hdr")) and path.name not in SPECIAL]


@pytest.mark.skipif(not ALL, reason="no folder of real scans: set NAPARI_SPARSE3D_DATA")
@pytest.mark.parametrize("path", NIFTI, ids=lambda path: path.name)
def test_real_file(path: Path) -> None:
    stored, affine = read_nifti1(path)
    expected, expected_affine = canonical_by_trying(stored, affine)
    found = read_sequence(path)
    if expected.ndim == 4:
        expected = np.moveaxis(expected, -1, 0)
    np.testing.assert_allclose(found.data.reshape(expected.shape), expected, rtol=1e-6, atol=0)
    np.testing.assert_allclose(found.affine, expected_affine, atol=1e-4)
    (info,) = scan(path)
    assert (len(found), *info.shape) == found.data.shape
    np.testing.assert_allclose(info.spacing_mm, np.linalg.norm(found.affine[:3, :3], axis=0))


@pytest.mark.skipif(not ALL, reason="no folder of real scans: set NAPARI_SPARSE3D_DATA")
def test_every_real_file_is_read_or_refused_as_expected() -> None:
    refused = {"ct_perfusion.nii.gz": "colour"}
    right = 0
    for path in ALL:
        if path.name in refused:
            with pytest.raises(ReadError, match=refused[path.name]):
                read_volume(path)
        else:
            assert read_sequence(path).data.size
        right += 1
    assert right == len(ALL) >= 40


def test_a_file_without_orientation_says_so(data_dir: Path) -> None:
    path = data_dir / "nifti" / "edge" / "minimal.nii.gz"
    stored, affine = read_nifti1(path)
    volume, (info,) = read_volume(path), scan(path)
    assert "unknown orientation" in [fault.kind.value for fault in info.faults]
    assert volume.spacing_mm == pytest.approx(tuple(np.abs(np.diag(affine)[2::-1])))
    assert sorted(volume.data.ravel()) == sorted(stored.ravel())


def test_all_stored_orders_are_one_volume(data_dir: Path) -> None:
    files = sorted((data_dir / "nifti" / "orient48_part1").glob("*.nii.gz"))
    assert len(files) == 24
    first = read_volume(files[0])
    for path in files[1:]:
        volume = read_volume(path)
        np.testing.assert_array_equal(volume.data, first.data, err_msg=path.name)
        np.testing.assert_allclose(volume.affine, first.affine, atol=1e-4, err_msg=path.name)


def test_nrrd(data_dir: Path) -> None:
    nrrd = pytest.importorskip("nrrd")
    path = data_dir / "nifti" / "edge" / "FLAIR.nrrd"
    stored, header = nrrd.read(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.array(header["space directions"], dtype=float).T
    affine[:3, 3] = header["space origin"]
    if header["space"] == "left-posterior-superior":
        affine = np.diag([-1.0, -1, 1, 1]) @ affine
    _check(path, *canonical_by_trying(stored, affine))


def test_metaimage(data_dir: Path) -> None:
    path = data_dir / "nifti" / "edge" / "mha.mha"
    _check(path, *canonical_by_trying(*read_metaimage(path)))


def test_mgz(data_dir: Path) -> None:
    path = data_dir / "nifti" / "edge" / "wm.mgz"
    _check(path, *canonical_by_trying(*read_mgz(path)))


def _check(path: Path, expected: np.ndarray, affine: np.ndarray) -> None:
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.data, expected)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-4)


CODES = ["".join(p) for letters in itertools.permutations(["LR", "PA", "IS"]) for p in itertools.product(*letters)]


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_the_48_orders(code: str, ending: str, tmp_path: Path) -> None:
    """Voxel by voxel: the value at a world position is the same in whatever order the axes are stored."""
    from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform

    base = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)  # (x, y, z), RAS
    affine = np.array([[2.0, 0, 0, -5], [0, 3.0, 0, 7], [0, 0, 4.0, 11], [0, 0, 0, 1]])
    change = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(tuple(code)))
    stored = apply_orientation(base, change)
    path = tmp_path / f"scan{ending}"
    nibabel.save(nibabel.Nifti1Image(stored, affine @ inv_ornt_aff(change, base.shape)), path)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.data, base.transpose(2, 1, 0))
    np.testing.assert_allclose(volume.affine, [[4, 0, 0, 11], [0, 3, 0, 7], [0, 0, 2, -5], [0, 0, 0, 1]], atol=1e-6)
    assert scan(path)[0].orientation == code


def test_place_in_napari_in_the_48_orders(tmp_path: Path) -> None:
    """nibabel is the referee: each voxel is shown where its image has it, as (I, P, L) = -(S, A, R)."""
    from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform

    from napari_sparse3d.io.layers import layer_of

    base = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
    affine = np.array([[2.0, 0, 0, -5], [0, 3.0, 0, 7], [0, 0, 4.0, 11], [0, 0, 0, 1]])
    for code in CODES:
        change = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(tuple(code)))
        path = tmp_path / f"{code}.nii.gz"
        stored = apply_orientation(base, change)
        nibabel.save(nibabel.Nifti1Image(stored, affine @ inv_ornt_aff(change, base.shape)), path)
        volume, referee = read_volume(path), nibabel.as_closest_canonical(nibabel.load(path))
        np.testing.assert_array_equal(volume.data, np.asarray(referee.dataobj).T, err_msg=code)
        np.testing.assert_allclose(volume.affine[2::-1, 2::-1], referee.affine[:3, :3], err_msg=code)
        np.testing.assert_allclose(volume.affine[2::-1, 3], referee.affine[:3, 3], err_msg=code)
        data, kwargs, _ = layer_of(volume)
        for value in (0, 17, 23):
            shown = np.argwhere(data == value)[0] * kwargs["scale"] + kwargs["translate"]
            x, y, z = nibabel.affines.apply_affine(affine, np.argwhere(base == value)[0])
            np.testing.assert_allclose(shown, (-z, -y, -x), atol=1e-6, err_msg=code)


@given(
    angles=st.tuples(*[st.floats(-0.7, 0.7)] * 3),
    spacing=st.tuples(*[st.floats(0.2, 8)] * 3),
    order=st.permutations(range(3)),
    signs=st.tuples(*[st.sampled_from([-1, 1])] * 3),
)
def test_oblique_orders_agree_with_trying_all(
    tmp_path_factory: pytest.TempPathFactory,
    angles: tuple[float, float, float],
    spacing: tuple[float, float, float],
    order: list[int],
    signs: tuple[int, int, int],
) -> None:
    rotation = np.eye(3)
    for axis, angle in enumerate(angles):
        i, j = [k for k in range(3) if k != axis]
        turn = np.eye(3)
        turn[[i, i, j, j], [i, j, i, j]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        rotation = rotation @ turn
    affine = np.eye(4)
    affine[:3, :3] = (rotation * signs)[:, list(order)] * spacing
    affine[:3, 3] = 1.0, -20.0, 300.0
    data = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    path = tmp_path_factory.mktemp("oblique") / "a.nii"
    nibabel.save(nibabel.Nifti1Image(data, affine), path)
    volume = read_volume(path)
    # wherever the closest order is ambiguous, any is right as long as values keep their world positions
    inverse = np.linalg.inv(volume.affine)
    for index in np.ndindex(data.shape):
        r, a, s, _ = nibabel.load(path).affine @ [*index, 1]
        found = np.rint((inverse @ [s, a, r, 1])[:3]).astype(int)
        assert volume.data[tuple(found)] == data[index]
    if max(abs(angle) for angle in angles) < 0.3:
        expected, expected_affine = canonical_by_trying(data, nibabel.load(path).affine)
        np.testing.assert_array_equal(volume.data, expected)
        np.testing.assert_allclose(volume.affine, expected_affine, atol=1e-9)


def _image(data: np.ndarray, affine: np.ndarray | None = None, **header: object) -> nibabel.Nifti1Image:
    image = nibabel.Nifti1Image(data, np.eye(4) if affine is None else affine)
    for key, value in header.items():
        image.header[key] = value
    return image


@pytest.mark.parametrize(("code", "factor"), [(1, 1000.0), (2, 1.0), (3, 0.001)])
def test_spatial_units(code: int, factor: float, tmp_path: Path) -> None:
    image = _image(np.ones((2, 3, 4), np.uint8), np.diag([1.0, 2, 3, 1]))
    image.header["xyzt_units"] = code
    nibabel.save(image, tmp_path / "a.nii")
    assert read_volume(tmp_path / "a.nii").spacing_mm == pytest.approx((3 * factor, 2 * factor, factor))


def test_unknown_unit_is_said_and_an_undefined_one_refused(tmp_path: Path) -> None:
    image = _image(np.ones((2, 3, 4), np.uint8))
    nibabel.save(image, tmp_path / "a.nii")
    assert "unknown unit" in [fault.kind.value for fault in scan(tmp_path / "a.nii")[0].faults]
    image.header["xyzt_units"] = 5
    nibabel.save(image, tmp_path / "b.nii")
    with pytest.raises(ReadError, match="unit code is 5"):
        scan(tmp_path / "b.nii")


@pytest.mark.parametrize(
    ("slope", "intercept", "dtype"), [(1, -1024, np.int16), (0.5, 0, np.float32), (0, 7, np.int16), (2, 0, np.int32)]
)
def test_scaling(slope: float, intercept: float, dtype: type, tmp_path: Path) -> None:
    stored = np.array([[[0, 1], [2, 30000]]], dtype=np.int16)
    path = tmp_path / "a.nii"
    image = _image(stored)
    image.header.set_slope_inter(1, 0)
    nibabel.save(image, path)
    raw = bytearray(path.read_bytes())
    raw[112:120] = np.array([slope, intercept], "<f4").tobytes()
    path.write_bytes(raw)
    data = read_volume(path).data
    expected = stored * float(slope) + intercept if slope else stored
    np.testing.assert_array_equal(np.sort(data.ravel()), np.sort(np.asarray(expected).ravel()))
    assert data.dtype.kind == np.dtype(dtype).kind


def test_series_in_time(tmp_path: Path) -> None:
    data = np.arange(2 * 3 * 4 * 5, dtype=np.int16).reshape(2, 3, 4, 5)
    nibabel.save(_image(data), tmp_path / "a.nii.gz")
    (info,) = scan(tmp_path / "a.nii.gz")
    assert (info.shape, info.n_frames, info.status) == ((4, 3, 2), 5, "choice")
    with pytest.raises(ReadError, match="holds 5 volumes; choose one with frame=0 to 4"):
        read_volume(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii.gz", frame=3).data, data[..., 3].T)
    with pytest.raises(InputError, match="frame must be 0 to 4, got 5"):
        read_volume(tmp_path / "a.nii.gz", frame=5)
    np.testing.assert_array_equal(read_sequence(tmp_path / "a.nii.gz").data, data.T)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "b.nii.gz", "a.mgz"])
def test_one_volume_of_a_series_in_time_is_read_alone(name: str, tmp_path: Path) -> None:
    data = np.arange(40 * 30 * 20 * 50, dtype=np.int32).reshape(40, 30, 20, 50)
    if name == "b.nii.gz":
        data = data[..., None]  # a fifth axis with one place
    image = (
        nibabel.MGHImage(data, np.eye(4)) if name.endswith("mgz") else nibabel.Nifti2Image(data, np.eye(4), dtype="i4")
    )
    nibabel.save(image, tmp_path / name)
    del image
    read_volume(tmp_path / name, frame=0)  # what the first use of a library keeps does not count
    tracemalloc.start()
    volume = read_volume(tmp_path / name, frame=37)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    expected = canonical_by_trying(data.reshape(40, 30, 20, 50)[..., 37], np.eye(4))[0]
    np.testing.assert_array_equal(volume.data, expected)
    assert peak < 5 * volume.data.nbytes + 2**18 < data.nbytes / 6  # 2^18: what unpacking holds at a time


def test_mgz_without_a_voxel_is_refused_by_name(tmp_path: Path) -> None:
    nibabel.save(nibabel.MGHImage(np.zeros((2, 3, 4), np.float32), np.eye(4)), tmp_path / "a.mgh")
    damaged = bytearray((tmp_path / "a.mgh").read_bytes())
    damaged[4:8] = bytes(4)  # the first dimension
    (tmp_path / "a.mgh").write_bytes(damaged)
    with pytest.raises(ReadError, match="not a readable NIfTI, Analyze or MGH volume"):
        read_volume(tmp_path / "a.mgh")


def test_scaling_of_one_volume(tmp_path: Path) -> None:
    data = np.arange(2 * 3 * 4 * 5, dtype=np.int16).reshape(2, 3, 4, 5)
    image = _image(data)
    image.header.set_slope_inter(0.5, -3)
    image.header.set_data_dtype(np.int16)
    nibabel.save(image, tmp_path / "a.nii.gz")
    whole = read_sequence(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(whole.data, data.T * 0.5 - 3)
    for t in range(5):
        np.testing.assert_array_equal(read_volume(tmp_path / "a.nii.gz", frame=t).data, whole.data[t])


def test_complex_needs_magnitude(tmp_path: Path) -> None:
    nibabel.save(_image(np.full((2, 2, 2), 3 + 4j, np.complex64)), tmp_path / "a.nii")
    with pytest.raises(ReadError, match=r"complex.*--repair magnitude"):
        read_volume(tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii", repair="magnitude")
    assert (volume.data == 5).all()
    assert volume.meta["repairs"] == ["magnitude of complex voxels"]


def test_sform_and_qform_that_disagree_are_said(tmp_path: Path) -> None:
    image = _image(np.ones((3, 3, 3), np.uint8))
    image.set_sform(np.diag([2.0, 2, 2, 1]), code=1)
    image.set_qform(np.eye(4), code=1)
    nibabel.save(image, tmp_path / "a.nii")
    (info,) = scan(tmp_path / "a.nii")
    assert info.spacing_mm == pytest.approx((2, 2, 2))
    assert "sform and qform disagree" in [fault.kind.value for fault in info.faults]
    image.set_qform(np.diag([2.0, 2, 2, 1]), code=1)
    nibabel.save(image, tmp_path / "b.nii")
    assert "sform and qform disagree" not in [fault.kind.value for fault in scan(tmp_path / "b.nii")[0].faults]


def test_nifti2_and_analyze_pair(tmp_path: Path) -> None:
    data = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    nibabel.save(nibabel.Nifti2Image(data, np.diag([1.0, 2, 3, 1])), tmp_path / "a.nii.gz")
    assert scan(tmp_path / "a.nii.gz")[0].format == "NIfTI-2"
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii.gz").data, data.T)
    nibabel.save(nibabel.AnalyzeImage(data, None), tmp_path / "pair.img")
    (info,) = scan(tmp_path / "pair.hdr")
    assert info.format == "Analyze"
    assert "unknown orientation" in [fault.kind.value for fault in info.faults]
    for name in ("pair.hdr", "pair.img"):
        assert read_volume(tmp_path / name).data.size == 24
    assert len(scan(tmp_path)) == 2, "a pair is one series"


def test_hounsfield_is_recognised_and_said() -> None:
    from napari_sparse3d.io.intensity import looks_like_hounsfield

    body = np.full((40, 40, 40), -1000, np.int16)
    body[10:30, 10:30, 10:30] = 50
    body[15:20, 15:20, 15:20] = 700
    assert looks_like_hounsfield(body)
    assert not looks_like_hounsfield(np.abs(body))
    phase = np.linspace(-3000, 3000, 64000).reshape(40, 40, 40).astype(np.int16)
    assert not looks_like_hounsfield(phase), "the phase of an MR image is no CT"


def test_sample_head_mri_needs_no_nilearn_import() -> None:
    volume = sample_head_mri()
    assert volume.shape == (189, 233, 197)
    assert volume.spacing_mm == (1, 1, 1)
    assert sample_head_mri_path().is_file()
    # in a process of its own: other tests of this one import nilearn
    read = "from napari_sparse3d.io import sample_head_mri; sample_head_mri()"
    source = f"import sys; {read}; assert 'nilearn' not in sys.modules"
    subprocess.run([sys.executable, "-c", source], check=True)


BAD = {
    "missing path": lambda folder: folder / "nothing.nii.gz",
    "empty folder": lambda folder: folder,
    "text named .nii.gz": lambda folder: _written(folder / "a.nii.gz", b"these are words, not voxels\n" * 40),
    "text in gzip": lambda folder: _written(folder / "a.nii.gz", gzip.compress(b"these are words\n" * 40)),
    "empty file": lambda folder: _written(folder / "a.nii", b""),
    "truncated .nii.gz": lambda folder: _truncated(folder),
    "truncated .nii": lambda folder: _truncated_plain(folder),
    "all NaN": lambda folder: _saved(folder, np.full((4, 4, 4), np.nan, np.float32)),
    "2D image": lambda folder: _saved(folder, np.ones((8, 8), np.float32)),
    "colour": lambda folder: _saved(folder, np.zeros((2, 2, 2), [("R", "u1"), ("G", "u1"), ("B", "u1")])),
    "text file": lambda folder: _written(folder / "notes.txt", b"words" * 100),
}
EXPECTED = {
    "missing path": "no such file or folder",
    "empty folder": "the folder is empty",
    "text named .nii.gz": "not gzip",
    "text in gzip": "does not begin with a NIfTI or Analyze header",
    "empty file": "the file is empty",
    "truncated .nii.gz": "truncated",
    "truncated .nii": "truncated",
    "all NaN": "every voxel is NaN",
    "2D image": "the image is 2D",
    "colour": "colour",
    "text file": "not DICOM, NIfTI, NRRD",
}


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _saved(folder: Path, data: np.ndarray) -> Path:
    nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), folder / "a.nii.gz")
    return folder / "a.nii.gz"


def _truncated(folder: Path) -> Path:
    path = _saved(folder, np.random.default_rng(0).integers(0, 255, (32, 32, 32)).astype(np.uint8))
    path.write_bytes(path.read_bytes()[:9000])
    return path


def _truncated_plain(folder: Path) -> Path:
    path = folder / "a.nii"
    nibabel.save(nibabel.Nifti1Image(np.ones((32, 32, 32), np.uint8), np.eye(4)), path)
    path.write_bytes(path.read_bytes()[:9000])
    return path


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_clear_line(what: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=EXPECTED[what]) as caught:
        read_volume(BAD[what](tmp_path))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
