"""Decoding: image files of any kind to uint8 tensors of one size and one number of channels.

Grey is mode 1, L, LA, 16-bit grey, or a palette of greys. Transparency is composited on white, CMYK
becomes RGB, 16-bit grey is scaled by 1/257, a camera's orientation tag is obeyed. Resizing is PIL's
antialiased bilinear filter; the aspect ratio is not kept.
"""

import io
import os
import struct
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from datm.data.raw import EncodedImage, reason
from datm.errors import InputError

# An explicit list: PIL's full one includes formats that start other programs (EPS: Ghostscript).
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "PPM", "TIFF", "GIF")
ORIENTATION = 0x0112
GREY_16 = ("I", "I;16", "I;16B", "I;16L", "I;16N")

Pixels = npt.NDArray[np.uint8]


class Header(NamedTuple):
    """What is known of an image before its pixels are decoded."""

    size: tuple[int, int]  # (H, W) as it will be seen
    grey: bool
    transparent: bool
    deep: bool  # 16-bit grey


def inspect(images: Sequence[EncodedImage]) -> list[Header]:
    """The header of every image. Raises InputError naming the first that is no image."""
    return [_header(encoded) for encoded in images]


def decode(images: Sequence[EncodedImage], size: tuple[int, int], channels: int) -> Tensor:
    """All images as [n, channels, H, W] uint8, resized to `size` (H, W).

    Raises InputError naming the first image that cannot be decoded.
    """
    out = np.empty((len(images), *size, channels), dtype=np.uint8)

    def fill(begin: int) -> None:
        for i in range(begin, min(begin + 256, len(images))):
            out[i] = _pixels(images[i], size, channels)

    # PIL decodes and resizes without the interpreter lock, so large images gain from threads.
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 16)) as pool:
        for _ in pool.map(fill, range(0, len(images), 256)):
            pass
    return torch.from_numpy(out).permute(0, 3, 1, 2).contiguous()


def convert(images: Tensor, size: tuple[int, int], channels: int) -> Tensor:
    """[n, c, h, w] uint8 -> [n, channels, H, W] uint8, by the same rules as `decode`."""
    if images.shape[2:] == size and images.shape[1] == channels:
        return images.contiguous()
    out = np.empty((len(images), *size, channels), dtype=np.uint8)
    for i, pixels in enumerate(images.permute(0, 2, 3, 1).squeeze(-1).numpy()):
        out[i] = _fit(Image.fromarray(pixels), size, channels)
    return torch.from_numpy(out).permute(0, 3, 1, 2).contiguous()


def commonest_size(headers: Sequence[Header]) -> tuple[int, int]:
    """The (H, W) most images have; of equally common ones the smallest."""
    counts = Counter(header.size for header in headers)
    return min(counts, key=lambda size: (-counts[size], size[0] * size[1], size))


def _open(encoded: EncodedImage) -> Image.Image:
    data = encoded.data
    return Image.open(data if isinstance(data, Path) else io.BytesIO(data), formats=FORMATS)


def _header(encoded: EncodedImage) -> Header:
    try:
        with _open(encoded) as image:
            width, height = image.size
            if image.getexif().get(ORIENTATION, 1) >= 5:  # 5 to 8 swap the axes
                width, height = height, width
            return Header(
                (height, width),
                _is_grey(image),
                _is_transparent(image),
                image.mode in GREY_16,
            )
    except _BROKEN as error:
        raise _unreadable(encoded, error) from error


def _pixels(encoded: EncodedImage, size: tuple[int, int], channels: int) -> Pixels:
    try:
        with _open(encoded) as image:
            image.load()
            return _fit(_flat(ImageOps.exif_transpose(image)), size, channels)
    except _BROKEN as error:
        raise _unreadable(encoded, error) from error


def _flat(image: Image.Image) -> Image.Image:
    """The same image in mode L or RGB."""
    if image.mode in GREY_16:
        deep = np.asarray(image).astype(np.int64)
        if deep.min() < 0 or deep.max() > 65535:
            raise ValueError(f"values {deep.min()} to {deep.max()}, not 0 to 65535")
        return Image.fromarray(((deep + 128) // 257).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    grey = _is_grey(image)
    if _is_transparent(image):
        above = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", above.size, "white"), above)
    return image.convert("L" if grey else "RGB")


def _fit(image: Image.Image, size: tuple[int, int], channels: int) -> Pixels:
    """Mode L or RGB -> [H, W, channels] uint8."""
    image = image.convert("L" if channels == 1 else "RGB")
    height, width = size
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(height, width, channels)


def _is_grey(image: Image.Image) -> bool:
    if image.mode == "P":
        palette = np.array(image.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all())
    return image.mode in ("1", "L", "LA", "La", *GREY_16)


def _is_transparent(image: Image.Image) -> bool:
    bands = image.getbands()
    return "A" in bands or "a" in bands or "transparency" in image.info


# Everything PIL raises for damaged files: besides OSError, each format has its own.
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    struct.error,
    Image.DecompressionBombError,
)


def _unreadable(encoded: EncodedImage, error: Exception) -> InputError:
    # PIL's own message here is the address of a buffer.
    why = "no known format" if isinstance(error, UnidentifiedImageError) else reason(error)
    return InputError(f"{encoded.name}: not a readable image ({why}); replace or remove it.")
