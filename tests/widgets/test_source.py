"""The image that is looked at."""

from __future__ import annotations

import gc
import threading
import weakref

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel

from napari_cellsam.errors import ChannelError, ImageShapeError
from napari_cellsam.widgets._channels import ChannelMap, ChannelRef
from napari_cellsam.widgets._source import ImageSource


@pytest.fixture
def viewer():
    return ViewerModel()


def numbered(shape, dtype=np.uint16):
    """Return an array in which every entry is another number."""
    return np.arange(np.prod(shape), dtype=dtype).reshape(shape)


def read(source, plane=()):
    """Read a plane as the program does: in another thread."""
    got, reader = [], source.reader(plane)
    thread = threading.Thread(target=lambda: got.append(reader()))
    thread.start()
    thread.join()
    [image] = got
    return image


def test_a_picture_is_its_only_plane(viewer):
    data = numbered((8, 9))
    source = ImageSource(viewer, viewer.add_image(data))
    assert (source.shape, source.plane, list(source.planes())) == ((8, 9), (), [()])
    image = read(source)
    assert (image.pixels[..., 0] == data).all()
    assert (image.nuclear, image.cell) == (None, 0)


def test_the_plane_follows_the_sliders(viewer):
    data = numbered((2, 3, 8, 9))
    source = ImageSource(viewer, viewer.add_image(data, scale=(1, 4, 0.5, 0.5), translate=(0, -20, 3, 3)))
    assert len(list(source.planes())) == 6
    for plane in source.planes():
        viewer.dims.set_current_step((0, 1), plane)
        assert source.plane == plane
        assert (read(source, plane).pixels[..., 0] == data[plane]).all()


def test_a_picture_beside_a_stack_is_its_only_plane_wherever_the_sliders_are(viewer):
    viewer.add_image(np.zeros((5, 8, 9)))
    source = ImageSource(viewer, viewer.add_image(numbered((8, 9))))
    viewer.dims.set_current_step(0, 3)
    assert source.plane == ()


def test_where_a_shorter_stack_shows_nothing_there_is_no_plane(viewer):
    viewer.add_image(np.zeros((7, 8, 9)))
    source = ImageSource(viewer, viewer.add_image(numbered((3, 8, 9)), name="short"))
    viewer.dims.set_current_step(0, 5)
    with pytest.raises(ImageShapeError, match="shows no plane of layer 'short'"):
        _ = source.plane


@pytest.mark.parametrize("change", [{"ndisplay": 3}, {"order": (1, 0, 2)}, {"order": (0, 2, 1)}])
def test_in_3d_or_along_other_axes_there_is_no_plane(viewer, change):
    source = ImageSource(viewer, viewer.add_image(numbered((3, 8, 9))))
    viewer.dims.update(change)
    with pytest.raises(ImageShapeError, match="show rows and columns in 2-D"):
        _ = source.plane


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")
def test_a_layer_that_is_turned_out_of_its_planes_later_has_no_plane(viewer):
    layer = viewer.add_image(numbered((3, 8, 9)))
    source = ImageSource(viewer, layer)
    layer.rotate = (0, 20, 0)
    with pytest.raises(ImageShapeError, match="turned or sheared out of its planes"):
        _ = source.plane


def test_turned_and_anisotropic_pictures_are_read_as_they_are_and_clicks_find_their_pixels(viewer):
    data = numbered((8, 9))
    layer = viewer.add_image(data, rotate=30, scale=(0.5, 2), translate=(7, 8), shear=(0.3,))
    source = ImageSource(viewer, layer)
    assert (read(source).pixels[..., 0] == data).all()
    np.testing.assert_allclose(source.to_data(layer.data_to_world((3, 4))), (3, 4))


def test_layers_that_are_no_pictures_are_refused(viewer):
    with pytest.raises(ImageShapeError, match="'clicks' is no picture"):
        ImageSource(viewer, viewer.add_points([[1, 2]], name="clicks"))


# --- where pixels come from


