"""Meshes by the centres of their voxels, against the solid angle that a surface takes up around each centre."""

import warnings

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sparse3d.errors import InputError, ReadError
from napari_sparse3d.voxels import FractionOfMax, Recipe, ToLongestSide, voxelize
from napari_sparse3d.voxels.mesh import CLOSED, OPEN, THIN, TURNED, mesh_volume


def winding(vertices, faces, points):
    """(P,): the solid angle of the surface around each point, by 4 pi (van Oosterom and Strackee 1983, eq. 8)."""
    a, b, c = (vertices[faces[:, i]][None] - points[:, None] for i in range(3))
    la, lb, lc = (np.linalg.norm(one, axis=2) for one in (a, b, c))
    top = np.einsum("pfd,pfd->pf", a, np.cross(b, c))
    dots = [np.einsum("pfd,pfd->pf", u, v) for u, v in ((a, b), (b, c), (c, a))]
    return np.arctan2(top, la * lb * lc + dots[0] * lc + dots[1] * la + dots[2] * lb).sum(axis=1) / (2 * np.pi)


def centres(volume):
    """(Z * Y * X, 3) x, y, z in mm."""
    index = np.argwhere(np.ones(volume.shape, bool))
    return (index @ volume.affine[:3, :3].T + volume.affine[:3, 3])[:, ::-1]


@pytest.fixture
def made(tmp_path):
    def of(mesh, side=20, solid=True, ending="ply"):
        mesh.export(tmp_path / f"a.{ending}")
        return mesh_volume(tmp_path / f"a.{ending}", side, solid=solid)

    return of


def mm3(volume):
    return float(volume.data.sum()) * float(np.prod(volume.spacing_mm))


def test_the_oracle_knows_inside_from_outside():
    box = trimesh.creation.box(extents=(2, 2, 2))
    found = winding(box.vertices, box.faces, np.array([[0.0, 0, 0], [0.9, 0.9, -0.9], [1.1, 0, 0], [5, 5, 5]]))
    np.testing.assert_allclose(found, [1, 1, 0, 0], atol=1e-9)


@pytest.mark.parametrize("offset", [(0, 0, 0), (0.123, -77.7, 1e3), (1e-3, 0.5, 0.25)])
@pytest.mark.parametrize("ending", ["off", "stl", "ply", "obj"])
def test_a_box_is_exact_wherever_it_lies(made, offset, ending):
    box = trimesh.creation.box(extents=(1, 2, 4))
    box.apply_translation(offset)
    found = made(box, 16, ending=ending)
    assert found.shape == (16, 8, 4)
    assert found.data.all()
    assert found.spacing_mm == pytest.approx((0.25, 0.25, 0.25), rel=1e-4)
    np.testing.assert_allclose(centres(found).mean(axis=0), offset, atol=1e-3)
    assert found.meta["mesh"] == CLOSED


@pytest.mark.parametrize("n", [1, 2, 3, 7, 40, 64])
def test_the_longest_side_has_n_voxels_also_after_the_recipe(made, n):
    sphere = trimesh.creation.icosphere(subdivisions=4, radius=3)
    found = made(sphere, n)
    assert max(found.shape) == n
    recipe = Recipe(resample=ToLongestSide(voxels=n), threshold=FractionOfMax(fraction=0.5))
    voxels = voxelize(found, recipe)
    assert voxels.shape == found.shape
    np.testing.assert_array_equal(voxels.mask(), found.data == 1)
    assert all(np.ptp(voxels.indices, axis=0) + 1 == n)


def test_volumes_converge_to_the_true_one(made):
    turn = trimesh.transformations.random_rotation_matrix(np.array([0.3, 0.6, 0.1]))
    for mesh in (
        trimesh.creation.icosphere(subdivisions=4, radius=3),
        trimesh.creation.box(extents=(1, 2, 3), transform=turn),
        trimesh.creation.torus(3, 1, transform=turn),
    ):
        mesh.apply_translation((0.31, 7.7, -2.9))
        off = [abs(mm3(made(mesh, n)) / mesh.volume - 1) for n in (24, 48, 96)]
        assert off[0] < 0.03
        assert off[2] < 0.006


def _hull(random):
    return trimesh.convex.convex_hull(random.normal(size=(12, 3)))


def _shaken(random):
    ball = trimesh.creation.icosphere(subdivisions=1)
    ball.vertices += random.normal(scale=0.4, size=ball.vertices.shape)
    return ball


def _overlapping(random):
    turn = trimesh.transformations.random_rotation_matrix(random.random(3))
    return trimesh.util.concatenate([trimesh.creation.icosphere(2, 2), trimesh.creation.box((3, 2, 1), turn)])


SHAPES = {"hull": _hull, "bent, crossing itself": _shaken, "two that overlap": _overlapping}


