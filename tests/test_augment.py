"""Differentiable Siamese augmentation against per-pixel oracles in plain Python."""

import math
from collections import Counter
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from datm.augment import (
    OPERATIONS,
    Augmentation,
    draw_augmentation,
    parse_strategy,
)
from datm.errors import InputError
from datm.runtime.seeds import generator

EVERY = "colour_crop_cutout_flip_scale_rotate"
SHAPES = [(3, 8, 8), (1, 8, 8), (3, 12, 7), (2, 7, 16)]
Image = list[list[list[float]]]  # [c][H][W]


def images_of(shape: tuple[int, int, int], count: int = 6, name: str = "images") -> Tensor:
    draw = generator(0, name, *shape)
    return torch.randn((count, *shape), generator=draw, dtype=torch.float64)


def drawn(operation: str, count: int, seed: int = 0) -> Augmentation:
    return draw_augmentation(operation, count, generator(seed, "augment", operation))


# The oracles. Each takes one image and its three numbers u in [0, 1), and shares no code.


def naive_colour(image: Image, u: list[float]) -> Image:
    channels, height, width = len(image), len(image[0]), len(image[0][0])
    bright = [[[v + u[0] - 0.5 for v in row] for row in plane] for plane in image]
    saturated = [[[0.0] * width for _ in range(height)] for _ in range(channels)]
    for y in range(height):
        for x in range(width):
            grey = sum(plane[y][x] for plane in bright) / channels
            for c in range(channels):
                saturated[c][y][x] = grey + 2 * u[1] * (bright[c][y][x] - grey)
    values = [v for plane in saturated for row in plane for v in row]
    mean = sum(values) / len(values)
    factor = 0.5 + u[2]
    return [[[mean + factor * (v - mean) for v in row] for row in plane] for plane in saturated]


def naive_crop(image: Image, u: list[float]) -> Image:
    height, width = len(image[0]), len(image[0][0])
    reach_y, reach_x = math.floor(height / 8 + 0.5), math.floor(width / 8 + 0.5)
    down = math.floor(u[0] * (2 * reach_y + 1)) - reach_y
    right = math.floor(u[1] * (2 * reach_x + 1)) - reach_x

    def pixel(plane: list[list[float]], y: int, x: int) -> float:
        return plane[y][x] if 0 <= y < height and 0 <= x < width else 0.0

    return [
        [[pixel(plane, y + down, x + right) for x in range(width)] for y in range(height)]
        for plane in image
    ]


def naive_cutout(image: Image, u: list[float]) -> Image:
    height, width = len(image[0]), len(image[0][0])
    hole_y, hole_x = math.floor(height / 2 + 0.5), math.floor(width / 2 + 0.5)
    top = math.floor(u[0] * height) - hole_y // 2
    left = math.floor(u[1] * width) - hole_x // 2
    holes = {(y, x) for y in range(top, top + hole_y) for x in range(left, left + hole_x)}
    return [
        [[0.0 if (y, x) in holes else v for x, v in enumerate(row)] for y, row in enumerate(plane)]
        for plane in image
    ]


def naive_flip(image: Image, u: list[float]) -> Image:
    return [[row[::-1] for row in plane] for plane in image] if u[0] < 0.5 else image


def naive_scale(image: Image, u: list[float]) -> Image:
    low = 1 / 1.2
    x_factor, y_factor = (low + value * (1.2 - low) for value in u[:2])
    return sampled(image, lambda y, x: (y_factor * y, x_factor * x))


def naive_rotate(image: Image, u: list[float]) -> Image:
    angle = math.radians((2 * u[0] - 1) * 15)
    sine, cosine = math.sin(angle), math.cos(angle)
    return sampled(image, lambda y, x: (sine * x + cosine * y, cosine * x - sine * y))


def sampled(image: Image, source: Callable[[float, float], tuple[float, float]]) -> Image:
    """Each pixel from where `source` says, in pixels from the centre: bilinear, zero outside."""
    height, width = len(image[0]), len(image[0][0])
    middle_y, middle_x = (height - 1) / 2, (width - 1) / 2

    def value(plane: list[list[float]], y: int, x: int) -> float:
        from_y, from_x = source(y - middle_y, x - middle_x)
        from_y, from_x = from_y + middle_y, from_x + middle_x
        total = 0.0
        for near_y in (math.floor(from_y), math.floor(from_y) + 1):
            for near_x in (math.floor(from_x), math.floor(from_x) + 1):
                if 0 <= near_y < height and 0 <= near_x < width:
                    weight = (1 - abs(from_y - near_y)) * (1 - abs(from_x - near_x))
                    total += weight * plane[near_y][near_x]
        return total

    return [[[value(plane, y, x) for x in range(width)] for y in range(height)] for plane in image]


