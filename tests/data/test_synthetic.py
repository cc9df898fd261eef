"""Synthetic pictures: labels, roles, sizes and chance."""

from __future__ import annotations

import numpy as np
import pytest

from napari_cellsam.data.synthetic import ARCHETYPES, SyntheticPicture, synthesize
from napari_cellsam.data.synthetic.canvas import Canvas
from napari_cellsam.data.synthetic.glands import add_glands
from napari_cellsam.data.synthetic.noise import directions
from napari_cellsam.data.synthetic.shapes import Blob, Rod, random_blob, random_spread
from napari_cellsam.errors import ImageShapeError, OptionError


def _pictures(archetype: str, n: int = 6, **options: float) -> list[SyntheticPicture]:
    return [synthesize(archetype, (128, 112), np.random.default_rng(seed), **options) for seed in range(n)]


@pytest.mark.parametrize("archetype", ARCHETYPES)
def test_labels_are_consecutive_and_every_cell_is_one_piece(archetype: str) -> None:
    from scipy import ndimage

    for picture in _pictures(archetype):
        assert picture.labels.dtype == np.int32
        assert list(np.unique(picture.labels[picture.labels > 0])) == list(range(1, picture.n_cells + 1))
        for number in range(1, picture.n_cells + 1):
            assert ndimage.label(picture.labels == number)[1] == 1


@pytest.mark.parametrize("archetype", ARCHETYPES)
def test_pixels_are_finite_between_0_and_1_and_not_flat(archetype: str) -> None:
    for picture in _pictures(archetype):
        assert picture.pixels.dtype == np.float32
        assert picture.pixels.shape[:2] == (128, 112)
        assert np.isfinite(picture.pixels).all()
        assert picture.pixels.min() >= 0
        assert picture.pixels.max() <= 1
        assert (picture.pixels.std((0, 1)) > 0).all()