@settings(max_examples=25, deadline=None)
@given(kind=st.sampled_from(list(SHAPES)), seed=st.integers(0, 10_000), side=st.integers(1, 14))
def test_every_centre_is_told_as_by_its_solid_angle(tmp_path_factory, kind, seed, side):
    mesh = SHAPES[kind](np.random.default_rng(seed))
    path = tmp_path_factory.mktemp("mesh") / "a.ply"
    mesh.export(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = mesh_volume(path, side, solid=True)
    if found.meta["mesh"] == THIN:
        return
    read = trimesh.load(path)
    around = winding(np.asarray(read.vertices, np.float64), np.asarray(read.faces), centres(found))
    sure = np.abs(around - around.round()) < 1e-6  # not on the surface itself
    assert sure.mean() > 0.9
    np.testing.assert_array_equal(found.data.ravel()[sure] == 1, around.round()[sure] != 0)


def test_columns_through_corners_and_edges(made):
    """An octahedron and a box on a grid whose columns run through all of their corners, edges and diagonals."""
    tip = trimesh.convex.convex_hull(np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1.0]]))
    for n in (5, 9, 21):
        found = made(tip, n)
        distance = np.abs(centres(found)).sum(axis=1)
        clear = np.abs(distance - 1) > 1e-6
        np.testing.assert_array_equal(found.data.ravel()[clear] == 1, (distance < 1)[clear])
    assert made(trimesh.creation.box((3, 3, 3)), 3).data.all()


def test_a_hollow_is_hollow_where_its_surface_faces_the_other_way(made):
    outer, inner = trimesh.creation.icosphere(3, 4), trimesh.creation.icosphere(3, 2)
    solid = made(trimesh.util.concatenate([outer, inner]), 40)
    assert mm3(solid) == pytest.approx(outer.volume, rel=0.02)
    inner.invert()
    hollow = made(trimesh.util.concatenate([outer, inner]), 40)
    assert mm3(hollow) == pytest.approx(outer.volume + inner.volume, rel=0.02)
    assert not hollow.data[20, 20, 20]
    outer.invert()
    assert mm3(made(outer, 40)) == pytest.approx(-outer.volume, rel=0.02), "inside out is the same ball"


def test_triangles_written_for_both_sides_count_once(made):
    box = trimesh.creation.box((2, 2, 2))
    double = trimesh.Trimesh(box.vertices, np.concatenate([box.faces, box.faces[:, ::-1]]), process=False)
    assert made(double, 10).data.all()


def test_a_closed_surface_that_faces_both_ways_is_said(made):
    ball = trimesh.creation.icosphere(2, 3)
    ball.faces[::3] = ball.faces[::3, ::-1]
    with pytest.warns(UserWarning, match="face both ways"):
        found = made(ball, 30)
    assert found.meta["mesh"] == TURNED
    assert mm3(found) == pytest.approx(4 / 3 * np.pi * 27, rel=0.06)


def test_a_mesh_with_holes_is_said_with_what_was_made_of_it(made):
    ball = trimesh.creation.icosphere(3, 4)
    pierced = trimesh.Trimesh(ball.vertices, ball.faces[1:], process=False)  # a hole smaller than a voxel
    with pytest.warns(UserWarning, match="a mesh is not watertight: the voxels that its surface passes through, and"):
        found = made(pierced, 20)
    assert found.meta["mesh"] == OPEN
    assert max(found.shape) == 20
    assert mm3(found) > ball.volume, "the surface's own voxels are part of it"
    half = trimesh.Trimesh(ball.vertices, ball.faces[ball.triangles_center[:, 2] < 0], process=False)
    with pytest.warns(UserWarning, match="not watertight"):
        bowl = made(half, 20)
    assert not bowl.data[-1, 10, 10], "a bowl encloses nothing"


def test_what_lies_around_no_centre_is_said(made):
    plate = trimesh.creation.box((4, 4, 0.01), trimesh.transformations.rotation_matrix(0.7, (1, 0, 0)))
    with pytest.warns(UserWarning, match="around the centre of no voxel"):
        found = made(plate, 8)
    assert found.data.sum() > 20


def test_a_surface_is_one_voxel_thick(made):
    ball = trimesh.creation.icosphere(4, 4)
    shell, solid = made(ball, 40, solid=False), made(ball, 40)
    distance = np.linalg.norm(centres(shell), axis=1).reshape(shell.shape)
    cell = shell.spacing_mm[0]
    assert (np.abs(distance[shell.data == 1] - 4) < cell * np.sqrt(3) / 2 + 0.02).all()
    assert (shell.data[np.abs(distance - 4) < cell / 2 - 0.02] == 1).all()
    assert shell.data.sum() < 0.4 * solid.data.sum()
    box = made(trimesh.creation.box((5, 5, 5)), 5, solid=False)
    assert box.data.sum() == 5**3 - 3**3


def test_what_is_no_mesh(tmp_path):
    (tmp_path / "a.off").write_text("OFF\n3 0 0\n0 0 0\n1 0 0\n0 1 0\n")
    (tmp_path / "b.off").write_text("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 1\n")
    for name in ("a.off", "b.off"):
        with pytest.raises(ReadError, match="triangles"):
            mesh_volume(tmp_path / name, 10, solid=True)
    trimesh.creation.box((1, 1, 1)).export(tmp_path / "c.stl")
    with pytest.raises(InputError, match="choose fewer"):
        mesh_volume(tmp_path / "c.stl", 4096, solid=True)
