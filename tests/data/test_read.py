"""Image files of every kind become one plane with the roles of its channels."""

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage

from napari_cellsam import memory
from napari_cellsam.data.read import list_images, read_image
from napari_cellsam.errors import ChannelError, ImageReadError, ImageShapeError, ImageTooLargeError

GREY = (np.arange(12 * 10) * 2).reshape(12, 10).astype(np.uint8)
COLOUR = np.stack([GREY, GREY + 1, GREY + 2], axis=-1)
DEEP = GREY.astype(np.uint16) * 300
STACK = np.arange(2 * 3 * 2 * 6 * 5, dtype=np.uint16).reshape(2, 3, 2, 6, 5)  # T Z C Y X


@pytest.mark.parametrize(
    ("name", "pixels"),
    [("a.png", GREY), ("a.png", DEEP), ("a.tif", GREY), ("a.tif", DEEP), ("a.tif", GREY / np.float32(7))],
)
def test_a_grey_picture_keeps_its_values_and_is_the_whole_cell(tmp_path, name, pixels):
    iio.imwrite(tmp_path / name, pixels)
    image = read_image(tmp_path / name)
    assert image.pixels.dtype == pixels.dtype
    np.testing.assert_array_equal(image.pixels[:, :, 0], pixels)
    assert (image.cell, image.nuclear, image.rgb) == (0, None, False)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_a_colour_picture_is_rgb(tmp_path, name):
    iio.imwrite(tmp_path / name, COLOUR)
    image = read_image(tmp_path / name)
    np.testing.assert_array_equal(image.pixels, COLOUR)
    assert image.rgb
    assert image.channel_names == ("red", "green", "blue")


def test_a_jpeg_is_read_as_rgb_or_grey(tmp_path):
    iio.imwrite(tmp_path / "a.jpg", np.full((16, 16, 3), 99, np.uint8))
    iio.imwrite(tmp_path / "b.jpeg", np.full((16, 16), 99, np.uint8))
    colour, grey = read_image(tmp_path / "a.jpg"), read_image(tmp_path / "b.jpeg")
    assert (colour.rgb, colour.pixels.shape, grey.rgb, grey.pixels.shape) == (True, (16, 16, 3), False, (16, 16, 1))
    assert abs(int(colour.pixels.mean()) - 99) <= 2


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_transparency_is_dropped(tmp_path, name):
    rgba = np.concatenate([COLOUR, np.full((12, 10, 1), 7, np.uint8)], axis=2)
    if name == "a.png":
        iio.imwrite(tmp_path / name, rgba)
    else:
        tifffile.imwrite(tmp_path / name, rgba, photometric="rgb", extrasamples=["unassalpha"])
    image = read_image(tmp_path / name)
    np.testing.assert_array_equal(image.pixels, COLOUR)


def test_grey_with_transparency_and_grey_palettes_are_grey(tmp_path):
    PillowImage.fromarray(np.stack([GREY, GREY], -1), "LA").save(tmp_path / "la.png")
    palette = PillowImage.fromarray(GREY)
    palette.putpalette([value for grey in range(256) for value in (255 - grey,) * 3])
    palette.save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_image(tmp_path / "la.png").pixels[:, :, 0], GREY)
    np.testing.assert_array_equal(read_image(tmp_path / "p.png").pixels[:, :, 0], 255 - GREY)


def test_a_colour_palette_is_rgb(tmp_path):
    picture = PillowImage.fromarray(np.array([[0, 1]], np.uint8))
    picture.putpalette([255, 0, 0, 0, 0, 9])
    picture.save(tmp_path / "p.png")
    image = read_image(tmp_path / "p.png")
    assert image.rgb
    assert image.pixels.tolist() == [[[255, 0, 0], [0, 0, 9]]]


def _save_palette(path, table):
    """Write the indices 0 to 255 as a TIFF with a table of 8-bit colours."""
    indices = np.arange(256, dtype=np.uint8).reshape(8, 32)
    tifffile.imwrite(path, indices, photometric="palette", colormap=(table.T.astype(np.uint16) * 257))
    return indices


def test_a_colour_picture_with_a_palette_is_rgb_in_a_tiff_too(tmp_path):
    table = np.random.default_rng(0).integers(0, 256, (256, 3))
    indices = _save_palette(tmp_path / "p.tif", table)
    image = read_image(tmp_path / "p.tif")
    assert image.rgb
    np.testing.assert_array_equal(image.pixels, table[indices])


