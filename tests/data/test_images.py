"""Every kind of image file, written in the true format, against the pixels it must become."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from datm.data.images import commonest_size, convert, decode, inspect
from datm.data.raw import EncodedImage
from datm.errors import InputError

GREY = np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6)
RGB = np.stack([GREY, 255 - GREY, GREY // 2], axis=-1)


def encode(image: Image.Image, form: str = "PNG", **options) -> EncodedImage:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return EncodedImage(f"an.{form.lower()}", buffer.getvalue())


def decoded(encoded: EncodedImage, channels: int = 3) -> np.ndarray:
    """[4, 6, channels] as numpy."""
    return decode([encoded], (4, 6), channels)[0].permute(1, 2, 0).numpy()


def repeated(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=-1)


@pytest.mark.parametrize("form", ["PNG", "BMP", "PPM", "TIFF"])
def test_lossless_colour_is_kept(form):
    encoded = encode(Image.fromarray(RGB), form)
    np.testing.assert_array_equal(decoded(encoded), RGB)
    assert not inspect([encoded])[0].grey


def test_lossless_webp_is_kept():
    encoded = encode(Image.fromarray(RGB), "WEBP", lossless=True)
    np.testing.assert_array_equal(decoded(encoded), RGB)


def test_jpeg_is_near():
    smooth = np.full((16, 16, 3), (200, 100, 50), dtype=np.uint8)
    encoded = encode(Image.fromarray(smooth), "JPEG", quality=95)
    pixels = decode([encoded], (16, 16), 3)[0].permute(1, 2, 0).numpy()
    assert abs(pixels.astype(int) - smooth).max() <= 3


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_is_kept(channels):
    encoded = encode(Image.fromarray(GREY))
    expected = repeated(GREY)[..., :channels]
    np.testing.assert_array_equal(decoded(encoded, channels), expected)
    assert inspect([encoded])[0].grey


def test_black_and_white_is_grey():
    bits = GREY > 100
    encoded = encode(Image.fromarray(bits))
    np.testing.assert_array_equal(decoded(encoded, 1)[..., 0], bits * np.uint8(255))
    assert inspect([encoded])[0].grey


def test_16_bit_grey_is_scaled_by_its_range():
    deep = (GREY.astype(np.uint16) * 257) + 100
    encoded = encode(Image.fromarray(deep))
    np.testing.assert_array_equal(decoded(encoded, 1)[..., 0], GREY)
    header = inspect([encoded])[0]
    assert header.grey
    assert header.deep


def test_a_palette_is_looked_up():
    palette = Image.fromarray(RGB).quantize(24)
    np.testing.assert_array_equal(decoded(encode(palette)), np.asarray(palette.convert("RGB")))
    assert not inspect([encode(palette)])[0].grey


def test_a_palette_of_greys_is_grey():
    palette = Image.fromarray(GREY // 10).convert("P")
    palette.putpalette([value for level in range(256) for value in [level] * 3])
    encoded = encode(palette)
    assert inspect([encoded])[0].grey
    np.testing.assert_array_equal(decoded(encoded, 1)[..., 0], GREY // 10)


def test_transparency_is_composited_on_white():
    alpha = np.full((4, 6, 1), 51, dtype=np.uint8)  # a fifth opaque
    alpha[0] = 0
    alpha[1] = 255
    encoded = encode(Image.fromarray(np.concatenate([RGB, alpha], -1)))
    share = alpha / 255
    expected = RGB * share + 255 * (1 - share)
    assert abs(decoded(encoded) - expected).max() <= 1
    np.testing.assert_array_equal(decoded(encoded)[0], np.full((6, 3), 255))
    np.testing.assert_array_equal(decoded(encoded)[1], RGB[1])
    assert inspect([encoded])[0].transparent


def test_a_transparent_palette_entry_is_white():
    palette = Image.new("P", (6, 4), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    palette.putpixel((0, 0), 0)
    pixels = decoded(encode(palette, transparency=0))
    np.testing.assert_array_equal(pixels[0, 0], [255, 255, 255])
    np.testing.assert_array_equal(pixels[1, 1], [10, 20, 30])


def test_grey_with_transparency_stays_grey():
    alpha = np.full_like(GREY, 255)
    alpha[0] = 0
    encoded = encode(Image.fromarray(np.stack([GREY, alpha], -1), "LA"))
    assert inspect([encoded])[0].grey
    expected = GREY.copy()
    expected[0] = 255
    np.testing.assert_array_equal(decoded(encoded, 1)[..., 0], expected)


def test_cmyk_becomes_rgb():
    cyan = Image.new("CMYK", (6, 4), (255, 0, 0, 0))
    pixels = decoded(encode(cyan, "JPEG", quality=95)).astype(int)
    assert abs(pixels - np.array([0, 255, 255])).max() <= 3


def test_the_cameras_orientation_is_obeyed():
    exif = Image.Exif()
    exif[0x0112] = 6  # held upright: turn a quarter clockwise to see it
    stored = encode(Image.fromarray(RGB), "PNG", exif=exif)
    assert inspect([stored])[0].size == (6, 4)
    pixels = decode([stored], (6, 4), 3)[0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(pixels, np.rot90(RGB, -1))


def test_shrinking_averages_instead_of_skipping():
    """A one-pixel chequerboard becomes grey; without antialiasing it would stay black or white."""
    board = (np.indices((32, 32)).sum(0) % 2 * 255).astype(np.uint8)
    pixels = decode([encode(Image.fromarray(board))], (8, 8), 1)
    assert abs(pixels.float() - 127.5).max() < 40


def test_tensors_are_converted_by_the_same_rules():
    tensor = torch.from_numpy(RGB).permute(2, 0, 1)[None]
    for size, channels in [((4, 6), 3), ((4, 6), 1), ((2, 3), 3), ((8, 8), 1)]:
        expected = decode([encode(Image.fromarray(RGB))], size, channels)
        assert torch.equal(convert(tensor, size, channels), expected)
    grey = torch.from_numpy(GREY)[None, None]
    assert torch.equal(convert(grey, (4, 6), 3), grey.expand(1, 3, 4, 6))


def test_order_and_number_survive_the_threads():
    images = [encode(Image.new("L", (2, 2), k % 256)) for k in range(600)]
    assert decode(images, (2, 2), 1)[:, 0, 0, 0].tolist() == [k % 256 for k in range(600)]


def test_the_commonest_size_wins_and_of_equals_the_smallest():
    def headers(*sizes):
        return inspect([encode(Image.new("L", (w, h))) for h, w in sizes])

    assert commonest_size(headers((4, 4), (9, 9), (9, 9))) == (9, 9)
    assert commonest_size(headers((9, 9), (4, 5))) == (4, 5)


def damaged() -> list[tuple[str, bytes]]:
    big = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    cut = [(form, encode(big, form).data) for form in ("PNG", "JPEG", "WEBP", "BMP")]
    return [
        *((f"{form} cut short", data[: len(data) // 2]) for form, data in cut),
        ("text", b"not an image"),
        ("empty", b""),
        # PIL would start Ghostscript for this one.
        ("postscript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\nshowpage\n"),
    ]


@pytest.mark.parametrize(("what", "data"), damaged(), ids=lambda value: str(value)[:16])
def test_damaged_images_are_refused_by_name(what, data):
    images = [encode(Image.new("L", (4, 4))), EncodedImage("folder/bad.png", data)]

    def read() -> None:
        inspect(images)
        decode(images, (4, 4), 3)

    with pytest.raises(InputError, match=r"^folder/bad\.png: not a readable image .*remove it\.$"):
        read()