@pytest.mark.parametrize("archetype", ARCHETYPES)
def test_the_same_seed_gives_the_same_picture_and_another_seed_another(archetype: str) -> None:
    first, again, other = (synthesize(archetype, (96, 96), np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.pixels, again.pixels)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert first.pixels.shape != other.pixels.shape or not np.array_equal(first.pixels, other.pixels)


@pytest.mark.parametrize("archetype", ARCHETYPES)
def test_every_channel_has_a_role(archetype: str) -> None:
    for picture in _pictures(archetype, 12):
        n_channels = picture.pixels.shape[2]
        assert picture.archetype == archetype
        if picture.rgb:
            assert n_channels == 3
            assert picture.nuclear is picture.cell is None
        else:
            assert sorted(i for i in (picture.nuclear, picture.cell) if i is not None) == list(range(n_channels))


@pytest.mark.parametrize("archetype", ARCHETYPES)
def test_cells_touch_somewhere(archetype: str) -> None:
    def touching(labels: np.ndarray) -> bool:
        left, right = labels[:, :-1], labels[:, 1:]
        return bool(((left > 0) & (right > 0) & (left != right)).any())

    assert any(touching(picture.labels) for picture in _pictures(archetype, 8))


@pytest.mark.parametrize("archetype", ARCHETYPES)
@pytest.mark.parametrize("diameter", [12.0, 24.0])
def test_sizes_follow_the_diameter(archetype: str, diameter: float) -> None:
    areas = np.concatenate([np.bincount(p.labels.ravel())[1:] for p in _pictures(archetype, 8, diameter=diameter)])
    median = 2 * np.sqrt(np.median(areas) / np.pi)
    assert 0.6 < median / diameter < 1.5


@pytest.mark.parametrize("archetype", ARCHETYPES)
def test_cells_can_be_seen(archetype: str) -> None:
    """Somewhere among the pictures, cells and background have other means than noise would give them."""
    contrasts = []
    for picture in _pictures(archetype, 8, diameter=20.0):
        inside = picture.labels > 0
        if 50 < inside.sum() < inside.size - 50:
            grey = picture.pixels.mean(2)
            contrasts.append(abs(grey[inside].mean() - grey[~inside].mean()) / grey.std())
    assert max(contrasts) > 0.3


def test_an_unknown_archetype_is_refused_with_the_known_ones() -> None:
    with pytest.raises(OptionError, match=r"'tulips'.*phase_rods"):
        synthesize("tulips", (64, 64), np.random.default_rng(0))


@pytest.mark.parametrize(("shape", "diameter"), [((8, 64), None), ((64, 64), 1.0), ((64, 64), 9999.0)])
def test_sizes_out_of_range_are_refused(shape: tuple[int, int], diameter: float | None) -> None:
    with pytest.raises(OptionError, match="expected"):
        synthesize("phase_rods", shape, np.random.default_rng(0), diameter=diameter)


def test_pixels_and_labels_must_have_the_same_shape() -> None:
    with pytest.raises(ImageShapeError, match=r"\(4, 4, 1\).*\(4, 5\)"):
        SyntheticPicture(np.zeros((4, 4, 1), np.float32), np.zeros((4, 5), np.int32), "phase_rods")


def _disc(y: float, x: float, radius: float) -> Blob:
    return Blob((y, x), np.full(256, radius, np.float32))


def test_two_overlapping_discs_share_the_seam_between_them() -> None:
    canvas = Canvas((21, 31))
    assert canvas.add(_disc(10, 10, 7))
    assert canvas.add(_disc(10, 20, 7))
    edge = canvas.finish()
    assert canvas.labels[10, 14] == 1
    assert canvas.labels[10, 16] == 2
    assert edge[10, 10] == pytest.approx(5)  # halfway to the other disc's centre
    assert edge[10, 15] == pytest.approx(0, abs=0.01)
    assert edge[10, 2] == pytest.approx(-1)


def test_a_cell_that_would_lie_on_another_is_not_drawn() -> None:
    canvas = Canvas((20, 20))
    assert canvas.add(_disc(10, 10, 6), 0.1)
    assert not canvas.add(_disc(11, 10, 6), 0.1)
    assert len(canvas.shapes) == 1


def test_what_is_too_small_is_dropped_and_the_rest_renumbered() -> None:
    canvas = Canvas((20, 40))
    for shape in (_disc(10, 5, 1.0), _disc(10, 15, 4), _disc(10, 30, 5)):
        canvas.add(shape)
    canvas.finish(min_pixels=12)
    assert canvas.labels.max() == 2
    assert canvas.labels[10, 15] == 1
    assert canvas.labels[10, 5] == 0
    np.testing.assert_array_equal(canvas.spread([7.0, 9.0])[10, [5, 15, 30]], [0, 7, 9])


def test_a_bent_rod_is_as_long_and_wide_as_asked() -> None:
    canvas = Canvas((41, 61))
    canvas.add(Rod((20, 30), half=15, radius=4, angle=0, bend=0.2))
    canvas.finish()
    rows, columns = np.nonzero(canvas.labels)
    assert columns.max() - columns.min() == pytest.approx(2 * (15 + 4), abs=4)
    assert np.count_nonzero(canvas.labels[:, 30]) == pytest.approx(8, abs=1)
    assert rows.max() - 20 > 4  # the tips are bent to one side
    assert rows.min() == pytest.approx(16, abs=1)


@pytest.mark.parametrize("angle", [0.0, 0.7, 2.0])
@pytest.mark.parametrize("spread", [False, True])
def test_an_outline_lies_along_the_angle_that_is_asked_for(angle: float, spread: bool) -> None:
    rng = np.random.default_rng(5)
    blob = random_spread((0, 0), 20, rng, angle).body if spread else random_blob((0, 0), 20, 3.0, 0.0, rng, angle)
    along, across = (abs(blob.depth(*_towards(angle + turn))[0]) for turn in (0.0, np.pi / 2))
    assert along < across  # a point between both radii is nearer to the border along the long axis


def _towards(angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Return ``(dy, dx)`` of a point farther from the centre than any outline of radius 20."""
    return np.array([200 * np.sin(angle)], np.float32), np.array([200 * np.cos(angle)], np.float32)


def test_streams_turn_slowly() -> None:
    angles = directions((200, 200), 50.0, np.random.default_rng(1))
    turns = np.angle(np.exp(2j * (angles[1:] - angles[:-1]))) / 2  # an axis is the same after half a turn
    assert angles.std() > 0.3
    assert np.median(np.abs(turns)) < 0.05


def test_the_nuclei_of_a_gland_stand_around_a_gap() -> None:
    canvas = Canvas((300, 300))
    gland = add_glands(canvas, 20.0, np.random.default_rng(3))
    canvas.finish()
    inside = canvas.labels > 0
    assert len(canvas.shapes) > 20
    assert gland.epithelium[inside].mean() > 0.8
    assert gland.gap[inside].mean() < 0.1
    assert gland.gap.max() == 1
    assert not (gland.gap * gland.epithelium > 0.5).any()