def test_of_a_lazy_stack_only_the_plane_is_computed_and_not_before_it_is_read(viewer):
    computed = []

    def block(block_info=None):
        computed.append(block_info[None]["chunk-location"][0])
        return np.full((1, 8, 9), computed[-1], np.uint16)

    data = da.map_blocks(block, chunks=((1,) * 5, (8,), (9,)), dtype=np.uint16, meta=np.zeros((0, 0, 0), np.uint16))
    layer = viewer.add_image(data, contrast_limits=(0, 5))
    source = ImageSource(viewer, layer)
    computed.clear()
    reader = source.reader((3,))
    assert computed == []
    assert (reader().pixels == 3).all()
    assert computed == [3]


def test_zarr_arrays_are_read_plane_by_plane(viewer, tmp_path):
    zarr = pytest.importorskip("zarr")
    data = numbered((3, 8, 9))
    stored = zarr.open(str(tmp_path / "a.zarr"), mode="w", shape=data.shape, chunks=(1, 4, 4), dtype=data.dtype)
    stored[:] = data
    source = ImageSource(viewer, viewer.add_image(stored, contrast_limits=(0, 300)))
    assert (read(source, (2,)).pixels[..., 0] == data[2]).all()


@pytest.mark.parametrize("lazy", [False, True])
def test_of_several_resolutions_the_finest_is_read(viewer, lazy):
    data = numbered((2, 64, 48))
    levels = [data, data[:, ::2, ::2], data[:, ::4, ::4]]
    layer = viewer.add_image([da.from_array(level) for level in levels] if lazy else levels, multiscale=True)
    source = ImageSource(viewer, layer)
    assert source.is_multiscale and source.shape == (2, 64, 48)
    assert (read(source, (1,)).pixels[..., 0] == data[1]).all()


@pytest.mark.parametrize("n_colours", [3, 4])
def test_a_colour_picture_is_read_without_its_transparency(viewer, n_colours):
    data = numbered((2, 8, 9, n_colours), np.uint8)
    source = ImageSource(viewer, viewer.add_image(data, rgb=True))
    assert source.shape == (2, 8, 9)
    image = read(source, (1,))
    assert image.rgb and (image.pixels == data[1, ..., :3]).all()


def test_one_colour_of_a_colour_picture_can_be_a_channel(viewer):
    data = numbered((8, 9, 3), np.uint8)
    layer = viewer.add_image(data, rgb=True, name="a")
    image = read(ImageSource(viewer, layer, ChannelMap(nuclear=ChannelRef("a", 2), cell=ChannelRef("a", 0))))
    assert not image.rgb
    assert (image.pixels[..., image.nuclear] == data[..., 2]).all()
    assert (image.pixels[..., image.cell] == data[..., 0]).all()


# --- channels


def test_two_layers_become_two_channels(viewer):
    nuclei, membrane = numbered((3, 8, 9)), numbered((3, 8, 9)) + 1000
    viewer.add_image(nuclei, name="nuclei")
    source = ImageSource(viewer, viewer.add_image(membrane, name="membrane"))
    assert source.channels == ChannelMap(ChannelRef("nuclei"), ChannelRef("membrane"))
    image = read(source, (2,))
    assert (image.pixels[..., image.nuclear] == nuclei[2]).all()
    assert (image.pixels[..., image.cell] == membrane[2]).all()


@pytest.mark.parametrize(
    ("shape", "labels", "axis", "expected"),
    [
        ((2, 8, 9), "cyx", None, (8, 9)),
        ((2, 4, 8, 9), "czyx", None, (4, 8, 9)),
        ((4, 2, 8, 9), "zcyx", None, (4, 1, 8, 9)),
        ((5, 4, 3, 8, 9), "tzcyx", None, (5, 4, 1, 8, 9)),
        ((4, 3, 8, 9), None, 1, (4, 1, 8, 9)),
        ((3, 4, 8, 9), None, 0, (4, 8, 9)),
    ],
)
def test_an_axis_of_channels_is_no_axis_of_the_labels(viewer, shape, labels, axis, expected):
    data = numbered(shape)
    layer = viewer.add_image(data, axis_labels=labels and tuple(labels), name="a")
    source = ImageSource(viewer, layer, ChannelMap(ChannelRef("a", 1), ChannelRef("a", 0), axis=axis))
    assert source.shape == expected
    at = source.axes.channel_axis
    for plane in list(source.planes())[-2:]:
        bare = [i for i, n in zip(plane, expected, strict=False) if n != 1]
        image = read(source, plane)
        for channel, index in ((1, image.nuclear), (0, image.cell)):
            wanted = data[(*bare[:at], channel, *bare[at:])]
            assert (image.pixels[..., index] == wanted).all()