NAIVE = {
    "colour": naive_colour,
    "crop": naive_crop,
    "cutout": naive_cutout,
    "flip": naive_flip,
    "scale": naive_scale,
    "rotate": naive_rotate,
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_pixel_is_the_oracles(operation: str, shape: tuple[int, int, int]) -> None:
    images = images_of(shape)
    augmentation = drawn(operation, len(images))
    expected = [
        NAIVE[operation](image, u)
        for image, u in zip(images.tolist(), augmentation.uniforms.double().tolist(), strict=True)
    ]
    found = augmentation(images)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("operation", [*OPERATIONS, "none"])
def test_affine_in_the_images(operation: str) -> None:
    """A(a x + (1 - a) y) = a A(x) + (1 - a) A(y): what pulling a gradient back rests on."""
    x, y = images_of((3, 8, 8)), images_of((3, 8, 8), name="others")
    augmentation = drawn(operation, len(x))
    mixed = augmentation(0.3 * x + 0.7 * y)
    torch.testing.assert_close(mixed, 0.3 * augmentation(x) + 0.7 * augmentation(y))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_images_do_not_mix(operation: str) -> None:
    """An image becomes the same whatever stands beside it in the batch."""
    images = images_of((3, 8, 8))
    augmentation = drawn(operation, len(images))
    together = augmentation(images)
    for row in range(len(images)):
        alone = Augmentation(operation, augmentation.uniforms[row : row + 1])
        torch.testing.assert_close(alone(images[row : row + 1])[0], together[row])


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 6, 10)])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_pull_back_against_finite_differences(operation: str, shape: tuple[int, int, int]) -> None:
    """The map is affine, so a difference of any width is exact: only rounding remains."""
    images = images_of(shape).requires_grad_()
    augmentation = drawn(operation, len(images))
    cotangent, direction = (images_of(shape, name=name) for name in ("cotangent", "direction"))
    (pulled,) = torch.autograd.grad(augmentation(images), images, cotangent)
    with torch.no_grad():
        change = augmentation(images + direction) - augmentation(images)
    torch.testing.assert_close((pulled * direction).sum(), (cotangent * change).sum())


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_same_draw_again_does_the_same(operation: str) -> None:
    images = images_of((3, 8, 8))
    kept = images.clone()
    augmentation = drawn(operation, len(images))
    first = augmentation(images)
    assert torch.equal(first, augmentation(images))
    assert torch.equal(first, drawn(operation, len(images))(images))
    assert torch.equal(images, kept)
    assert not torch.equal(first, drawn(operation, len(images), seed=1)(images))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("operation", [*OPERATIONS, "none"])
def test_shape_and_type_stay(operation: str, dtype: torch.dtype) -> None:
    images = images_of((3, 8, 8)).to(dtype)
    found = drawn(operation, len(images))(images)
    assert found.shape == images.shape
    assert found.dtype == dtype


def extremes() -> Tensor:
    """Rows of the least and the greatest numbers that can be drawn."""
    most = 1 - 2.0**-24
    return torch.tensor([[0.0, 0.0, 0.0], [most, most, most], [0.5, 0.5, 0.5]])


