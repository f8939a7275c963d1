import io
import tokenize
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_sparse3d.errors import InputError, ReadError
from napari_sparse3d.voxels import VoxelSet

AFFINE = np.diag([2.0, 1.0, 0.5, 1.0])


def voxel_set(indices, shape=(4, 5, 6), channels=1, affine=AFFINE):
    rows = np.array(indices, dtype=np.int32).reshape(-1, 3)
    features = np.arange(len(rows) * channels, dtype=np.float32).reshape(-1, channels)
    return VoxelSet(rows, features, shape, affine)


@given(mask=arrays(bool, (3, 4, 5)), channels=st.integers(1, 4))
def test_written_and_read_is_equal(tmp_path_factory, mask, channels):
    before = voxel_set(np.argwhere(mask), mask.shape, channels)
    path = tmp_path_factory.mktemp("set") / "a.npz"
    before.save(path)
    after = VoxelSet.load(path)
    for name in ("indices", "features", "affine"):
        ours, theirs = getattr(before, name), getattr(after, name)
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype
    assert after.shape == mask.shape
    np.testing.assert_array_equal(after.mask(), mask)


def test_percent_is_of_the_grid():
    assert voxel_set([[0, 0, 0], [1, 2, 3], [3, 4, 5]]).active_percent == pytest.approx(100 * 3 / 120)
    assert voxel_set([]).active_percent == 0


@pytest.mark.parametrize(
    ("indices", "said"),
    [
        ([[0, 0, 0], [0, 0, 0]], "unique and in raster order"),
        ([[1, 0, 0], [0, 5, 0]], "inside the grid"),
        ([[0, 1, 0], [0, 0, 5]], "raster order"),
        ([[-1, 0, 0]], "inside the grid"),
        ([[0, 0, 6]], "inside the grid"),
    ],
)
def test_rows_are_checked(indices, said):
    with pytest.raises(InputError, match=said):
        voxel_set(indices)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"indices": np.zeros((1, 3), np.int64)}, "int32"),
        ({"indices": np.zeros((1, 4), np.int32)}, r"\(N, 3\)"),
        ({"features": np.zeros((2, 1), np.float32)}, "N = 1"),
        ({"features": np.zeros((1, 1), np.float64)}, "float32"),
        ({"shape": (0, 1, 1)}, "at least one voxel"),
        ({"affine": np.eye(3)}, r"\(4, 4\)"),
        ({"affine": np.full((4, 4), np.nan)}, "finite"),
    ],
)
def test_arrays_are_checked(changed, said):
    good = {
        "indices": np.zeros((1, 3), np.int32),
        "features": np.ones((1, 1), np.float32),
        "shape": (1, 1, 1),
        "affine": AFFINE,
    }
    VoxelSet(**good)
    with pytest.raises(InputError, match=said):
        VoxelSet(**good | changed)


def test_is_frozen():
    with pytest.raises(AttributeError):
        voxel_set([]).shape = (1, 1, 1)


