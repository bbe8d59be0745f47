"""Previews and sprites: sizes, and that every image lies where it should."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from datm.errors import InputError
from datm.reporting import preview_png
from datm.reporting.figures import GAP, MARGIN, TEXT, Sprite
from datm.runtime.seeds import generator

DIGITS = [str(k) for k in range(10)]


def pictures(n, c=1, h=8, w=8):
    return torch.rand(n, c, h, w, generator=generator(0, "pictures", n, c, h, w))


def preview(tmp_path, pixels, classes, ipc, **options):
    path = tmp_path / "preview.png"
    preview_png(pixels, classes, ipc, path, **options)
    return np.asarray(Image.open(path))


def enlarged(image, zoom):
    """One image [c, h, w] as the preview should hold it: [h * zoom, w * zoom, 3] uint8."""
    rgb = image.mul(255).round().byte().expand(3, -1, -1).permute(1, 2, 0).numpy()
    return rgb.repeat(zoom, 0).repeat(zoom, 1)


@pytest.mark.parametrize(("c", "side", "zoom"), [(1, 8, 8), (3, 32, 2), (1, 28, 2), (3, 96, 1)])
def test_a_class_a_line_with_its_name_at_the_left(tmp_path, c, side, zoom):
    pixels = pictures(30, c, side, side)
    image = preview(tmp_path, pixels, ["a", "b", "c"], 10)
    step = side * zoom + GAP
    assert image.shape[0] == 2 * MARGIN + 3 * step - GAP
    left = image.shape[1] - MARGIN - 10 * step + GAP
    for row, column in ((0, 0), (2, 9), (1, 4)):
        y, x = MARGIN + row * step, left + column * step
        tile = image[y : y + side * zoom, x : x + side * zoom]
        assert (tile == enlarged(pixels[10 * row + column], zoom)).all()
    assert (image[MARGIN : MARGIN + step, :left] < 100).any()  # the class's name, dark on white


def test_one_image_a_class_puts_many_classes_on_a_line_with_names_above(tmp_path):
    pixels = pictures(10)
    image = preview(tmp_path, pixels, DIGITS, 1)
    assert image.shape == (2 * MARGIN + TEXT + 2 * GAP + 64, 2 * MARGIN + 10 * 64 + 9 * 3 * GAP, 3)
    x, y = MARGIN + 7 * (64 + 3 * GAP), MARGIN + TEXT + 2 * GAP
    assert (image[y : y + 64, x : x + 64] == enlarged(pixels[7], 8)).all()


def test_many_images_a_class_show_the_first_ones_of_each_and_say_so(tmp_path):
    pixels = pictures(5000)
    many = preview(tmp_path, pixels, DIGITS, 500)
    first = pixels.unflatten(0, (10, 500))[:, :10].flatten(0, 1)
    few = preview(tmp_path, first, DIGITS, 10)
    assert many.shape[0] == few.shape[0] + TEXT + MARGIN  # a line of text below
    assert (many[: few.shape[0] - MARGIN] == few[: few.shape[0] - MARGIN]).all()
    assert (many[few.shape[0] :] < 200).any()


@pytest.mark.parametrize(("classes", "ipc"), [(100, 50), (300, 1), (2, 1), (1, 3), (200, 2)])
def test_any_number_of_classes_gives_a_picture_of_reasonable_size(tmp_path, classes, ipc):
    names = [f"a class with rather a long name {k}" for k in range(classes)]
    image = preview(tmp_path, pictures(classes * ipc), names, ipc)
    assert image.shape[0] < 2400
    assert image.shape[1] < 1000


def test_images_that_are_not_square_keep_their_shape(tmp_path):
    pixels = pictures(10, 1, 4, 16)
    image = preview(tmp_path, pixels, DIGITS, 1)
    assert image.shape[0] == 2 * MARGIN + TEXT + 2 * GAP + 16


def test_a_wrong_number_of_images_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(InputError, match="11 images are not 10 classes of 1"):
        preview_png(pictures(11), DIGITS, 1, tmp_path / "preview.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("n", "across", "c"), [(30, 10, 1), (7, 3, 3), (1, 1, 3), (5, 5, 1)])
def test_css_cuts_exactly_the_wanted_tile_from_a_sprite(n, across, c):
    pixels = pictures(n, c, 6, 9)
    sprite = Sprite.of(pixels, across)
    sheet = np.asarray(Image.open(io.BytesIO(sprite.png)).convert("RGB"))
    for i in range(n):
        # what a browser does: position p puts the point p of the sheet on the point p of the box
        x, y = (float(part.rstrip("%")) / 100 for part in sprite.position(i).split())
        left, top = x * (sheet.shape[1] - 9), y * (sheet.shape[0] - 6)
        assert left == pytest.approx(round(left), abs=0.01)
        tile = sheet[round(top) : round(top) + 6, round(left) : round(left) + 9]
        assert (tile == enlarged(pixels[i], 1)).all()


def test_values_outside_the_unit_range_are_clamped():
    sprite = Sprite.of(torch.tensor([-3.0, 9.0]).view(2, 1, 1, 1).expand(-1, -1, 2, 2), 2)
    sheet = np.asarray(Image.open(io.BytesIO(sprite.png)))
    assert (sheet == [[0] * 4 + [255] * 4] * 4).all()