@pytest.mark.parametrize("darker", [False, True])
@pytest.mark.parametrize("colour", [(1, 1, 1), (0, 1, 0)])
def test_a_table_that_shows_intensities_leaves_them_as_they_are(tmp_path, colour, darker):
    ramp = np.arange(256)[:, None] * np.array(colour)
    indices = _save_palette(tmp_path / "p.tif", ramp[::-1] if darker else ramp)
    image = read_image(tmp_path / "p.tif")
    assert not image.rgb
    np.testing.assert_array_equal(image.pixels[:, :, 0], indices)


def test_what_imagej_shows_as_a_rainbow_are_intensities(tmp_path):
    rainbow = np.random.default_rng(0).integers(0, 256, (3, 256), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", GREY, imagej=True, colormap=rainbow.astype(np.uint16) * 257)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.pages[0].photometric == tifffile.PHOTOMETRIC.PALETTE
    image = read_image(tmp_path / "a.tif")
    assert not image.rgb
    np.testing.assert_array_equal(image.pixels[:, :, 0], GREY)


def test_a_picture_of_one_bit_is_black_and_white(tmp_path):
    PillowImage.fromarray(GREY > 99).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").pixels[:, :, 0], np.where(GREY > 99, 255, 0))
    tifffile.imwrite(tmp_path / "a.tif", GREY > 99)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels[:, :, 0], np.float32(GREY > 99))


def test_a_colour_png_of_16_bits_keeps_them(tmp_path):
    import imagecodecs

    deep = np.stack([DEEP, DEEP + 1, DEEP + 2], axis=-1)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(deep))
    (tmp_path / "g.png").write_bytes(imagecodecs.png_encode(np.ascontiguousarray(deep[:, :, :2])))
    image = read_image(tmp_path / "a.png", nuclear="blue", cell="green")
    np.testing.assert_array_equal(image.pixels, deep[:, :, [2, 1]])
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", rgb=True).pixels, deep)
    np.testing.assert_array_equal(read_image(tmp_path / "g.png").pixels, deep[:, :, :1])


@pytest.mark.parametrize("name", ["picture", "picture.TIF", "picture.png", "picture.txt"])
def test_the_content_decides_not_the_ending(tmp_path, name):
    tifffile.imwrite(tmp_path / "a.tif", GREY)
    (tmp_path / "a.tif").rename(tmp_path / name)
    np.testing.assert_array_equal(read_image(tmp_path / name).pixels[:, :, 0], GREY)


@pytest.mark.parametrize("options", [{"ome": True}, {"imagej": True}, {"ome": True, "compression": "lzw"}])
def test_of_a_stack_the_first_time_and_the_middle_depth_are_read(tmp_path, options):
    tifffile.imwrite(tmp_path / "a.tif", STACK, metadata={"axes": "TZCYX"}, **options)
    image = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.pixels, STACK[0, 1].transpose(1, 2, 0))
    assert (image.nuclear, image.cell, image.rgb) == (0, 1, False)


@pytest.mark.parametrize("options", [{"ome": True}, {"imagej": True}, {"imagej": True, "truncate": True}])
def test_another_plane_can_be_chosen(tmp_path, options):
    tifffile.imwrite(tmp_path / "a.tif", STACK, metadata={"axes": "TZCYX"}, **options)
    image = read_image(tmp_path / "a.tif", plane={"t": 1, "Z": -1}, cell=0)
    np.testing.assert_array_equal(image.pixels[:, :, 0], STACK[1, 2, 0])


@pytest.mark.parametrize("plane", [{"Z": 3}, {"Z": -4}, {"T": 2}, {"A": 1}, {"Y": 0}])
def test_a_plane_that_does_not_exist_is_refused_with_what_there_is(tmp_path, plane):
    tifffile.imwrite(tmp_path / "a.tif", STACK, ome=True, metadata={"axes": "TZCYX"})
    with pytest.raises(ImageShapeError, match=r"T=2 \(time\), Z=3 \(depth\), C=2 \(channel\), Y=6, X=5"):
        read_image(tmp_path / "a.tif", plane=plane)


def test_an_axis_that_the_file_does_not_store_has_index_zero(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GREY)
    assert read_image(tmp_path / "a.tif", plane={"T": 0, "Z": 0}).shape == (12, 10)


def test_five_axes_without_meaning_need_a_choice(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK, photometric="minisblack")
    with pytest.raises(ImageShapeError, match=r"Q=2, Q2=3, Q3=2, .*choose a plane, for example Q=0, Q2=0, Q3=0"):
        read_image(tmp_path / "a.tif")
    image = read_image(tmp_path / "a.tif", plane={"Q": 1, "Q2": 2})
    np.testing.assert_array_equal(image.pixels, STACK[1, 2].transpose(1, 2, 0))


