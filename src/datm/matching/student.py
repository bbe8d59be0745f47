"""The two derivatives of one inner step that training and matching are made of.

Shapes: P parameters, B batch, c channels, H height, W width, K classes.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from datm.matching.objective import StudentLoss
from datm.runtime.compiling import compiled


class Student:
    """A student's loss l(params, images, logits) with its gradient and that gradient's adjoint.

    With `compile` both are compiled, once per batch size; without, they run eagerly. Either way
    they are functions of plain tensors, so that no graph outlives a call.
    """

    def __init__(self, loss: StudentLoss, compile: bool = False) -> None:
        self.loss = loss

        def gradient(params: Tensor, images: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
            return torch.func.grad_and_value(loss)(params, images, logits)

        def slope(params: Tensor, images: Tensor, logits: Tensor, direction: Tensor) -> Tensor:
            def along(moved: Tensor) -> Tensor:
                return loss(moved, images, logits)

            change: Tensor = torch.func.jvp(along, (params,), (direction,))[1]
            return change

        def adjoint(params: Tensor, images: Tensor, logits: Tensor, direction: Tensor) -> Adjoint:
            derivative = torch.func.grad_and_value(slope, argnums=(0, 1, 2))
            return derivative(params, images, logits, direction)

        def adjoint_of_data(
            params: Tensor, images: Tensor, logits: Tensor, direction: Tensor
        ) -> DataAdjoint:
            derivative = torch.func.grad_and_value(slope, argnums=(1, 2))
            return derivative(params, images, logits, direction)

        wrap = compiled if compile else _eager
        self._gradient = wrap(gradient)
        self._adjoint = wrap(adjoint)
        self._adjoint_of_data = wrap(adjoint_of_data)

    def __call__(self, params: Tensor, images: Tensor, logits: Tensor) -> Tensor:
        return self.loss(params, images, logits)

    def gradient(self, params: Tensor, images: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """(g, l): the gradient [P] of the loss with respect to the parameters, and the loss."""
        with torch.no_grad():
            grad, value = self._gradient(params, images, logits)
        return grad, value

    def adjoint(
        self, params: Tensor, images: Tensor, logits: Tensor, direction: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(h, dh/dparams, dh/dimages, dh/dlogits) of h = <g(params, images, logits), direction>.

        h is the derivative of the loss along `direction` [P]: a forward-mode derivative inside and
        one backward pass outside give all of it, in about 8 convolution passes.
        """
        with torch.no_grad():
            (by_params, by_images, by_logits), h = self._adjoint(params, images, logits, direction)
        return h, by_params, by_images, by_logits

    def adjoint_of_data(
        self, params: Tensor, images: Tensor, logits: Tensor, direction: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(h, dh/dimages, dh/dlogits): `adjoint` where the parameters' share is not wanted."""
        with torch.no_grad():
            (by_images, by_logits), h = self._adjoint_of_data(params, images, logits, direction)
        return h, by_images, by_logits


Adjoint = tuple[tuple[Tensor, Tensor, Tensor], Tensor]
DataAdjoint = tuple[tuple[Tensor, Tensor], Tensor]


def _eager(function: Callable[..., Any]) -> Callable[..., Any]:
    return function
