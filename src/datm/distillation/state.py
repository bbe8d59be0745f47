"""The state of a distillation between two iterations, and its file.

Shapes: R images as they are stored, S to train on, c channels, H height, W width, K classes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from datm.distillation.config import DistillConfig
from datm.distillation.optimiser import Moments, descend
from datm.errors import InputError
from datm.matching import MatchGradient
from datm.runtime.files import load_tensors, save_tensors
from datm.runtime.settings import differences

FILE = "state.safetensors"


@dataclass(frozen=True)
class State:
    """All that the next iteration depends on. A new one is made by each update.

    images [R, c, H, W], logits [S, K], step_size []: what is updated; *_velocity, *_square: the
    optimiser's moments (see `Moments`; squares are kept by Adam only and otherwise empty);
    average_*: exponential moving averages of them, or they themselves: what is judged;
    best_*: the judged iterate with the highest validation accuracy so far.
    """

    images: Tensor
    logits: Tensor
    step_size: Tensor
    images_velocity: Tensor
    logits_velocity: Tensor
    step_size_velocity: Tensor
    images_square: Tensor
    logits_square: Tensor
    step_size_square: Tensor
    average_images: Tensor
    average_logits: Tensor
    best_images: Tensor
    best_logits: Tensor
    best_step_size: Tensor
    iteration: int = 0
    updates: int = 0
    best_iteration: int = 0
    best_accuracy: float = -1.0
    validated: int = -1
    skipped_in_a_row: int = 0
    seconds: float = 0.0

    @classmethod
    def begin(cls, images: Tensor, logits: Tensor, config: DistillConfig) -> "State":
        alpha = torch.tensor(config.step_size, device=images.device)

        def squares(values: Tensor) -> Tensor:
            return torch.zeros_like(values) if config.optimiser == "adam" else values.new_empty(0)

        return cls(
            images=images,
            logits=logits,
            step_size=alpha,
            images_velocity=torch.zeros_like(images),
            logits_velocity=torch.zeros_like(logits),
            step_size_velocity=torch.zeros_like(alpha),
            images_square=squares(images),
            logits_square=squares(logits),
            step_size_square=squares(alpha),
            average_images=images,
            average_logits=logits,
            best_images=images,
            best_logits=logits,
            best_step_size=alpha,
        )

    def updated(self, gradient: MatchGradient, config: DistillConfig) -> "State":
        """One step of the optimiser, with a rate for each of the three."""
        share = config.rate(self.iteration)

        def step(
            value: Tensor, grad: Tensor, moments: Moments, momentum: float, rate: float
        ) -> tuple[Tensor, Moments]:
            way, moments = descend(config.optimiser, grad, moments, momentum, self.updates)
            return value - share * rate * way, moments

        past = Moments(self.images_velocity, self.images_square)
        images, of_images = step(
            self.images, gradient.images_grad, past, config.images_momentum, config.images_lr
        )
        past = Moments(self.logits_velocity, self.logits_square)
        logits, of_logits = step(
            self.logits, gradient.logits_grad, past, config.labels_momentum, config.labels_lr
        )
        if config.labels != "learned":
            logits = self.logits
        past = Moments(self.step_size_velocity, self.step_size_square)
        alpha, of_alpha = step(
            self.step_size,
            gradient.step_size_grad,
            past,
            config.step_size_momentum,
            config.step_size_lr,
        )
        return replace(
            self,
            images=images,
            logits=logits,
            average_images=_averaged(self.average_images, images, config.ema),
            average_logits=_averaged(self.average_logits, logits, config.ema),
            step_size=alpha.clamp(min=config.smallest_step_size),
            images_velocity=of_images.velocity,
            logits_velocity=of_logits.velocity,
            step_size_velocity=of_alpha.velocity,
            images_square=of_images.square,
            logits_square=of_logits.square,
            step_size_square=of_alpha.square,
            updates=self.updates + 1,
        )

    def judged(self, accuracy: float) -> "State":
        """After a validation of the present iterate."""
        state = replace(self, validated=self.iteration)
        if accuracy <= self.best_accuracy:
            return state
        return replace(
            state,
            best_accuracy=accuracy,
            best_iteration=self.iteration,
            best_images=self.average_images,
            best_logits=self.average_logits,
            best_step_size=self.step_size,
        )


def _averaged(average: Tensor, new: Tensor, decay: float) -> Tensor:
    return decay * average + (1 - decay) * new if decay else new


def save_state(folder: Path, state: State, identity: Mapping[str, Any]) -> None:
    """Write the checkpoint: tensors, and the rest in the same file, so that they agree."""
    values = {field.name: getattr(state, field.name) for field in fields(state)}
    tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
    numbers = {name: value for name, value in values.items() if name not in tensors}
    metadata = {"numbers": json.dumps(numbers), "identity": json.dumps(identity)}
    save_tensors(folder / FILE, tensors, metadata)


def load_state(folder: Path, identity: Mapping[str, Any], device: torch.device) -> State | None:
    """The checkpoint in `folder`, or None. Raises InputError if it is of another distillation."""
    if not (folder / FILE).exists():
        return None
    tensors = load_tensors(folder / FILE, str(device))
    with safe_open(folder / FILE, framework="pt") as file:
        metadata = file.metadata() or {}
    if "identity" not in metadata:
        raise InputError(f"{folder / FILE}: is no checkpoint of a distillation; remove it.")
    theirs = json.loads(metadata["identity"])
    if differs := differences(json.loads(json.dumps(identity)), theirs):
        raise InputError(
            f"{folder / FILE}: belongs to another distillation ({'; '.join(differs)});"
            " choose another folder or the same settings."
        )
    values: dict[str, Any] = {**tensors, **json.loads(metadata["numbers"])}
    return State(**values)