def test_pages_without_meaning_are_channels_if_few_or_asked_for_else_depth(tmp_path):
    pages = np.arange(7 * 6 * 5, dtype=np.uint16).reshape(7, 6, 5)
    tifffile.imwrite(tmp_path / "seven.tif", pages, photometric="minisblack", metadata=None)
    tifffile.imwrite(tmp_path / "two.tif", pages[:2], photometric="minisblack", metadata=None)
    np.testing.assert_array_equal(read_image(tmp_path / "seven.tif").pixels[:, :, 0], pages[3])
    np.testing.assert_array_equal(read_image(tmp_path / "seven.tif", nuclear=6).pixels[:, :, 0], pages[6])
    two = read_image(tmp_path / "two.tif")
    assert (two.nuclear, two.cell, two.pixels.shape) == (0, 1, (6, 5, 2))


def test_three_pages_of_8_bits_are_not_taken_for_colours(tmp_path):
    tifffile.imwrite(tmp_path / "pages.tif", COLOUR.transpose(2, 0, 1), photometric="minisblack")
    with pytest.raises(ChannelError, match="3 channels"):
        read_image(tmp_path / "pages.tif")
    image = read_image(tmp_path / "pages.tif", nuclear=2, cell=0)
    np.testing.assert_array_equal(image.pixels, COLOUR[:, :, [2, 0]])
    assert read_image(tmp_path / "pages.tif", rgb=True).rgb


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_three_samples_are_colours_however_they_are_stored(tmp_path, planar):
    stored = COLOUR if planar == "contig" else COLOUR.transpose(2, 0, 1)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planar, compression="zlib")
    image = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.pixels, COLOUR)
    assert image.rgb


def test_a_colour_picture_can_be_read_as_channels(tmp_path):
    iio.imwrite(tmp_path / "a.png", COLOUR)
    image = read_image(tmp_path / "a.png", nuclear="Blue", cell=1)
    np.testing.assert_array_equal(image.pixels, COLOUR[:, :, [2, 1]])
    assert (image.nuclear, image.cell, image.rgb, image.channel_names) == (0, 1, False, ("blue", "green"))
    with pytest.raises(ChannelError):
        read_image(tmp_path / "a.png", rgb=False)
    with pytest.raises(ChannelError, match="either"):
        read_image(tmp_path / "a.png", nuclear=0, rgb=True)


def test_an_array_with_two_channels_last_is_not_taken_for_pages(tmp_path):
    array = np.arange(20 * 30 * 2, dtype=np.uint16).reshape(20, 30, 2)
    tifffile.imwrite(tmp_path / "a.tif", array)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels, array)


def test_one_channel_may_have_both_roles(tmp_path):
    iio.imwrite(tmp_path / "a.png", GREY)
    image = read_image(tmp_path / "a.png", nuclear=0, cell=0)
    assert (image.nuclear, image.cell, image.pixels.shape) == (0, 0, (12, 10, 1))


def test_channels_are_found_by_their_ome_names(tmp_path):
    names = ["DAPI", "CD45", "dapi", "7"]
    array = np.arange(4 * 6 * 5, dtype=np.uint16).reshape(4, 6, 5)
    tifffile.imwrite(tmp_path / "a.tif", array, ome=True, metadata={"axes": "CYX", "Channel": {"Name": names}})
    image = read_image(tmp_path / "a.tif", nuclear="dapi", cell="cd45")
    np.testing.assert_array_equal(image.pixels, array[[2, 1]].transpose(1, 2, 0))
    assert image.channel_names == ("dapi", "CD45")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", cell="7").pixels[:, :, 0], array[3])
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", cell="0").pixels[:, :, 0], array[0])


def test_channels_are_found_by_their_imagej_labels(tmp_path):
    labels = ["c:1/2 z:1/3 - nuclei", "c:2/2 z:1/3 - membrane"] * 3
    array = STACK[0]
    tifffile.imwrite(tmp_path / "a.tif", array, imagej=True, metadata={"axes": "ZCYX", "Labels": labels})
    image = read_image(tmp_path / "a.tif", cell="membrane")
    np.testing.assert_array_equal(image.pixels[:, :, 0], array[1, 1])


