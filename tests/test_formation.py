"""Several training images in one stored image.

Letters: R stored images, S = R F^2 images to train on, c channels, H height, W width.
"""

import pytest
import torch
from torch import Tensor

from datm.errors import InputError
from datm.formation import by_stored, check_formation, form, store
from datm.runtime.seeds import generator


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=generator(0, *shape), dtype=torch.float64)


def enlarged(piece: Tensor, formation: int) -> Tensor:
    """Oracle: pixel by pixel, between the four nearest centres of `piece` [h, w]."""
    h, w = piece.shape
    made = torch.empty(h * formation, w * formation, dtype=piece.dtype)
    for i in range(h * formation):
        for j in range(w * formation):
            y = min(max((i + 0.5) / formation - 0.5, 0.0), h - 1.0)
            x = min(max((j + 0.5) / formation - 0.5, 0.0), w - 1.0)
            top, left = min(int(y), h - 2), min(int(x), w - 2)
            down, right = y - top, x - left
            made[i, j] = (
                (1 - down) * (1 - right) * piece[top, left]
                + (1 - down) * right * piece[top, left + 1]
                + down * (1 - right) * piece[top + 1, left]
                + down * right * piece[top + 1, left + 1]
            )
    return made


@pytest.mark.parametrize(("formation", "height", "width"), [(2, 8, 12), (3, 6, 9), (4, 8, 8)])
def test_pieces_are_enlarged_row_by_row(formation: int, height: int, width: int) -> None:
    stored = random(2, 3, height, width)
    found = form(stored, formation)
    h, w = height // formation, width // formation
    assert found.shape == (2 * formation**2, 3, height, width)
    number = 0
    for image in stored:
        for i in range(formation):
            for j in range(formation):
                piece = image[:, i * h : (i + 1) * h, j * w : (j + 1) * w]
                for channel in range(3):
                    expected = enlarged(piece[channel], formation)
                    torch.testing.assert_close(found[number, channel], expected)
                number += 1


def test_one_piece_is_the_image_itself() -> None:
    images = random(2, 3, 8, 8)
    assert form(images, 1) is store(images, 1) is by_stored(images, 1) is images


@pytest.mark.parametrize("formation", [2, 3])
def test_the_gradient_comes_back_by_the_transpose(formation: int) -> None:
    """<form(x), g> = <x, transpose(g)>, for any x and g."""
    stored, gradient = random(3, 2, 6, 12), random(3 * formation**2, 2, 6, 12)
    by = by_stored(gradient, formation)
    assert by.shape == stored.shape
    torch.testing.assert_close((form(stored, formation) * gradient).sum(), (stored * by).sum())


@pytest.mark.parametrize("formation", [2, 4])
def test_real_images_are_averaged_into_their_places(formation: int) -> None:
    """Cut again, a stored image holds each one made smaller; even images come back as they are."""
    images = random(2 * formation**2, 3, 8, 16)
    stored = store(images, formation)
    assert stored.shape == (2, 3, 8, 16)
    h, w = 8 // formation, 16 // formation
    for number, image in enumerate(images):
        which, place = divmod(number, formation**2)
        i, j = divmod(place, formation)
        piece = stored[which, :, i * h : (i + 1) * h, j * w : (j + 1) * w]
        blocks = image.reshape(3, h, formation, w, formation).mean((2, 4))
        torch.testing.assert_close(piece, blocks)
    even = random(2 * formation**2, 3, 1, 1).expand(-1, -1, 8, 8)
    torch.testing.assert_close(form(store(even, formation), formation), even)


def test_pieces_must_be_equal() -> None:
    check_formation(4, (3, 32, 64))
    message = r"^distill\.formation: images of 64x30 pixels cannot be cut into 4 by 4"
    with pytest.raises(InputError, match=message):
        check_formation(4, (3, 30, 64))
