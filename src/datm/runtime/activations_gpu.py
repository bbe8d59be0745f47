"""The operators of `activations` on a GPU: every image's every few channels in one pass.

A program takes a few channels of one image. Forward it holds all of their pixels, so that their
statistics cost no second reading. Pixels are held as the four corners of their 2x2 windows, each
[windows, channels]: pooling is a sum of four, and its derivative the same value for four.

Notation, for one channel of one image with n pixels: u the normalised pixels, r the rate
1 / sqrt(variance + EPSILON), c the pixels of dx less their mean, q the mean of u * c.
z = u weight + bias, and along a direction du = r (c - u q), dz = u dweight + du weight + dbias.

Shapes: B images, C channels, H x W pixels, both even. Images are channels last.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

EPSILON = tl.constexpr(1e-5)
CHANNELS = 16
"""To a program."""


@triton.jit
def _load(images, places, inside, row, pixel):
    """The four corners of every window, in float32; what is outside is zero."""
    return (
        tl.load(images + places, inside, 0.0).to(tl.float32),
        tl.load(images + places + pixel, inside, 0.0).to(tl.float32),
        tl.load(images + places + row, inside, 0.0).to(tl.float32),
        tl.load(images + places + row + pixel, inside, 0.0).to(tl.float32),
    )


@triton.jit
def _store(images, places, inside, row, pixel, a, b, c, d):
    tl.store(images + places, a, inside)
    tl.store(images + places + pixel, b, inside)
    tl.store(images + places + row, c, inside)
    tl.store(images + places + row + pixel, d, inside)


@triton.jit
def _relu(z):
    return tl.where(z < 0, 0.0, z)  # what is no number stays none


@triton.jit
def _if(condition, value):
    return tl.where(condition, value, 0.0)


@triton.jit
def _own(channels, CHANNELS: tl.constexpr):
    """This program's image and channels; where these stand in [B, C].

    An image's programs are numbered one after the other. They run at the same time then, and what
    lies side by side in memory, each program's 32 bytes of a pixel, is moved together.
    """
    groups = tl.cdiv(channels, CHANNELS)
    image = (tl.program_id(0) // groups).to(tl.int64)
    channel = tl.program_id(0) % groups * CHANNELS + tl.arange(0, CHANNELS)
    return image, channel, image * channels + channel


@triton.jit
def _place(
    channel, first, channels,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr, WINDOWS: tl.constexpr,
):  # fmt: skip
    """In an image: where WINDOWS windows from `first` on begin; those of y; which there are."""
    window = first + tl.arange(0, WINDOWS)
    corner = window // (WIDTH // 2) * 2 * WIDTH + window % (WIDTH // 2) * 2
    places = corner[:, None] * channels + channel[None, :]
    pooled = window[:, None] * channels + channel[None, :]
    return places, pooled, (window < HEIGHT * WIDTH // 4)[:, None]


@triton.jit
def _normalised(x, places, inside, row, pixel, m, r, w, s):
    """The corners u, and which of them pass the ReLU."""
    x0, x1, x2, x3 = _load(x, places, inside, row, pixel)
    u0, u1, u2, u3 = (x0 - m) * r, (x1 - m) * r, (x2 - m) * r, (x3 - m) * r
    p0, p1, p2, p3 = u0 * w + s > 0, u1 * w + s > 0, u2 * w + s > 0, u3 * w + s > 0
    return u0, u1, u2, u3, p0, p1, p2, p3


@triton.jit
def _quarter(by_y, pooled, inside):
    """What the derivative by a window's mean is for each corner."""
    return tl.load(by_y + pooled, inside, 0.0).to(tl.float32) / 4


@triton.jit
def _passed(g, p0, p1, p2, p3):
    """Of a window's g what each corner gets."""
    return _if(p0, g), _if(p1, g), _if(p2, g), _if(p3, g)


