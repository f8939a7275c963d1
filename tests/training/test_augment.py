"""Steps that vary shapes: one to one on the grid, without holes, and what they say they are."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from napari_sparse3d.training.augment import Rows, augment, rotate, scale, shear, turn, turns
from napari_sparse3d.training.config import Augmentation

SIDE = 32


def ball(radius, side=SIDE, centre=None):
    middle = (side - 1) / 2 if centre is None else np.asarray(centre)[:, None, None, None]
    return ((np.indices((side, side, side)) - middle) ** 2).sum(0) < radius**2


def rows_of(*masks):
    indices = np.concatenate([np.insert(np.argwhere(m), 0, b, axis=1) for b, m in enumerate(masks)])
    batch, z, y, x = torch.from_numpy(indices).unbind(1)
    return Rows(batch, (z.float(), y.float(), x.float()), torch.arange(len(indices)).float()[:, None])


def mask_of(rows, volume=0, side=SIDE):
    mask = np.zeros((side, side, side), dtype=bool)
    mine = (rows.volume == volume).numpy()
    z, y, x = (column.numpy()[mine].astype(int) for column in rows.zyx)
    mask[z, y, x] = True
    return mask


def unique(rows):
    table = torch.stack([rows.volume.float(), *rows.zyx], 1)
    return len(torch.unique(table, dim=0)) == len(table)


def batch_of(*masks):
    rows = rows_of(*masks)
    return torch.stack([rows.volume.float(), *rows.zyx], 1).int().contiguous(), rows.features


def test_the_symmetries_are_those_of_the_cube():
    counts = {"none": 1, "mirror": 8, "upright": 8, "rotate": 24, "all": 48}
    shape = np.random.default_rng(0).random((5, 5, 5)) < 0.3
    for kind, count in counts.items():
        table = turns(kind)
        assert len(set(table)) == count == len(table)
        images = {mask_of(turn(rows_of(shape), 5, torch.tensor([n]), kind), side=5).tobytes() for n in range(count)}
        assert len(images) == count
        assert shape.tobytes() in images
    quarter = {np.rot90(shape, k, axes).tobytes() for axes in ((0, 1), (1, 2), (0, 2)) for k in range(4)}
    proper = {mask_of(turn(rows_of(shape), 5, torch.tensor([n]), "rotate"), side=5).tobytes() for n in range(24)}
    assert quarter <= proper
    upright = [mask_of(turn(rows_of(shape), 5, torch.tensor([n]), "upright"), side=5) for n in range(8)]
    planes = shape.reshape(5, -1).sum(1)
    assert all((image.reshape(5, -1).sum(1) == planes).all() for image in upright)
    assert np.rot90(shape, 1, (1, 2)).tobytes() in {image.tobytes() for image in upright}
    assert np.flip(shape, 0).tobytes() not in proper


@given(st.integers(0, 2**31), st.floats(-0.78, 0.78), st.floats(-0.78, 0.78), st.floats(-0.78, 0.78))
def test_rotation_is_one_to_one(seed, a, b, c):
    mask = np.random.default_rng(seed).random((SIDE,) * 3) < 0.02
    angles = torch.tensor([[a], [b], [c]])
    turned = rotate(rows_of(mask), SIDE, angles)
    assert len(turned.volume) == mask.sum()
    assert unique(turned)
    back = [turned.zyx[axis] for axis in range(3)]
    assert all(torch.equal(column, column.round()) for column in back)


def test_rotation_turns_by_its_angle_and_leaves_no_hole():
    rod = np.zeros((SIDE,) * 3, dtype=bool)
    rod[15:17, 15:17, 4:28] = True
    angle = 0.5
    turned = rotate(rows_of(rod), SIDE, torch.tensor([[0.0], [angle], [0.0]]))
    points = np.argwhere(mask_of(turned)) - (SIDE - 1) / 2
    _, vectors = np.linalg.eigh(points.T @ points)
    axis = vectors[:, -1]
    assert abs(abs(axis[2]) - np.cos(angle)) < 0.02
    assert abs(abs(axis[1]) - np.sin(angle)) < 0.04
    solid = mask_of(rotate(rows_of(ball(11)), SIDE, torch.tensor([[0.6], [0.3], [-0.5]])))
    assert not (ball(9) & ~solid).any()  # rounding reaches two voxels below the surface, no deeper
    assert (solid & ball(11)).sum() / ball(11).sum() > 0.93
    # forward mapping by the matrix, the obvious way, would have torn holes
    forward = (np.argwhere(ball(11)) - 15.5) @ np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    assert len(np.unique(np.round(forward + 15.5), axis=0)) < 0.95 * ball(11).sum()


def test_each_volume_has_its_own_angle():
    rod = np.zeros((SIDE,) * 3, dtype=bool)
    rod[15:17, 15:17, 4:28] = True
    turned = rotate(rows_of(rod, rod), SIDE, torch.tensor([[0.0, 0.0], [0.0, 0.7], [0.0, 0.0]]))
    assert (mask_of(turned, 0) == rod).all()
    assert not (mask_of(turned, 1) == rod).all()


@given(st.floats(0.6, 1.6), st.floats(0.6, 1.6), st.floats(0.6, 1.6))
def test_scaling_takes_the_nearest_plane(a, b, c):
    mask = np.random.default_rng(7).random((9, 9, 9)) < 0.3
    made = scale(rows_of(np.pad(mask, 11)), 31, torch.tensor([[a], [b], [c]], dtype=torch.float64))
    assert unique(made)
    # the definition, by inverse mapping on the dense grid: output o takes input floor((o - m) / s + m + 1/2)
    dense, middle = np.pad(mask, 11), 15.0
    for axis, factor in enumerate((a, b, c)):
        source = np.floor((np.arange(31) - middle) / factor + middle + 0.5).astype(int)
        inside = (source >= 0) & (source < 31)
        dense = np.take(dense, np.clip(source, 0, 30), axis) & np.expand_dims(
            inside, tuple(other for other in range(3) if other != axis)
        )
    # a plane that falls exactly between two may go to either: allow for it by comparing where it does not
    agree = (mask_of(made, side=31) == dense).mean()
    assert agree > 0.98


def test_a_stretched_ball_is_an_ellipsoid_without_holes():
    made = mask_of(scale(rows_of(ball(8)), SIDE, torch.tensor([[1.5], [1.0], [0.7]])))
    extent = np.ptp(np.argwhere(made), axis=0) + 1
    np.testing.assert_allclose(extent, [24, 16, 11], atol=1)
    assert (ndimage.binary_fill_holes(made) == made).all()
    assert made.sum() == pytest.approx(ball(8).sum() * 1.5 * 0.7, rel=0.06)


def test_a_shear_moves_lines_by_whole_voxels():
    made = shear(rows_of(ball(6)), SIDE, 0, 1, torch.tensor([0.4]))
    before, after = ball(6), mask_of(made)
    for y in range(SIDE):
        moved = np.roll(before[:, y], int(np.round(np.float32(0.4) * np.float32(y - 15.5))), axis=0)
        np.testing.assert_array_equal(after[:, y], moved)


def test_nothing_is_varied_unless_asked():
    indices, features = batch_of(ball(5), ball(7))
    same, kept = augment(indices, features, SIDE, 2, Augmentation(), torch.Generator())
    assert torch.equal(same, indices)
    assert torch.equal(kept, features)


EVERYTHING = Augmentation(turns="all", rotate_degrees=45, scale=0.2, shear=0.2, shift=0.2, drop=0.2, jitter=0.2)


@given(st.integers(0, 2**31))
def test_everything_at_once_gives_a_valid_batch(seed):
    masks = [ball(5), np.zeros((SIDE,) * 3, dtype=bool), ball(9)]
    indices, features = batch_of(*masks)
    made, kept = augment(indices, features, SIDE, 3, EVERYTHING, torch.Generator().manual_seed(seed))
    assert made.dtype == torch.int32
    assert made.is_contiguous()
    assert len(made) == len(kept)
    assert len(torch.unique(made, dim=0)) == len(made)
    assert (made[:, 1:] >= 0).all()
    assert (made[:, 1:] < SIDE).all()
    assert 1 not in made[:, 0]
    again, _ = augment(indices, features, SIDE, 3, EVERYTHING, torch.Generator().manual_seed(seed))
    assert torch.equal(made, again)


def test_dropping_leaves_out_up_to_its_share():
    indices, features = batch_of(ball(9))
    how, counts = Augmentation(drop=0.3), []
    for seed in range(20):
        made, kept = augment(indices, features, SIDE, 1, how, torch.Generator().manual_seed(seed))
        assert torch.equal(indices[kept[:, 0].long()], made)  # features stay with their voxels
        counts.append(len(made) / len(indices))
    assert min(counts) > 0.65
    assert max(counts) > 0.95
    assert np.mean(counts) == pytest.approx(0.85, abs=0.06)


def test_jitter_moves_by_one():
    sparse = np.zeros((SIDE,) * 3, dtype=bool)
    sparse[4:28:4, 4:28:4, 4:28:4] = True
    indices, features = batch_of(sparse)
    made, kept = augment(indices, features, SIDE, 1, Augmentation(jitter=0.5), torch.Generator().manual_seed(0))
    distance = (made - indices[kept[:, 0].long()]).abs().sum(1)
    assert set(distance.tolist()) == {0, 1}
    assert 0.4 < (distance == 1).float().mean() < 0.6


def all_at_once(indices, features, side, batch_size, how, random):
    """The batch's columns in one go, each row with its own volume's number: what volume by volume must give."""
    batch, z, y, x = indices.long().unbind(1)
    rows = Rows(batch, (z.float(), y.float(), x.float()), features)

    def uniform(limit, *shape):
        return (torch.rand(*shape, batch_size, generator=random) * 2 - 1) * limit

    if how.turns != "none":
        rows = turn(rows, side, torch.randint(len(turns(how.turns)), (batch_size,), generator=random), how.turns)
    if how.rotate_degrees:
        rows = rotate(rows, side, uniform(how.rotate_degrees * np.pi / 180, 3))
    if how.scale:
        rows = scale(rows, side, (1 + how.scale) ** uniform(1.0, 3))
    for axis, slope in enumerate(uniform(how.shear, 3) if how.shear else ()):
        rows = shear(rows, side, axis, (axis + 1) % 3, slope)
    z, y, x = rows.zyx
    if how.shift:
        z, y, x = (each + by[rows.volume] for each, by in zip(rows.zyx, uniform(how.shift * side, 3).round()))
    features = rows.features
    placed = torch.stack([rows.volume.float(), z, y, x], 1)
    if how.drop:
        share = torch.rand(batch_size, generator=random) * how.drop
        stays = torch.rand(len(placed), generator=random) >= share[rows.volume]
        placed, features = placed[stays], features[stays]
    inside = ((placed[:, 1:] >= 0) & (placed[:, 1:] < side)).all(1)
    return placed[inside].int(), features[inside]


@given(
    seed=st.integers(0, 2**31),
    sizes=st.lists(st.sampled_from([0, 1, 30, 400]), min_size=1, max_size=5),
    how=st.builds(
        Augmentation,
        turns=st.sampled_from(["none", "mirror", "all"]),
        rotate_degrees=st.sampled_from([0, 25]),
        scale=st.sampled_from([0, 0.2]),
        shear=st.sampled_from([0, 0.15]),
        shift=st.sampled_from([0, 0.3]),
        drop=st.sampled_from([0, 0.4]),
    ),
    threads=st.sampled_from([1, 2]),
)
def test_volume_by_volume_is_the_batch_at_once_to_the_bit(seed, sizes, how, threads):
    drawn = np.random.default_rng(seed)
    indices, side = [], 12
    for volume, size in enumerate(sizes):
        cells = np.sort(drawn.permutation(side**3)[:size])
        indices.append(np.stack([np.full(size, volume), *np.unravel_index(cells, (side,) * 3)], 1))
    indices = torch.from_numpy(np.concatenate(indices)).int()
    features = torch.from_numpy(drawn.random((len(indices), 2), np.float32))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        batch = indices, features, side, len(sizes), how
        made, kept = augment(*batch, torch.Generator().manual_seed(seed))
        whole, whole_kept = all_at_once(*batch, torch.Generator().manual_seed(seed))
    finally:
        torch.set_num_threads(before)
    assert made.dtype == torch.int32
    assert made.is_contiguous()
    assert torch.equal(made, whole)
    assert torch.equal(kept, whole_kept)


def test_rows_of_volumes_may_be_mixed():
    indices, features = batch_of(ball(4), ball(6))
    mixed = torch.randperm(len(indices), generator=torch.Generator().manual_seed(0))
    made, kept = augment(indices[mixed], features[mixed], SIDE, 2, Augmentation(turns="all"), torch.Generator())
    same, _ = augment(indices, features, SIDE, 2, Augmentation(turns="all"), torch.Generator())
    assert sorted(map(tuple, made.tolist())) == sorted(map(tuple, same.tolist()))
    assert len(kept) == len(made)
