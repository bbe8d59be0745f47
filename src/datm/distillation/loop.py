"""The distillation loop (Guo 2024, algorithm 1).

Each iteration draws segments inside the window, matches them, and updates images, label logits
and step size. Every draw depends on the seed and the iteration alone and the state is replaced as
a whole, so a run may stop anywhere and continues to the same bits (on a CPU).

Letters: N inner steps, B batch, S synthetic images, M epochs a segment spans.
"""

import math
import os
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from datm.data import DataSet
from datm.distillation.config import DistillConfig
from datm.distillation.distilled_set import DistilledSet
from datm.distillation.initial import check_ipc
from datm.distillation.job import Job
from datm.distillation.segments import check_flip
from datm.distillation.state import State, load_state, save_state
from datm.errors import InputError
from datm.formation import check_formation
from datm.matching import MatchGradient, last_epoch, upper_epoch
from datm.runtime.device import Runtime
from datm.runtime.files import save_tensors, writable_folder
from datm.runtime.logs import QUIET, Console
from datm.runtime.metrics import Metrics
from datm.teaching import Trajectories

SKIPS_ALLOWED = 100


def distill(
    data: DataSet,
    trajectories: Trajectories,
    config: DistillConfig,
    *,
    out: str | os.PathLike[str] | None = None,
    runtime: Runtime | None = None,
    seed: int = 0,
    console: Console = QUIET,
) -> DistilledSet:
    """Distil `data` into config.ipc images per class that follow the teachers' trajectories.

    Returns the iterate with the best accuracy on the validation split (without one: the last).
    With `out`, a run folder, checkpoint/, metrics.jsonl and distilled/ are written there, and an
    interrupted distillation continues. Raises InputError where data, trajectories and settings do
    not fit together, or when the updates diverge.
    """
    check(data, trajectories, config)
    job = Job(data, trajectories, config, runtime or Runtime(), seed)
    folder = writable_folder(out) if out is not None else None
    state = load_state(folder / "checkpoint", job.identity, job.device) if folder else None
    if state is None:
        state = job.begin(console)
        if folder:
            _save_iterate(folder / "distilled" / "initial.safetensors", state, config)
            save_state(folder / "checkpoint", state, job.identity)
    state = _iterate(job, state, folder, console)
    distilled = job.result(state)
    if folder:
        # The set comes last: where it stands, the distillation is complete.
        _save_iterate(folder / "distilled" / "last.safetensors", state, config)
        distilled.save(folder / "distilled")
    return distilled


def check(data: DataSet, trajectories: Trajectories, config: DistillConfig) -> None:
    """Raises InputError where data, trajectories and settings do not fit together."""
    check_ipc(data, config.ipc, config.formation)
    check_formation(config.formation, data.shape)
    check_flip(config.match, trajectories.augmentation)
    theirs = trajectories.manifest["data"]
    for name, ours in data.describe().items():
        if theirs.get(name) != ours:
            raise InputError(
                f"{trajectories.path}: its teachers saw other data ({name} {theirs.get(name)!r},"
                f" here {ours!r}); teach on this data, or give theirs."
            )
    if not len(trajectories):
        raise InputError(f"{trajectories.path}: no teacher is finished; run `datm teach` first.")
    needed = last_epoch(config.match)
    if needed > trajectories.epochs:
        raise InputError(
            f"match.last_upper: segments end at epoch {needed}, but the teachers in"
            f" {trajectories.path} have {trajectories.epochs} epochs; lower it or teach for longer."
        )


def _iterate(job: Job, state: State, folder: Path | None, console: Console) -> State:
    """Iterate to the end; save on the way, and on Ctrl-C before passing it on."""
    config = job.config
    if state.iteration >= config.iterations and state.validated == state.iteration:
        return state
    # Lines left by a run that did not come as far as a checkpoint after them are dropped.
    known = state.iteration if state.validated >= 0 else None
    metrics = Metrics(folder / "metrics.jsonl", known, console) if folder else None
    saved = state
    console.start("distil", config.iterations, state.iteration)
    try:
        state = _validated(job, state, metrics, console)
        while True:
            due = state.iteration % config.checkpoint_every == 0
            if folder and state is not saved and (due or state.validated == state.iteration):
                save_state(folder / "checkpoint", state, job.identity)
                saved = state
            if state.iteration >= config.iterations:
                break
            # In one piece: a checkpoint between the two would have the validation logged twice.
            state = _validated(job, _step(job, state, metrics, console), metrics, console)
    finally:
        # Also on Ctrl-C: `state` is always the whole state after some iteration.
        if folder and state is not saved:
            save_state(folder / "checkpoint", state, job.identity)
        if metrics:
            metrics.close()
    console.finish(f"best at iteration {state.best_iteration}")
    return state


