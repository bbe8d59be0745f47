"""Gradients against central finite differences in float64.

With step h = 1e-6 the truncation error is of order h^2 = 1e-12 and the rounding error of order
1e-16 / h = 1e-10, both relative. A ReLU that changes sign within h adds at most about h times its
share of the loss: 1e-6 bounds all three with room.
"""

from dataclasses import replace

import pytest
import torch
from matching_problems import Segment, random_segment

H = 1e-6
TOLERANCE = 1e-6


def slope(segment: Segment, name: str, direction: torch.Tensor) -> float:
    """The derivative of the matching loss along `direction` in the entry `name`."""
    value = getattr(segment, name)
    ahead, behind = (
        replace(segment, **{name: value + sign * H * direction}).match("exact").loss
        for sign in (1, -1)
    )
    return float((ahead - behind) / (2 * H))


@pytest.mark.parametrize("method", ["exact", "unrolled"])
@pytest.mark.parametrize("steps", [1, 6])
@pytest.mark.parametrize("spec", ["convnet-2,width=6", "convnet-2,width=6,norm=batch,pooling=max"])
def test_gradient_is_the_slope_along_random_directions(method: str, steps: int, spec: str) -> None:
    segment = random_segment(11, steps, 4, spec=spec)
    gradient = segment.match(method)
    draw = torch.Generator().manual_seed(steps)
    for name in ("images", "logits", "step_size"):
        claimed = getattr(gradient, f"{name}_grad")
        # A random direction is nearly orthogonal to the gradient; tilted, the slope stands out.
        random = torch.randn(claimed.shape, generator=draw, dtype=torch.float64)
        direction = claimed / claimed.norm() + random / random.norm()
        expected = float((claimed * direction).sum())
        assert slope(segment, name, direction) == pytest.approx(expected, rel=TOLERANCE)


def test_tesla_is_not_the_slope() -> None:
    """The check above can tell: TESLA's estimate fails it by far."""
    segment = random_segment(11, 6, 4)
    claimed = segment.match("tesla").logits_grad
    found = slope(segment, "logits", claimed)
    assert found != pytest.approx(float((claimed * claimed).sum()), rel=1e-2)