@pytest.mark.parametrize("channel", [2, -1, "GFP", "2"])
def test_a_channel_that_does_not_exist_is_refused_with_the_list_of_channels(tmp_path, channel):
    metadata = {"axes": "CYX", "Channel": {"Name": ["DAPI", "CD45"]}}
    tifffile.imwrite(tmp_path / "a.tif", STACK[0, 0], ome=True, metadata=metadata)
    with pytest.raises(ChannelError, match=r"a\.tif: .*the channels are 0 'DAPI', 1 'CD45'"):
        read_image(tmp_path / "a.tif", nuclear=channel)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"ome": True, "metadata": {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25}}, (0.25, 0.5)),
        (
            {"ome": True, "metadata": {"PhysicalSizeX": 500, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.25}},
            (0.25, 0.5),
        ),
        ({"ome": True, "metadata": {"PhysicalSizeX": 1, "PhysicalSizeXUnit": "pixel", "PhysicalSizeY": 1}}, None),
        ({"ome": True, "metadata": {}}, None),
        ({"imagej": True, "resolution": (2, 4), "metadata": {"unit": "um"}}, (0.25, 0.5)),
        ({"imagej": True, "resolution": (2, 4), "metadata": {"unit": "\\u00B5m"}}, (0.25, 0.5)),
        ({"imagej": True, "resolution": (2000, 4000), "metadata": {"unit": "mm"}}, (0.25, 0.5)),
        ({"imagej": True, "resolution": (2, 4), "metadata": {"unit": "pixel"}}, None),
        ({"resolution": (20000, 40000), "resolutionunit": "CENTIMETER"}, (0.25, 0.5)),
        ({"resolution": (25400, 25400), "resolutionunit": "INCH"}, (1.0, 1.0)),
        ({"resolution": (300, 300), "resolutionunit": "INCH"}, None),
        ({"resolution": (2, 2), "resolutionunit": "NONE"}, None),
        ({}, None),
    ],
)
def test_the_pixel_size_is_read_in_micrometres(tmp_path, options, expected):
    tifffile.imwrite(tmp_path / "a.tif", DEEP, **options)
    size = read_image(tmp_path / "a.tif").pixel_size_um
    assert size == (None if expected is None else pytest.approx(expected))