@pytest.mark.parametrize("labels", ["czyx", "zcyx"])
def test_labels_lie_on_the_shown_plane_whichever_channel_is_shown(viewer, labels):
    sizes = {"c": 3, "z": 4, "y": 8, "x": 9}
    layer = viewer.add_image(
        np.zeros([sizes[axis] for axis in labels]),
        axis_labels=tuple(labels),
        scale=[{"c": 1.5, "z": 4, "y": 0.5, "x": 0.25}[axis] for axis in labels],
        translate=[{"c": 2, "z": -7, "y": 3, "x": 4}[axis] for axis in labels],
    )
    source = ImageSource(viewer, layer)
    cells = viewer.add_labels(np.zeros(source.shape, np.uint32), **source.placement)
    for channel in range(3):
        for z in range(4):
            viewer.dims.set_current_step((labels.index("c"), labels.index("z")), (channel, z))
            shown = np.round(cells.world_to_data(viewer.dims.point)[:-2]).astype(int)
            assert tuple(shown) == source.plane
            assert z in source.plane
    np.testing.assert_allclose(
        cells.data_to_world((0,) * (cells.ndim - 2) + (5, 6))[-2:], layer.data_to_world((0, 0, 5, 6))[-2:]
    )


def test_the_same_pixels_can_be_nuclei_and_cells(viewer):
    layer = viewer.add_image(numbered((8, 9)), name="a")
    image = read(ImageSource(viewer, layer, ChannelMap(ChannelRef("a"), ChannelRef("a"))))
    assert (image.pixels[..., image.nuclear] == image.pixels[..., image.cell]).all()


@pytest.mark.parametrize(
    ("shape", "options", "reason"),
    [
        ((8, 10), {}, r"has shape \(8, 10\)"),
        ((2, 8, 9), {}, r"has shape \(2, 8, 9\)"),
        ((8, 9), {"scale": (2, 2)}, "does not lie where 'membrane' does"),
        ((8, 9), {"translate": (0, 1)}, "does not lie where 'membrane' does"),
        ((8, 9), {"rotate": 5}, "does not lie where 'membrane' does"),
    ],
)
def test_a_channel_of_another_shape_or_place_is_refused(viewer, shape, options, reason):
    viewer.add_image(np.zeros(shape), name="other", **options)
    layer = viewer.add_image(np.zeros((8, 9)), name="membrane")
    with pytest.raises(ChannelError, match=f"'other' .*{reason}|'other' {reason}"):
        ImageSource(viewer, layer, ChannelMap(ChannelRef("other"), ChannelRef("membrane")))


@pytest.mark.parametrize(
    ("channels", "reason"),
    [
        (ChannelMap(cell=ChannelRef("gone")), "no layer 'gone'"),
        (ChannelMap(cell=ChannelRef("plain", 1)), "no channel 1 in it"),
        (ChannelMap(cell=ChannelRef("channels", 2)), r"0 to 1 \(channel 0, channel 1\); got 2"),
        (ChannelMap(cell=ChannelRef("channels")), "got None"),
        (ChannelMap(cell=ChannelRef("points")), "'points' is no picture"),
        (ChannelMap(rgb=True), "no colour picture"),
    ],
)
def test_a_channel_that_is_not_there_is_refused(viewer, channels, reason):
    viewer.add_points([[1, 2]], name="points")
    viewer.add_image(np.zeros((2, 8, 9)), name="channels", axis_labels=("c", "y", "x"))
    layer = viewer.add_image(np.zeros((8, 9)), name="plain")
    with pytest.raises(ChannelError, match=reason):
        ImageSource(viewer, layer, channels)


# --- what happens to the layers later


@pytest.fixture
def two(viewer):
    """Return a source of two layers, and both."""
    nuclei = viewer.add_image(numbered((8, 9)), name="nuclei")
    membrane = viewer.add_image(numbered((8, 9)), name="membrane")
    return ImageSource(viewer, membrane), nuclei, membrane


