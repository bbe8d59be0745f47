"""Distilled images as pictures: the preview file and the sprite that a page cuts tiles from.

Shapes: S images in class order, K classes, c channels (1 grey, 3 RGB), H height, W width; `ipc`
images per class, of which `shown` are drawn.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from datm.errors import InputError
from datm.runtime.files import atomic_write

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

TILE = 64  # pixels on a side that an enlarged image comes near
GAP = 3
MARGIN = 12
TEXT = 15  # font size
MOST_TILES = 200
LABEL_CHARACTERS = 16


def preview_png(
    pixels: Tensor, classes: Sequence[str], ipc: int, path: Path | str, columns: int = 10
) -> None:
    """Draw `pixels` [S, c, H, W] in [0, 1] as a labelled grid, nearest-neighbour enlarged.

    At most `columns` images a class and 200 in all are drawn; a line below says what is left out.
    """
    if len(pixels) != ipc * len(classes):
        raise InputError(
            f"images: {len(pixels)} images are not {len(classes)} classes of {ipc}; "
            "give ipc images of every class, in class order."
        )
    count = min(len(classes), MOST_TILES)
    shown = max(1, min(ipc, columns, MOST_TILES // count))
    rows = torch.arange(count)[:, None] * ipc + torch.arange(shown)  # [classes, shown]
    drawn = to_bytes(pixels[rows.flatten()])
    drawn = drawn.view(count, shown, *drawn.shape[1:])
    note = shown_note(ipc, shown, len(classes), count)
    # one class a line with its name at the left, or, where few images are shown, several classes
    # a line with the name above each
    layout = _label_left if 2 * shown > columns else _label_above
    image = layout(drawn, [str(name) for name in classes[:count]], columns, note)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    atomic_write(path, file.getvalue())


def shown_note(ipc: int, shown: int, classes: int, classes_shown: int) -> str:
    """What a picture leaves out, or nothing."""
    parts = []
    if shown < ipc:
        parts.append(
            f"the first {shown} of {ipc:,} images of each class"
            if shown > 1
            else f"the first of {ipc:,} images of each class"
        )
    if classes_shown < classes:
        parts.append(f"the first {classes_shown:,} of {classes:,} classes")
    return f"shown: {', '.join(parts)}" if parts else ""


def to_bytes(pixels: Tensor) -> Tensor:
    """[n, c, H, W] in [0, 1] to uint8 [n, H, W, 3]; outside values are clamped.

    Images of neither 1 nor 3 channels show the mean of their channels.
    """
    if pixels.shape[1] not in (1, 3):
        pixels = pixels.mean(dim=1, keepdim=True)
    scaled = pixels.detach().float().cpu().clamp(0, 1).mul(255).round()
    return scaled.to(torch.uint8).expand(-1, 3, -1, -1).permute(0, 2, 3, 1)


def _tile(image: Tensor) -> "Image.Image":
    """One image [H, W, 3] enlarged by a whole number."""
    from PIL import Image

    height, width = image.shape[:2]
    zoom = max(1, round(TILE / max(height, width)))
    picture = Image.fromarray(image.contiguous().numpy())
    return picture.resize((width * zoom, height * zoom), Image.Resampling.NEAREST)


def _label_left(drawn: Tensor, names: list[str], columns: int, note: str) -> "Image.Image":
    font = _font()
    shown = drawn.shape[1]
    tile = _tile(drawn[0, 0])
    step_x, step_y = tile.width + GAP, tile.height + GAP
    labels = [_short(name, LABEL_CHARACTERS * TEXT / 2, font) for name in names]
    left = MARGIN + int(max(font.getlength(label) for label in labels)) + MARGIN
    size = (left + shown * step_x - GAP + MARGIN, MARGIN + len(names) * step_y - GAP)
    image, draw = _canvas(size, note, font)
    for k, label in enumerate(labels):
        top = MARGIN + k * step_y
        middle = top + tile.height // 2
        draw.text((left - MARGIN, middle), label, fill="#222", font=font, anchor="rm")
        for i in range(shown):
            image.paste(_tile(drawn[k, i]), (left + i * step_x, top))
    return image


def _label_above(drawn: Tensor, names: list[str], columns: int, note: str) -> "Image.Image":
    font = _font()
    shown = drawn.shape[1]
    tile = _tile(drawn[0, 0])
    across = min(len(names), max(1, columns // shown))
    width = shown * (tile.width + GAP) - GAP
    step_x, step_y = width + 3 * GAP, TEXT + 2 * GAP + tile.height + 3 * GAP
    down = -(-len(names) // across)
    size = (2 * MARGIN + across * step_x - 3 * GAP, MARGIN + down * step_y - 3 * GAP)
    image, draw = _canvas(size, note, font)
    for k, name in enumerate(names):
        x, y = MARGIN + k % across * step_x, MARGIN + k // across * step_y
        label = _short(name, width, font)
        draw.text((x + width // 2, y), label, fill="#222", font=font, anchor="ma")
        for i in range(shown):
            place = (x + i * (tile.width + GAP), y + TEXT + 2 * GAP)
            image.paste(_tile(drawn[k, i]), place)
    return image


def _canvas(
    size: tuple[int, int], note: str, font: "ImageFont.FreeTypeFont | ImageFont.ImageFont"
) -> "tuple[Image.Image, ImageDraw.ImageDraw]":
    """White paper for a drawing of `size`, with the note under it and a margin below."""
    from PIL import Image, ImageDraw

    width, height = size
    below = MARGIN + (TEXT + MARGIN if note else 0)
    width = max(width, int(font.getlength(note)) + 2 * MARGIN)
    image = Image.new("RGB", (width, height + below), "white")
    draw = ImageDraw.Draw(image)
    if note:
        draw.text((MARGIN, height + MARGIN), note, fill="#666", font=font, anchor="la")
    return image, draw


def _font() -> "ImageFont.FreeTypeFont | ImageFont.ImageFont":
    from PIL import ImageFont

    return ImageFont.load_default(TEXT)


def _short(text: str, width: float, font: "ImageFont.FreeTypeFont | ImageFont.ImageFont") -> str:
    """`text` cut to `width` pixels."""
    text = " ".join(text.split())
    if font.getlength(text) <= width:
        return text
    while len(text) > 1 and font.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"


@dataclass(frozen=True)
class Sprite:
    """Images side by side in one PNG, from which CSS shows one tile at a time.

    Every tile has a rim of one repeated pixel, so that scaling mixes in no neighbour.
    """

    png: bytes
    across: int
    down: int
    width: int
    height: int

    @classmethod
    def of(cls, pixels: Tensor, across: int) -> "Sprite":
        """From `pixels` [n, c, H, W] in [0, 1], `across` tiles a line."""
        from PIL import Image

        tiles = torch.nn.functional.pad(pixels.float(), (1, 1, 1, 1), mode="replicate")
        n, _, h, w = tiles.shape
        down = -(-n // across)
        sheet = torch.zeros(across * down, h, w, 3, dtype=torch.uint8)
        sheet[:n] = to_bytes(tiles)
        sheet = sheet.view(down, across, h, w, 3).transpose(1, 2).reshape(down * h, across * w, 3)
        image = Image.fromarray(sheet.numpy())
        file = io.BytesIO()
        (image.convert("L") if pixels.shape[1] != 3 else image).save(file, "PNG", optimize=True)
        return cls(file.getvalue(), across, down, w - 2, h - 2)

    @property
    def url(self) -> str:
        return "data:image/png;base64," + base64.b64encode(self.png).decode()

    def css(self, name: str) -> str:
        """The rule for tiles of this sprite: `<i class="tile NAME">`."""
        x = 100 * self.across * (self.width + 2) / self.width
        y = 100 * self.down * (self.height + 2) / self.height
        # few pixels stay squares; photographs may be smoothed
        rendering = "pixelated" if max(self.width, self.height) <= 28 else "auto"
        return (
            f".{name}{{background-image:url({self.url});background-size:{x:.4f}% {y:.4f}%;"
            f"aspect-ratio:{self.width}/{self.height};image-rendering:{rendering}}}"
        )

    def position(self, i: int) -> str:
        """The background-position that shows tile `i`."""
        column, row = i % self.across, i // self.across
        # CSS percentages: p of the room left over, which is negative here
        x = 100 * (column * (self.width + 2) + 1) / (self.across * (self.width + 2) - self.width)
        y = 100 * (row * (self.height + 2) + 1) / (self.down * (self.height + 2) - self.height)
        return f"{x:.4f}% {y:.4f}%"