@triton.jit
def _forward(
    x, weight, bias, y, mean, rate, channels,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr, WINDOWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    image, channel, own = _own(channels, CHANNELS)
    x += image * (HEIGHT * WIDTH) * channels
    y += image * (HEIGHT * WIDTH // 4) * channels
    places, pooled, inside = _place(channel, 0, channels, HEIGHT, WIDTH, WINDOWS)
    row = WIDTH * channels
    n = HEIGHT * WIDTH
    x0, x1, x2, x3 = _load(x, places, inside, row, channels)
    m = tl.sum(x0 + x1 + x2 + x3, 0) / n
    x0, x1 = _if(inside, x0 - m), _if(inside, x1 - m)
    x2, x3 = _if(inside, x2 - m), _if(inside, x3 - m)
    r = 1 / tl.sqrt(tl.sum(x0 * x0 + x1 * x1 + x2 * x2 + x3 * x3, 0) / n + EPSILON)
    w, s = tl.load(weight + channel) * r, tl.load(bias + channel)
    total = _relu(x0 * w + s) + _relu(x1 * w + s) + _relu(x2 * w + s) + _relu(x3 * w + s)
    tl.store(y + pooled, total / 4, inside)
    tl.store(mean + own, m)
    tl.store(rate + own, r)


@triton.jit
def _backward(
    x, mean, rate, weight, bias, by_y, by_x, by_weight, by_bias, channels,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr, WINDOWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    image, channel, own = _own(channels, CHANNELS)
    x += image * (HEIGHT * WIDTH) * channels
    by_x += image * (HEIGHT * WIDTH) * channels
    by_y += image * (HEIGHT * WIDTH // 4) * channels
    row = WIDTH * channels
    n = HEIGHT * WIDTH
    m, r = tl.load(mean + own), tl.load(rate + own)
    w, s = tl.load(weight + channel), tl.load(bias + channel)
    # Summed over windows once, at the end: each sum has a program's warps wait for each other.
    every_g = tl.zeros([WINDOWS, CHANNELS], tl.float32)
    every_gu = tl.zeros([WINDOWS, CHANNELS], tl.float32)
    for first in tl.range(0, HEIGHT * WIDTH // 4, WINDOWS, loop_unroll_factor=1, num_stages=1):
        places, pooled, inside = _place(channel, first, channels, HEIGHT, WIDTH, WINDOWS)
        g = _quarter(by_y, pooled, inside)
        u0, u1, u2, u3, p0, p1, p2, p3 = _normalised(x, places, inside, row, channels, m, r, w, s)
        g0, g1, g2, g3 = _passed(g, p0, p1, p2, p3)
        every_g += g0 + g1 + g2 + g3
        every_gu += g0 * u0 + g1 * u1 + g2 * u2 + g3 * u3
    sum_g, sum_gu = tl.sum(every_g, 0), tl.sum(every_gu, 0)
    a, b, k = sum_g / n, sum_gu / n, r * w
    for first in tl.range(0, HEIGHT * WIDTH // 4, WINDOWS, loop_unroll_factor=1, num_stages=1):
        places, pooled, inside = _place(channel, first, channels, HEIGHT, WIDTH, WINDOWS)
        g = _quarter(by_y, pooled, inside)
        u0, u1, u2, u3, p0, p1, p2, p3 = _normalised(x, places, inside, row, channels, m, r, w, s)
        g0, g1, g2, g3 = _passed(g, p0, p1, p2, p3)
        _store(
            by_x, places, inside, row, channels,
            k * (g0 - a - u0 * b), k * (g1 - a - u1 * b),
            k * (g2 - a - u2 * b), k * (g3 - a - u3 * b),
        )  # fmt: skip
    tl.store(by_weight + own, sum_gu)
    tl.store(by_bias + own, sum_g)


@triton.jit
def _forward_along(
    x, dx, weight, dweight, bias, dbias, y, dy, mean, rate, dmean, overlap,
    channels,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr, WINDOWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    image, channel, own = _own(channels, CHANNELS)
    x += image * (HEIGHT * WIDTH) * channels
    dx += image * (HEIGHT * WIDTH) * channels
    y += image * (HEIGHT * WIDTH // 4) * channels
    dy += image * (HEIGHT * WIDTH // 4) * channels
    places, pooled, inside = _place(channel, 0, channels, HEIGHT, WIDTH, WINDOWS)
    row = WIDTH * channels
    n = HEIGHT * WIDTH
    x0, x1, x2, x3 = _load(x, places, inside, row, channels)
    c0, c1, c2, c3 = _load(dx, places, inside, row, channels)
    m = tl.sum(x0 + x1 + x2 + x3, 0) / n
    x0, x1 = _if(inside, x0 - m), _if(inside, x1 - m)
    x2, x3 = _if(inside, x2 - m), _if(inside, x3 - m)
    r = 1 / tl.sqrt(tl.sum(x0 * x0 + x1 * x1 + x2 * x2 + x3 * x3, 0) / n + EPSILON)
    u0, u1, u2, u3 = x0 * r, x1 * r, x2 * r, x3 * r
    dm = tl.sum(c0 + c1 + c2 + c3, 0) / n
    c0, c1, c2, c3 = c0 - dm, c1 - dm, c2 - dm, c3 - dm
    q = tl.sum(u0 * c0 + u1 * c1 + u2 * c2 + u3 * c3, 0) / n  # outside u is zero
    w, s = tl.load(weight + channel), tl.load(bias + channel)
    dw, ds = tl.load(dweight + channel), tl.load(dbias + channel)
    z0, z1, z2, z3 = u0 * w + s, u1 * w + s, u2 * w + s, u3 * w + s
    k = w * r
    along = (
        _if(z0 > 0, u0 * dw + k * (c0 - u0 * q) + ds)
        + _if(z1 > 0, u1 * dw + k * (c1 - u1 * q) + ds)
        + _if(z2 > 0, u2 * dw + k * (c2 - u2 * q) + ds)
        + _if(z3 > 0, u3 * dw + k * (c3 - u3 * q) + ds)
    )
    tl.store(y + pooled, (_relu(z0) + _relu(z1) + _relu(z2) + _relu(z3)) / 4, inside)
    tl.store(dy + pooled, along / 4, inside)
    tl.store(mean + own, m)
    tl.store(rate + own, r)
    tl.store(dmean + own, dm)
    tl.store(overlap + own, q)


@triton.jit
def _backward_along(
    x, dx, mean, rate, dmean, overlap, weight, dweight, bias, by_y, by_dy,
    by_x, by_dx, by_weight, by_dweight, by_bias, by_dbias,
    channels,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr, WINDOWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    image, channel, own = _own(channels, CHANNELS)
    x += image * (HEIGHT * WIDTH) * channels
    dx += image * (HEIGHT * WIDTH) * channels
    by_x += image * (HEIGHT * WIDTH) * channels
    by_dx += image * (HEIGHT * WIDTH) * channels
    by_y += image * (HEIGHT * WIDTH // 4) * channels
    by_dy += image * (HEIGHT * WIDTH // 4) * channels
    row = WIDTH * channels
    n = HEIGHT * WIDTH
    m, r, dm, q = (
        tl.load(mean + own), tl.load(rate + own), tl.load(dmean + own), tl.load(overlap + own)
    )  # fmt: skip
    w, s, dw = tl.load(weight + channel), tl.load(bias + channel), tl.load(dweight + channel)
    every_g = tl.zeros([WINDOWS, CHANNELS], tl.float32)
    every_e = tl.zeros([WINDOWS, CHANNELS], tl.float32)
    every_gu = tl.zeros([WINDOWS, CHANNELS], tl.float32)
    every_eu = tl.zeros([WINDOWS, CHANNELS], tl.float32)
    every_ec = tl.zeros([WINDOWS, CHANNELS], tl.float32)
    for first in tl.range(0, HEIGHT * WIDTH // 4, WINDOWS, loop_unroll_factor=1, num_stages=1):
        places, pooled, inside = _place(channel, first, channels, HEIGHT, WIDTH, WINDOWS)
        g, e = _quarter(by_y, pooled, inside), _quarter(by_dy, pooled, inside)
        u0, u1, u2, u3, p0, p1, p2, p3 = _normalised(x, places, inside, row, channels, m, r, w, s)
        c0, c1, c2, c3 = _load(dx, places, inside, row, channels)
        g0, g1, g2, g3 = _passed(g, p0, p1, p2, p3)
        e0, e1, e2, e3 = _passed(e, p0, p1, p2, p3)
        every_g += g0 + g1 + g2 + g3
        every_e += e0 + e1 + e2 + e3
        every_gu += g0 * u0 + g1 * u1 + g2 * u2 + g3 * u3
        every_eu += e0 * u0 + e1 * u1 + e2 * u2 + e3 * u3
        every_ec += e0 * (c0 - dm) + e1 * (c1 - dm) + e2 * (c2 - dm) + e3 * (c3 - dm)
    sum_g, sum_e = tl.sum(every_g, 0), tl.sum(every_e, 0)
    sum_gu, sum_eu, sum_ec = tl.sum(every_gu, 0), tl.sum(every_eu, 0), tl.sum(every_ec, 0)
    # du = r (c - u q): its derivatives by c, then by u, where r and q depend on the pixels too.
    of_c = -r * w * sum_eu / n  # each c gets r w e + of_c u
    by_u = w * sum_gu + dw * sum_eu + (of_c * n - r * w * sum_eu) * q  # sum of u times its share
    shrink = r * r * (w * (sum_ec - q * sum_eu) + by_u / r) / n
    mean_u = (w * sum_g + dw * sum_e - r * q * w * sum_e) / n
    mean_e = sum_e / n
    k = dw - r * q * w  # each u gets w g + k e + of_c c
    for first in tl.range(0, HEIGHT * WIDTH // 4, WINDOWS, loop_unroll_factor=1, num_stages=1):
        places, pooled, inside = _place(channel, first, channels, HEIGHT, WIDTH, WINDOWS)
        g, e = _quarter(by_y, pooled, inside), _quarter(by_dy, pooled, inside)
        u0, u1, u2, u3, p0, p1, p2, p3 = _normalised(x, places, inside, row, channels, m, r, w, s)
        e0, e1, e2, e3 = _passed(e, p0, p1, p2, p3)
        _store(
            by_dx, places, inside, row, channels,
            r * w * (e0 - mean_e) + of_c * u0, r * w * (e1 - mean_e) + of_c * u1,
            r * w * (e2 - mean_e) + of_c * u2, r * w * (e3 - mean_e) + of_c * u3,
        )  # fmt: skip
        g0, g1, g2, g3 = _passed(g, p0, p1, p2, p3)
        c0, c1, c2, c3 = _load(dx, places, inside, row, channels)
        _store(
            by_x, places, inside, row, channels,
            r * (w * g0 + k * e0 + of_c * (c0 - dm) - mean_u) - shrink * u0,
            r * (w * g1 + k * e1 + of_c * (c1 - dm) - mean_u) - shrink * u1,
            r * (w * g2 + k * e2 + of_c * (c2 - dm) - mean_u) - shrink * u2,
            r * (w * g3 + k * e3 + of_c * (c3 - dm) - mean_u) - shrink * u3,
        )  # fmt: skip
    tl.store(by_weight + own, sum_gu + r * (sum_ec - q * sum_eu))
    tl.store(by_dweight + own, sum_eu)
    tl.store(by_bias + own, sum_g)
    tl.store(by_dbias + own, sum_e)


KERNELS: dict[str, Any] = {
    "forward": _forward,
    "backward": _backward,
    "forward_along": _forward_along,
    "backward_along": _backward_along,
}

SHARES = {"forward": 32, "backward": 8, "forward_along": 16, "backward_along": 8}
"""Windows to a warp: as few as leave no register spilt, and as many as let programs overlap."""


def call(function: str, x: Tensor, *arguments: Tensor) -> None:
    """Run a kernel on its arguments: the given tensors, then those of its results."""
    b, c, h, w = x.shape
    windows, share = triton.next_power_of_2(h * w // 4), SHARES[function]
    if "backward" in function:  # what is read twice need not stay in registers
        windows = min(windows, 64)
    with torch.cuda.device_of(x):
        KERNELS[function][(b * triton.cdiv(c, CHANNELS),)](
            *arguments,
            c,
            HEIGHT=h,
            WIDTH=w,
            WINDOWS=windows,
            CHANNELS=CHANNELS,
            num_warps=max(1, windows // share),
        )