class TestFilesThatAreNoVoxelSet:
    def refused(self, path):
        with pytest.raises(ReadError) as error:
            VoxelSet.load(path)
        assert path.name not in str(error.value)  # it may be called after a patient
        assert "\n" not in str(error.value)

    def test_text(self, tmp_path):
        path = tmp_path / "a.npz"
        path.write_text("voxels, honestly")
        self.refused(path)

    def test_empty(self, tmp_path):
        path = tmp_path / "a.npz"
        path.touch()
        self.refused(path)

    def test_cut_short_anywhere(self, tmp_path):
        whole = tmp_path / "whole.npz"
        voxel_set(np.argwhere(np.ones((4, 5, 6)))).save(whole)
        content = whole.read_bytes()
        path = tmp_path / "cut.npz"
        for size in range(0, len(content), 97):
            path.write_bytes(content[:size])
            self.refused(path)

    def test_pickle_is_not_opened(self, tmp_path):
        path = tmp_path / "a.npz"
        with path.open("wb") as file:
            np.savez(file, format=np.array([{"a": 1}], dtype=object))
        self.refused(path)

    def test_bare_array(self, tmp_path):
        path = tmp_path / "a.npz"
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
        self.refused(path)

    def test_another_npz(self, tmp_path):
        path = tmp_path / "a.npz"
        np.savez(path, train_images=np.zeros((2, 2)))
        self.refused(path)

    def test_rows_out_of_the_grid(self, tmp_path):
        path = tmp_path / "a.npz"
        voxel_set([[3, 4, 5]]).save(path)
        with np.load(path) as arrays_in_file:
            changed = dict(arrays_in_file) | {"shape": np.array([2, 2, 2])}
        np.savez(path, **changed)
        self.refused(path)

    def test_missing(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            VoxelSet.load(tmp_path / "a.npz")


def test_ending_is_checked(tmp_path):
    with pytest.raises(InputError, match=r"end the name in \.npz"):
        voxel_set([]).save(tmp_path / "a.npy")
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    old = voxel_set([[1, 1, 1]])
    old.save(path)

    def no_space(file, **_):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", no_space)
    with pytest.raises(OSError, match="No space"):
        voxel_set([]).save(path)
    assert [file.name for file in tmp_path.iterdir()] == ["a.npz"]
    assert VoxelSet.load(path).n_active == 1


class TestSetsFromElsewhere:
    """Arrays of other types, sizes that are only claimed, values that no grid holds: one line each."""

    def changed(self, path, **arrays):
        voxel_set([[1, 1, 1], [2, 2, 2]]).save(path)
        with np.load(path) as stored:
            kept = dict(stored) | arrays
        np.savez(path, **{name: array for name, array in kept.items() if array is not None})

    @pytest.mark.parametrize(
        "arrays",
        [
            *({name: None} for name in ("format", "indices", "features", "shape", "affine")),
            *({name: np.array([{}], dtype=object)} for name in ("format", "indices", "features", "shape", "affine")),
            {"indices": np.array([[1, 1, 1], [2, 2, 2]], np.int64)},
            {"indices": np.array([[1, 1, 1], [2, 2, 2]], ">i4")},
            {"indices": np.array([[1.0, 1, 1], [2, 2, 2]])},
            {"indices": np.array([[-1, 1, 1], [2, 2, 2]], np.int32)},
            {"indices": np.array([[1, 1, 1], [1, 1, 1]], np.int32)},
            {"indices": np.zeros((2, 4), np.int32)},
            {"indices": np.zeros(3, np.int32)},
            {"indices": np.zeros((300_000, 3), np.int32)},
            {"features": np.zeros((2, 1), complex)},
            {"features": np.zeros((3, 1), np.float32)},
            {"features": np.zeros((2, 100_000), np.float32)},
            {"features": np.array([["a"], ["b"]])},
            {"shape": np.array([0, 5, 5])},
            {"shape": np.array([-5, -5, 5])},
            {"shape": np.array([2**40, 2**40, 2**40])},
            {"shape": np.array([5, 5])},
            {"shape": np.zeros((100_000,), np.int32)},
            {"affine": np.full((4, 4), np.nan)},
            {"affine": np.eye(3)},
            {"format": np.array([1, 2])},
            {"format": np.array("x")},
            {"format": np.int64(2**62)},
        ],
    )
    def test_refused_in_one_line(self, arrays, tmp_path):
        path = tmp_path / "a.npz"
        self.changed(path, **arrays)
        with pytest.raises(ReadError) as error:
            VoxelSet.load(path)
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 400

    def test_what_only_claims_to_be_large_takes_no_memory(self, tmp_path):
        path = tmp_path / "a.npz"
        voxel_set([[1, 1, 1]]).save(path)
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        claimed = members["indices.npy"].replace(b"(1, 3)", b"(99999999, 3)")
        members["indices.npy"] = claimed.replace(b"(99999999, 3), }" + b" " * 7, b"(99999999, 3), }", 1)
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        with pytest.raises(ReadError, match="no voxel set"):
            VoxelSet.load(path)

    def test_arrays_by_columns_are_read(self, tmp_path):
        path = tmp_path / "a.npz"
        self.changed(path, indices=np.asfortranarray(np.array([[1, 1, 1], [2, 2, 2]], np.int32)))
        assert VoxelSet.load(path).indices.tolist() == [[1, 1, 1], [2, 2, 2]]
        assert VoxelSet.load(path).indices.flags.writeable

    @pytest.mark.parametrize(
        ("version", "header"),
        [
            (1, "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }"),
            (1, "{'descr': '<i4', 'fortran_order': False, 'shape': (2,3)}"),
            (1, "{'shape': (2, 3), 'fortran_order': False, 'descr': '<i4'}"),
            (2, "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }"),
            (1, "{'descr': '<i4', 'fortran_order': False, 'shape': (6,), }"),
            (1, "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3.0), }"),
            (1, "{'descr': '<i3', 'fortran_order': False, 'shape': (2, 3), }"),
            (1, "{'descr': '<i4', 'fortran_order': 0, 'shape': (2, 3), }"),
            (1, "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), } + {}"),
            (3, "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }"),
            (1, "{"),
        ],
    )
    def test_headers_are_read_as_numpy_reads_them(self, version, header, tmp_path):
        path = tmp_path / "a.npz"
        rows = np.array([[1, 1, 1], [2, 2, 2]], np.int32)
        text = header.encode().ljust(117) + b"\n"
        length = len(text).to_bytes(2 if version == 1 else 4, "little")
        member = b"\x93NUMPY" + bytes([version, 0]) + length + text + rows.tobytes()
        self.changed(path, indices=None)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("indices.npy", member)
        try:
            numpys = np.load(io.BytesIO(member))
        except (ValueError, tokenize.TokenError):
            numpys = None
        if version == 3 or numpys is None or numpys.shape != (2, 3):  # 3 is for names that are not Latin
            with pytest.raises(ReadError):
                VoxelSet.load(path)
        else:
            np.testing.assert_array_equal(VoxelSet.load(path).indices, numpys)