def test_scenes_are_chosen_by_number(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif", ome=True) as writer:
        writer.write(GREY, metadata={"PhysicalSizeX": 1.0, "PhysicalSizeY": 1.0})
        writer.write(DEEP[:5], metadata={"PhysicalSizeX": 2.0, "PhysicalSizeY": 3.0})
    image = read_image(tmp_path / "a.tif", scene=1)
    np.testing.assert_array_equal(image.pixels[:, :, 0], DEEP[:5])
    assert image.pixel_size_um == (3.0, 2.0)
    with pytest.raises(ImageReadError, match="scenes 0 to 1"):
        read_image(tmp_path / "a.tif", scene=2)
    iio.imwrite(tmp_path / "a.png", GREY)
    with pytest.raises(ImageReadError, match="one picture"):
        read_image(tmp_path / "a.png", scene=1)


def test_only_the_chosen_plane_is_decoded(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK, ome=True, metadata={"axes": "TZCYX"}, compression="zlib")
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        broken = file.pages[0].dataoffsets[0]
    content = bytearray((tmp_path / "a.tif").read_bytes())
    content[broken : broken + 8] = b"\xff" * 8
    (tmp_path / "a.tif").write_bytes(content)
    np.testing.assert_array_equal(
        read_image(tmp_path / "a.tif", plane={"Z": 2}, cell=0).pixels[:, :, 0], STACK[0, 2, 0]
    )
    with pytest.raises(ImageReadError, match=r"a\.tif cannot be read"):
        read_image(tmp_path / "a.tif", plane={"Z": 0}, cell=0)


def test_nan_and_infinity_become_finite(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.array([[np.nan, np.inf], [-2.0, 3.0]]))
    assert read_image(tmp_path / "a.tif").pixels[:, :, 0].tolist() == [[-2.0, 3.0], [-2.0, 3.0]]


def test_a_picture_one_pixel_wide_is_read(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GREY[:, :1])
    iio.imwrite(tmp_path / "a.png", GREY[:1])
    assert read_image(tmp_path / "a.tif").shape == (12, 1)
    assert read_image(tmp_path / "a.png").shape == (1, 10)


@pytest.mark.parametrize("array", [np.arange(20, dtype=np.uint8), np.ones((4, 4), np.complex64)])
def test_one_axis_and_complex_numbers_are_refused(tmp_path, array):
    tifffile.imwrite(tmp_path / "a.tif", array)
    with pytest.raises(ImageShapeError, match=r"a\.tif"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("content", [b"", b"once upon a time", b"II*\0", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"])
def test_a_file_that_is_no_image_is_refused_whatever_its_name(tmp_path, content):
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(ImageReadError, match=r"a\.tif"):
        read_image(tmp_path / "a.tif")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(ImageReadError, match="does not exist"):
        read_image(tmp_path / "a.tif")
    with pytest.raises(ImageReadError, match="is a folder"):
        read_image(tmp_path)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.png", {}),
        ("a.tif", {}),
        ("a.tif", {"compression": "zlib"}),
        ("a.tif", {"compression": "lzw", "predictor": True}),
        ("a.tif", {"tile": (16, 16), "compression": "zlib"}),
        ("a.tif", {"ome": True}),
        ("a.tif", {"imagej": True}),
        ("a.tif", {"imagej": True, "truncate": True}),
    ],
)
def test_a_file_cut_off_anywhere_is_refused_or_read_whole(tmp_path, name, options):
    pixels = np.random.default_rng(0).integers(0, 60000, (40, 30)).astype(np.uint16)
    path = tmp_path / name
    if name == "a.png":
        iio.imwrite(path, pixels)
    else:
        tifffile.imwrite(path, pixels, **options)
    content = path.read_bytes()
    for share in np.linspace(0.01, 0.995, 25):
        path.write_bytes(content[: int(len(content) * share)])
        try:
            image = read_image(path)
        except ImageReadError:
            continue
        np.testing.assert_array_equal(image.pixels[:, :, 0], pixels)


@pytest.mark.parametrize(
    "options",
    [{"imagej": True}, {"imagej": True, "truncate": True}, {"ome": True}, {"ome": True, "compression": "zlib"}],
)
def test_a_stack_cut_off_anywhere_gives_no_wrong_plane(tmp_path, options):
    tifffile.imwrite(tmp_path / "a.tif", STACK, metadata={"axes": "TZCYX"}, **options)
    content = (tmp_path / "a.tif").read_bytes()
    for share in np.linspace(0.05, 0.995, 25):
        (tmp_path / "a.tif").write_bytes(content[: int(len(content) * share)])
        for plane in ({}, {"T": 1, "Z": 2}):
            try:
                image = read_image(tmp_path / "a.tif", plane=plane, nuclear=0, cell=1)
            except ImageReadError:
                continue
            expected = STACK[plane.get("T", 0), plane.get("Z", 1)]
            np.testing.assert_array_equal(image.pixels, expected.transpose(1, 2, 0))


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg"])
def test_an_image_larger_than_the_memory_is_refused_before_it_is_decoded(tmp_path, name, monkeypatch):
    iio.imwrite(tmp_path / name, np.zeros((300, 300), np.uint8))
    monkeypatch.setattr(memory, "available_bytes", lambda: 300 * 300)
    monkeypatch.setattr(np, "empty", lambda *_: pytest.fail("memory was taken"))
    with pytest.raises(ImageTooLargeError, match=rf"{name}: an image of 300 x 300 pixels"):
        read_image(tmp_path / name)


def test_a_header_of_30000_by_30000_pixels_is_refused_without_the_memory(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", GREY, metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        for tag in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            file.pages[0].tags[tag].overwrite(30_000)
    monkeypatch.setattr(memory, "available_bytes", lambda: 2**33)
    with pytest.raises(
        ImageTooLargeError, match=r"30,000 x 30,000 pixels needs about \d+\.\d GiB and 8\.0 GiB are free"
    ):
        read_image(tmp_path / "a.tif")


def test_a_large_honest_png_is_no_decompression_bomb(tmp_path, monkeypatch):
    iio.imwrite(tmp_path / "a.png", np.zeros((300, 300), np.uint8))
    monkeypatch.setattr(PillowImage, "MAX_IMAGE_PIXELS", 1000)
    assert read_image(tmp_path / "a.png").shape == (300, 300)


def test_memory_that_runs_out_while_decoding_says_so(tmp_path, monkeypatch):
    iio.imwrite(tmp_path / "a.png", GREY)

    def fail(*_):
        raise MemoryError

    monkeypatch.setattr("napari_cellsam.data.read.read_plane", fail)
    with pytest.raises(ImageTooLargeError, match=r"a\.png"):
        read_image(tmp_path / "a.png")


def test_folders_are_replaced_by_their_images_in_order(tmp_path):
    for name in ("b.TIF", "a.png", "c.jpeg", "a_labels.tif", "a_outlines.png", "notes.txt", ".hidden.png"):
        (tmp_path / name).touch()
    (tmp_path / "folder.tif").mkdir()
    single = tmp_path / "elsewhere.xyz"
    assert list_images([single, tmp_path]) == [single, *(tmp_path / n for n in ("a.png", "b.TIF", "c.jpeg"))]


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(ImageReadError, match="no image"):
        list_images([tmp_path])