@pytest.mark.parametrize(("side", "reach"), [(8, 1), (32, 4), (28, 4), (64, 8), (3, 0)])
def test_crop_shifts_by_an_eighth_of_the_side_at_most(side: int, reach: int) -> None:
    """An eighth rounded to whole pixels; both ends of the range are reached, and the middle."""
    images = torch.zeros(3, 1, side, side)
    images[:, :, side // 2, side // 2] = 1
    found = Augmentation("crop", extremes())(images).nonzero()[:, 2:] - side // 2
    assert found.tolist() == [[reach, reach], [-reach, -reach], [0, 0]]


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 32, 32), (1, 12, 20)])
def test_cutout_zeroes_half_of_each_side_or_what_lies_inside(shape: tuple[int, int, int]) -> None:
    height, width = shape[1:]
    zeros = Augmentation("cutout", extremes())(torch.ones(3, *shape)) == 0
    areas = zeros.sum((1, 2, 3)).tolist()
    assert areas[2] == height * width // 4
    assert all(height * width // 16 <= area <= height * width // 4 for area in areas)
    zeros = drawn("cutout", 500)(torch.ones(500, *shape)) == 0
    assert (zeros.any(0)).all()  # every pixel can be hit
    assert (~zeros).any(0).all()


def test_flip_mirrors_every_second_image() -> None:
    images = images_of((1, 4, 4)).repeat(500, 1, 1, 1)
    flipped = (drawn("flip", 3000)(images) != images).flatten(1).any(1)
    assert abs(int(flipped.sum()) - 1500) < 5 * (3000 * 0.25) ** 0.5


def test_scale_lies_between_the_factor_and_its_inverse() -> None:
    """Measured on a ramp, whose slope along an axis is that axis's factor."""
    ramp = torch.arange(33, dtype=torch.float64) - 16
    images = ramp.expand(3, 1, 33, 33).clone()  # grows along the width
    for axis, turned in ((3, images), (2, images.transpose(2, 3))):
        slopes = Augmentation("scale", extremes())(turned).diff(dim=axis)[:, 0, 16, 16]
        middle = (1.2 + 1 / 1.2) / 2
        expected = torch.tensor([1 / 1.2, 1.2, middle], dtype=torch.float64)
        torch.testing.assert_close(slopes, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("size", [(33, 33), (33, 65)])
def test_rotation_is_by_fifteen_degrees_at_most(size: tuple[int, int]) -> None:
    """Measured on a ramp, whose gradient turns by the angle; also where the image is not square."""
    height, width = size
    ramp = torch.arange(width, dtype=torch.float64) - width // 2
    found = Augmentation("rotate", extremes())(ramp.expand(3, 1, height, width).clone())
    middle = found[:, 0, height // 2 : height // 2 + 2, width // 2 : width // 2 + 2]
    along, down = middle[:, 0, 1] - middle[:, 0, 0], middle[:, 1, 0] - middle[:, 0, 0]
    angles = torch.rad2deg(torch.atan2(-down, along))
    expected = torch.tensor([-15.0, 15.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(angles, expected, rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(along**2 + down**2, torch.ones(3, dtype=torch.float64))


def test_colour_at_its_extremes() -> None:
    """Brightness -+0.5, saturation 0 to 2, contrast 0.5 to 1.5; worked out for two pixels."""
    images = torch.tensor([[[[1.0, 3.0]], [[3.0, 5.0]]]], dtype=torch.float64).repeat(3, 1, 1, 1)
    found = Augmentation("colour", extremes())(images)
    least = [[[2.0, 3.0]], [[2.0, 3.0]]]  # -0.5, grey, then half as far from 2.5
    most = [[[-1.0, 2.0]], [[5.0, 8.0]]]  # +0.5, twice the colour, half as far again from 3.5
    same = images[0].tolist()
    expected = torch.tensor([least, most, same], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_operations_are_drawn_uniformly() -> None:
    draws = 3000
    drawn_names = Counter(
        draw_augmentation(EVERY, 1, generator(seed, "which")).operation for seed in range(draws)
    )
    assert set(drawn_names) == set(OPERATIONS)
    expected = draws / len(OPERATIONS)
    assert all(abs(count - expected) < 5 * expected**0.5 for count in drawn_names.values())


def test_parameters_are_drawn_per_image() -> None:
    uniforms = draw_augmentation("scale", 1000, generator(0)).uniforms
    assert uniforms.shape == (1000, 3)
    assert len(uniforms.unique()) > 2990
    assert 0 <= uniforms.min() < 0.01
    assert 0.99 < uniforms.max() < 1


@pytest.mark.parametrize(
    ("strategy", "operations"),
    [
        (EVERY, tuple(OPERATIONS)),
        ("flip", ("flip",)),
        ("flip_crop", ("flip", "crop")),
        ("none", ()),
    ],
)
def test_strategies(strategy: str, operations: tuple[str, ...]) -> None:
    assert parse_strategy(strategy) == operations


@pytest.mark.parametrize(
    ("strategy", "found"),
    [
        ("color_crop", "'color' in 'color_crop' is not known"),
        ("flip_flop", "'flop' in 'flip_flop' is not known"),
        ("Flip", "'Flip' in 'Flip' is not known"),
        ("flip,crop", "'flip,crop' in 'flip,crop' is not known"),
        ("", "'' in '' is not known"),
        ("flip_", "'' in 'flip_' is not known"),
        ("none_flip", "'none' in 'none_flip' is not known"),
        ("flip_crop_flip", "'flip' in 'flip_crop_flip' is given twice"),
    ],
)
def test_other_strategies_are_refused(strategy: str, found: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_strategy(strategy)
    operations = "colour, crop, cutout, flip, scale, rotate"
    remedy = f"join any of {operations} by '_', or give none."
    assert str(refused.value) == f"augmentation: {found}; {remedy}"


def test_none_leaves_the_images_alone() -> None:
    images = images_of((3, 8, 8))
    assert drawn("none", 6)(images) is images


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_draw_for_another_number_of_images_fails(operation: str) -> None:
    with pytest.raises(RuntimeError):
        drawn(operation, 4)(images_of((3, 8, 8)))
