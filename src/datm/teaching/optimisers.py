"""The direction of one teacher's step, two ways with one signature.

`gradient` gives (g, l), the gradient [..., P] of the loss at some parameters [..., P] and the loss
[...]; a direction is (d, l), and a teacher's step is theta <- theta - learning_rate * d. A leading
axis G is one of teachers side by side, each with norms of its own.

Letters: P parameters, G teachers side by side.
"""

from collections.abc import Callable

from torch import Tensor

Gradient = Callable[[Tensor], tuple[Tensor, Tensor]]
Direction = Callable[[Gradient, Tensor], tuple[Tensor, Tensor]]

TINY = 1e-12
"""Where a norm is zero there is no direction, and nothing is divided by it."""


def sgd(gradient: Gradient, params: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient itself (Cazenavette 2022)."""
    return gradient(params)


def du2023ftd(
    gradient: Gradient, params: Tensor, rho: float, gsam_alpha: float
) -> tuple[Tensor, Tensor]:
    """Towards flat minima: adaptive GSAM, as the teachers of FTD (Du 2023) are trained.

    With g the gradient at theta = `params` and g' the one at the perturbed parameters

        theta + rho theta^2 * g / || |theta| * g ||      (Kwon 2021: ascent in units of |theta|)

    the direction is g' - gsam_alpha * (g - <g, g'> g' / ||g'||^2): from g' is taken the part of g
    that is orthogonal to it (Zhuang 2022, GSAM), which lowers the perturbed loss's distance from
    the loss but not the perturbed loss. rho -> 0 gives SGD; gsam_alpha = 0 gives adaptive SAM.
    The loss that is returned is the unperturbed one.
    """
    g, loss = gradient(params)
    # On a GPU the next call of any captured function overwrites what this one returned.
    g, loss = g.clone(), loss.clone()
    length = (params.abs() * g).norm(dim=-1, keepdim=True).clamp_min(TINY)
    perturbed, _ = gradient(params + rho * params.square() * g / length)
    square = perturbed.square().sum(-1, keepdim=True).clamp_min(TINY)
    along = (g * perturbed).sum(-1, keepdim=True) / square
    return perturbed - gsam_alpha * (g - along * perturbed), loss