def test_a_source_keeps_its_layers_when_they_are_renamed(two):
    source, nuclei, membrane = two
    nuclei.name, membrane.name = "a", "b"
    assert source.channels == ChannelMap(ChannelRef("a"), ChannelRef("b"))
    assert read(source).pixels.shape == (8, 9, 2)


def test_a_channel_whose_layer_is_gone_is_told(viewer, two):
    source, nuclei, _ = two
    viewer.layers.remove(nuclei)
    with pytest.raises(ChannelError, match="'nuclei', which gave a channel, is gone"):
        source.reader(())


def test_a_channel_whose_layer_was_moved_is_told(two):
    source, nuclei, _ = two
    nuclei.translate = (3, 0)
    with pytest.raises(ChannelError, match="does not lie where"):
        source.reader(())


def test_layers_that_move_together_stay_one_picture(two):
    source, nuclei, membrane = two
    nuclei.translate = membrane.translate = (3, 0)
    assert read(source).pixels.shape == (8, 9, 2)


def test_an_image_of_another_shape_has_to_be_chosen_anew(two):
    source, _, membrane = two
    membrane.data = numbered((10, 9))
    with pytest.raises(ImageShapeError, match="'membrane' has changed its shape"):
        source.reader(())


def test_the_signature_changes_with_the_data_of_each_layer_and_with_nothing_else(two, viewer):
    source, nuclei, membrane = two
    seen = {source.signature()}
    membrane.colormap, membrane.name, membrane.opacity = "green", "c", 0.5
    assert source.signature() in seen
    for layer in (nuclei, membrane, nuclei):
        layer.data = numbered((8, 9)) + 1
        assert source.signature() not in seen
        seen.add(source.signature())
    swapped = ImageSource(viewer, membrane, ChannelMap(ChannelRef("c"), ChannelRef("nuclei")))
    assert swapped.signature() not in {source.signature()}


def test_an_array_that_was_written_into_is_read_again_once_it_is_set_again(two):
    source, nuclei, _ = two
    before = source.signature()
    nuclei.data[0, 0] = 99
    nuclei.data = nuclei.data
    assert source.signature() != before


def test_a_source_that_nobody_needs_is_not_kept_by_its_layers(viewer, two):
    _, nuclei, membrane = two
    gone = weakref.ref(ImageSource(viewer, membrane))
    gc.collect()
    assert gone() is None
    nuclei.data = membrane.data = numbered((8, 9))


def test_a_source_knows_the_layers_that_it_uses(viewer, two):
    source, nuclei, membrane = two
    assert source.uses(nuclei) and source.uses(membrane)
    assert not source.uses(viewer.add_image(np.zeros((8, 9))))


@pytest.mark.parametrize("plane", [(), (3,), (-1,), (0, 0)])
def test_a_plane_that_does_not_exist_is_refused(viewer, plane):
    source = ImageSource(viewer, viewer.add_image(numbered((3, 8, 9))))
    with pytest.raises(ImageShapeError, match=r"there is no plane .* in a stack of \(3,\)"):
        source.reader(plane)


def test_the_size_of_a_pixel_goes_with_the_image(viewer):
    layer = viewer.add_image(numbered((3, 8, 9)), scale=(2, 0.5, 0.25), units=("um",) * 3)
    source = ImageSource(viewer, layer)
    assert source.pixel_size_um == read(source, (0,)).pixel_size_um == pytest.approx((0.5, 0.25))
    layer.scale = (2, 0.2, 0.2)
    assert source.pixel_size_um == read(source, (0,)).pixel_size_um == pytest.approx((0.2, 0.2))


def test_everything_works_through_the_viewer_that_plugins_get(make_napari_viewer_proxy):
    viewer = make_napari_viewer_proxy()
    viewer.add_image([numbered((3, 64, 48)), numbered((3, 32, 24))], multiscale=True, name="nuclei")
    layer = viewer.add_image(numbered((3, 64, 48)), name="membrane")
    source = ImageSource(viewer, layer)
    before = source.signature()
    viewer.dims.set_current_step(0, 1)
    assert source.plane == (1,)
    assert read(source, source.plane).pixels.shape == (64, 48, 2)
    assert source.signature() == before
    cells = viewer.add_labels(np.zeros(source.shape, np.uint32), **source.placement)
    assert tuple(cells.data_to_world((1, 2, 3))) == tuple(layer.data_to_world((1, 2, 3)))