def _validated(job: Job, state: State, metrics: Metrics | None, console: Console) -> State:
    """Judge the present iterate where that is due; without validation images, the last is best."""
    due = state.iteration % job.config.validate_every == 0
    if state.validated == state.iteration or not (due or state.iteration >= job.config.iterations):
        return state
    if not len(job.data.validation):
        return replace(state, best_accuracy=-1.0).judged(0.0)
    began = time.monotonic()
    accuracy = job.validate(state)
    state = replace(state.judged(accuracy), seconds=state.seconds + time.monotonic() - began)
    best = state.best_iteration == state.iteration
    if metrics:
        metrics.append(
            {"iteration": state.iteration, "validation_accuracy": accuracy, "best": best}
        )
    console.advance(state.iteration, validation=accuracy)
    return state


def _step(job: Job, state: State, metrics: Metrics | None, console: Console) -> State:
    """One iteration: match every segment, average those under the threshold, update."""
    began = time.monotonic()
    config = job.config
    matched = job.match(state)
    # The threshold is one of matching: also a student that does worse than chance says what to do.
    usable = [
        gradient
        for segment, gradient in matched
        if _usable(gradient, config.threshold if segment else math.inf)
    ]
    losses = [float(gradient.loss) for _, gradient in matched]
    mean = _mean(usable) if usable else None
    new = state.updated(mean, config) if mean else state
    skips = 0 if usable else state.skipped_in_a_row + 1
    if skips > SKIPS_ALLOWED:
        raise InputError(
            f"distill: {skips} iterations in a row had matching losses above the threshold"
            f" {config.threshold} (last: {losses[-1]:.3g}); lower the learning rates or the step"
            " size, or raise distill.threshold."
        )
    seconds = time.monotonic() - began
    new = replace(
        new,
        iteration=state.iteration + 1,
        skipped_in_a_row=skips,
        seconds=state.seconds + seconds,
    )
    loss = sum(losses) / len(losses)
    segments = [
        [segment.teacher, segment.start, value]
        for (segment, _), value in zip(matched, losses, strict=True)
        if segment
    ]
    if metrics and new.iteration % config.log_every == 0:
        metrics.append(
            {
                "iteration": new.iteration,
                "loss" if segments else "data_loss": loss,
                "segments": segments,
                "upper_epoch": upper_epoch(config.match, state.iteration),
                "step_size": float(new.step_size),
                "images_grad_norm": float(mean.images_grad.norm()) if mean else None,
                "logits_grad_norm": float(mean.logits_grad.norm()) if mean else None,
                "step_size_grad": float(mean.step_size_grad) if mean else None,
                "skipped": mean is None,
                "seconds": seconds,
            }
        )
    console.advance(new.iteration, loss=loss, step_size=float(new.step_size))
    return new


def _usable(gradient: MatchGradient, threshold: float) -> bool:
    """The threshold rule, and a finite gradient."""
    values = gradient.images_grad, gradient.logits_grad, gradient.step_size_grad
    finite = all(bool(torch.isfinite(value).all()) for value in values)
    return finite and float(gradient.loss) <= threshold


def _mean(gradients: list[MatchGradient]) -> MatchGradient:
    def mean(name: str) -> Tensor:
        return torch.stack([getattr(gradient, name) for gradient in gradients]).mean(0)

    if len(gradients) == 1:
        return gradients[0]
    names = "loss", "images_grad", "logits_grad", "step_size_grad", "student"
    return MatchGradient(*(mean(name) for name in names))


def _save_iterate(path: Path, state: State, config: DistillConfig) -> None:
    rate = state.step_size
    if config.reader_lr is not None:
        rate = torch.full_like(rate, config.reader_lr)
    tensors = {"images": state.average_images, "logits": state.average_logits}
    save_tensors(path, {**tensors, "step_size": rate})


def initial_set(distilled: DistilledSet, folder: Path) -> DistilledSet | None:
    """The set before distillation, from the folder where `distilled` was saved; None if absent."""
    from datm.runtime.files import load_tensors

    path = folder / "initial.safetensors"
    if not path.exists():
        return None
    tensors = load_tensors(path)
    return distilled.holding(tensors["images"], tensors["logits"], float(tensors["step_size"]))
