"""Image files as upright RGB pixels."""

import io
import warnings

import numpy as np
import pytest
from PIL import Image
from refusals import refused

from clamp3.errors import FormatError
from clamp3.formats import images
from clamp3.formats.images import Picture

COLOURS = np.array(
    [[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[0, 0, 0], [255, 255, 255], [9, 99, 199]]], np.uint8
)


def file_of(image, form="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(("form", "options"), [("PNG", {}), ("WEBP", {"lossless": True})])
def test_pixels_are_kept(tmp_path, form, options):
    content = file_of(Image.fromarray(COLOURS), form, **options)
    path = tmp_path / "image.of_any_name"
    path.write_bytes(content)
    for source in (content, path):
        picture = Picture.read(source)
        assert (picture.pixels == COLOURS).all()
        assert picture.nbytes == 18


def test_jpeg_is_about_the_same():
    smooth = np.full((32, 48, 3), (200, 100, 50), np.uint8)
    pixels = Picture.read(file_of(Image.fromarray(smooth), "JPEG")).pixels
    assert pixels.shape == smooth.shape
    assert np.abs(pixels.astype(int) - smooth).max() < 6


def test_exif_turns_it():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera's right side was up
    pixels = Picture.read(file_of(Image.fromarray(COLOURS), exif=exif)).pixels
    assert (pixels == np.rot90(COLOURS, -1)).all()


def test_modes_become_rgb():
    grey = COLOURS[..., 0]
    as_rgb = np.repeat(grey[..., None], 3, axis=2)
    assert (Picture.read(file_of(Image.fromarray(grey))).pixels == as_rgb).all()
    deep = Image.fromarray(grey.astype(np.uint16) << 8)
    assert (Picture.read(file_of(deep)).pixels == as_rgb).all()
    see_through = np.dstack([COLOURS, np.full((2, 3), 100, np.uint8)])
    assert (Picture.read(file_of(Image.fromarray(see_through))).pixels == COLOURS).all()
    palette = Image.fromarray(COLOURS).quantize(6)
    content = file_of(palette, transparency=bytes([0, 255, 128]))
    assert (Picture.read(content).pixels == COLOURS).all()
    assert Picture.read(file_of(Image.fromarray(grey > 9))).pixels.shape == (2, 3, 3)
    assert Picture.read(file_of(Image.new("CMYK", (4, 5)), "JPEG")).pixels.shape == (5, 4, 3)


def test_too_large_is_told_before_it_is_decoded(monkeypatch):
    content = file_of(Image.new("1", (10_000, 6_000)))
    assert len(content) < 100_000
    with refused("image_too_large", "10000 x 6000 pixels, expected at most"):
        Picture.read(content)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20_000_000)  # Pillow's own limit: twice that
    with refused("image_too_large"):
        Picture.read(content)
    monkeypatch.setattr(images, "MOST_PIXELS", 6)
    assert Picture.read(file_of(Image.fromarray(COLOURS))).pixels.shape == (2, 3, 3)


def test_what_is_no_image_is_told(tmp_path):
    with refused("unreadable_file", "No such file"):
        Picture.read(tmp_path / "missing.png")
    gif = file_of(Image.new("L", (2, 2)), "GIF")
    for content in (b"", b"\x89PNG\r\n\x1a\n", b"%!PS-Adobe", gif):
        with refused("unreadable_image", "image"):
            Picture.read(content)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_no_damage_is_another_error(form):
    rng = np.random.default_rng(0)
    content = file_of(Image.fromarray(rng.integers(0, 256, (40, 40, 3)).astype(np.uint8)), form)
    told = set()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(300):
            damaged = bytearray(content[: rng.integers(8, len(content) + 1)])
            for place in rng.integers(0, len(damaged), 3):
                damaged[place] = rng.integers(0, 256)
            try:
                Picture.read(bytes(damaged))
            except FormatError as error:
                told.add(error.kind)
    assert "unreadable_image" in told
    assert told <= {"unreadable_image", "image_too_large"}
