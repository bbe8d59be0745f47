"""The two derivatives of one inner step that training and matching are made of.

Shapes: P parameters, B batch, c channels, H height, W width, K classes, G students side by side,
n steps one after the other.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from datm.matching.objective import NetworkLoss, StudentLoss
from datm.runtime.capturing import captured, kept, on_gpu
from datm.runtime.compiling import compiled
from datm.runtime.streams import at_once


class Student:
    """A student's loss l(params, images, logits) with its gradient and that gradient's adjoint.

    With `compile` both are compiled, once per batch size; without, they run eagerly. Either way
    they are functions of plain tensors, so that no graph outlives a call. Compiled, on a GPU, they
    and several steps of them are replayed (see `captured`): the next call of any overwrites the
    results, so use or copy them first.

    Every argument may have a leading axis G, and every result has it then: G students that know
    nothing of each other advance in one call.
    """

    def __init__(self, loss: StudentLoss, compile: bool = False) -> None:
        self.loss = loss
        gradient = gradient_of(loss)
        slope = loss.slope if isinstance(loss, NetworkLoss) else _slope(loss)

        def adjoint(params: Tensor, images: Tensor, logits: Tensor, direction: Tensor) -> Adjoint:
            derivative = torch.func.grad_and_value(slope, argnums=(0, 1, 2))
            return derivative(params, images, logits, direction)

        def adjoint_of_data(
            params: Tensor, images: Tensor, logits: Tensor, direction: Tensor
        ) -> DataAdjoint:
            derivative = torch.func.grad_and_value(slope, argnums=(1, 2))
            return derivative(params, images, logits, direction)

        wrap = compiled if compile else _as_it_is
        self._one_gradient = _SideBySide(gradient, wrap)
        self._one_adjoint = _SideBySide(adjoint, wrap)
        self._one_adjoint_of_data = _SideBySide(adjoint_of_data, wrap)
        replayed = captured if compile else _as_it_is
        self._gradient = replayed(self._one_gradient)
        self._adjoint = replayed(self._one_adjoint)
        self._adjoint_of_data = replayed(self._one_adjoint_of_data)
        self._advance = replayed(self._advance_plainly)
        self._descend = replayed(self._descend_plainly)
        self._retreat = replayed(partial(self._retreat_plainly, True))
        self._retreat_to_data = replayed(partial(self._retreat_plainly, False))

    def __call__(self, params: Tensor, images: Tensor, logits: Tensor) -> Tensor:
        return self.loss(params, images, logits)

    def gradient(self, params: Tensor, images: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """(g, l): the gradient [P] of the loss with respect to the parameters, and the loss."""
        grad, value = self._gradient(params, images, logits)
        return grad, value

    def adjoint(
        self, params: Tensor, images: Tensor, logits: Tensor, direction: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(h, dh/dparams, dh/dimages, dh/dlogits) of h = <g(params, images, logits), direction>.

        h is the derivative of the loss along `direction` [P]: a forward-mode derivative inside and
        one backward pass outside give all of it, in about 8 convolution passes.
        """
        (by_params, by_images, by_logits), h = self._adjoint(params, images, logits, direction)
        return h, by_params, by_images, by_logits

    def adjoint_of_data(
        self, params: Tensor, images: Tensor, logits: Tensor, direction: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(h, dh/dimages, dh/dlogits): `adjoint` where the parameters' share is not wanted."""
        (by_images, by_logits), h = self._adjoint_of_data(params, images, logits, direction)
        return h, by_images, by_logits

    def advance(
        self, params: Tensor, images: Tensor, logits: Tensor, step_size: Tensor
    ) -> list[Tensor]:
        """Parameters [..., P] after each of n steps, theta_{i+1} = theta_i - step_size g_i.

        params [..., P] before them; images [..., n, B, c, H, W]; logits [..., n, B, K]. Unlike
        other results these are the caller's to keep.
        """
        places: list[Tensor] = self._advance(params, images, logits, step_size)
        return kept(places)

    def retreat(
        self,
        places: Sequence[Tensor],
        images: Tensor,
        logits: Tensor,
        direction: Tensor,
        step_size: Tensor,
        through_parameters: bool = True,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The way back through n steps: (lambda_0, h's derivatives by images and by logits, h).

        places: theta_0 .. theta_{n-1}, each [..., P], before each step; direction: lambda_n
        [..., P]; images and logits as in `advance`. Of every step h_i = <g_i, lambda_{i+1}> and
        lambda_i = lambda_{i+1} - step_size dh_i/dtheta; without `through_parameters` lambda stays.
        Gives lambda_0 [..., P]; dh_i/dimages and dh_i/dlogits of every step, of their shapes; the
        sum of all h_i [...].
        """
        back = self._retreat if through_parameters else self._retreat_to_data
        lambda_0, by_images, by_logits, total = back(
            list(places), images, logits, direction, step_size
        )
        return lambda_0, by_images, by_logits, total

    def descend(
        self,
        params: Tensor,
        velocity: Tensor,
        images: Tensor,
        logits: Tensor,
        rates: Sequence[float],
        momentum: float = 0.0,
        decay: float = 0.0,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(params, velocity, the losses' sum) after n steps of SGD, as in torch.optim.

        v <- momentum v + g + decay params, params <- params - rate v. params, velocity [..., P];
        images [..., n, B, c, H, W]; logits [..., n, B, K]; rates: n. The results are the caller's
        to keep.
        """
        given = torch.tensor([*rates, momentum, decay], dtype=params.dtype)
        habits = given.to(params.device, non_blocking=True)
        found: list[Tensor] = self._descend(params, velocity, images, logits, habits)
        after, moving, total = kept(found)
        return after, moving, total

    @torch.no_grad()
    def _descend_plainly(
        self, params: Tensor, velocity: Tensor, images: Tensor, logits: Tensor, habits: Tensor
    ) -> list[Tensor]:
        *rates, momentum, decay = habits.unbind()
        total = params.new_zeros(params.shape[:-1])
        for own, labels, rate in zip(images.unbind(-5), logits.unbind(-3), rates, strict=True):
            gradient, loss = self._one_gradient(params, own, labels)
            velocity = momentum * velocity + gradient + decay * params
            params = params - rate * velocity
            total = total + loss
        return [params, velocity, total]

    @torch.no_grad()
    def _advance_plainly(
        self, params: Tensor, images: Tensor, logits: Tensor, step_size: Tensor
    ) -> list[Tensor]:
        places = [params]
        for own in zip(images.unbind(-5), logits.unbind(-3), strict=True):
            gradient, _ = self._one_gradient(places[-1], *own)
            places.append(places[-1] - step_size * gradient)
        return places[1:]

    @torch.no_grad()
    def _retreat_plainly(
        self,
        through_parameters: bool,
        places: list[Tensor],
        images: Tensor,
        logits: Tensor,
        direction: Tensor,
        step_size: Tensor,
    ) -> tuple[Tensor, ...]:
        by_images, by_logits = torch.empty_like(images), torch.empty_like(logits)
        total = step_size.new_zeros(direction.shape[:-1])
        for k in reversed(range(len(places))):
            inputs = places[k], images.select(-5, k), logits.select(-3, k), direction
            if through_parameters:
                (by_params, by_own, by_own_logits), h = self._one_adjoint(*inputs)
                direction = direction - step_size * by_params
            else:
                (by_own, by_own_logits), h = self._one_adjoint_of_data(*inputs)
            by_images.select(-5, k).copy_(by_own)
            by_logits.select(-3, k).copy_(by_own_logits)
            total = total + h
        return direction, by_images, by_logits, total


Adjoint = tuple[tuple[Tensor, Tensor, Tensor], Tensor]
DataAdjoint = tuple[tuple[Tensor, Tensor], Tensor]
Function = Callable[..., Any]


class _SideBySide:
    """A function of (params, images, ...), for one student or, with a leading axis, for G.

    G = 1 is one student: the same arithmetic, and nothing more to compile. On a GPU compiled
    functions of one student run at the same time: vmapped, their convolutions would be grouped.
    """

    def __init__(self, function: Function, wrap: Callable[[Function], Function]) -> None:
        self._one = wrap(function)
        self._several = wrap(torch.func.vmap(function))
        self._compiled = wrap is compiled

    @torch.no_grad()
    def __call__(self, params: Tensor, images: Tensor, *others: Tensor) -> Any:
        if params.ndim == 1:
            return self._one(params, channels_last(images), *others)
        if len(params) == 1 or (self._compiled and on_gpu(params)):
            each = list(zip(params, images, *others, strict=True))
            alone = [self(*each[0])] if len(each) == 1 else at_once(self, each)
            return _stacked(alone)
        return self._several(params, channels_last(images), *others)


def _stacked(results: Sequence[Any]) -> Any:
    """Tensors, or nested tuples of them, as one with a leading axis."""
    if isinstance(results[0], Tensor):
        return torch.stack(list(results)) if len(results) > 1 else results[0].unsqueeze(0)
    return tuple(_stacked(parts) for parts in zip(*results, strict=True))


def channels_last(images: Tensor) -> Tensor:
    """`images` [..., B, c, H, W] with the channels of a pixel side by side: fast to convolve."""
    if images.ndim < 4:
        return images
    flat = images.flatten(0, -4).contiguous(memory_format=torch.channels_last)
    return flat.view(images.shape)


def gradient_of(loss: StudentLoss) -> Callable[..., tuple[Tensor, Tensor]]:
    """(params, images, logits) -> (gradient [P], loss) of any student's loss."""
    return loss.gradient if isinstance(loss, NetworkLoss) else torch.func.grad_and_value(loss)


def _slope(loss: StudentLoss) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """The derivative of any student's loss as its parameters move along `direction` [P]."""

    def slope(params: Tensor, images: Tensor, logits: Tensor, direction: Tensor) -> Tensor:
        def along(moved: Tensor) -> Tensor:
            return loss(moved, images, logits)

        change: Tensor = torch.func.jvp(along, (params,), (direction,))[1]
        return change

    return slope


def _as_it_is(function: Function) -> Function:
    return function
