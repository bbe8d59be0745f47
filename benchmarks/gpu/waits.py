"""Where does the host wait for the device? Every place, and how often in one go of a loop."""

import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

import datm
from datm.data import load_data
from datm.distillation import DistillConfig, distill
from datm.evaluation.train import Protocol, train_networks
from datm.matching import MatchConfig, Student, student_loss
from datm.runtime.device import Runtime
from datm.teaching import TeachConfig, teach
from gpu.problems import STRATEGY, Place, random_problem

SOURCE = Path(datm.__file__).parent


def waits(place: Place) -> None:
    """Print the places for a matching gradient, a training, teaching and distilling."""
    with TemporaryDirectory() as folder:
        for name, work in works(place, Path(folder)).items():
            with noted(place) as places:
                work()
            print(f"waits in {name}:", flush=True)
            for where, count in places.most_common():
                print(f"{count:6d}  {where}", flush=True)


def works(place: Place, folder: Path) -> dict[str, Callable[[], object]]:
    """Loops by name, the compiled ones past warm-up and capture."""
    network = place.network("bfloat16" if place.on_gpu else "float32")
    student = Student(student_loss(network), place.on_gpu)
    problem = random_problem(place, network, 10, 6)
    protocol = Protocol(learning_rate=0.01, epochs=6, batch=10, augmentation=STRATEGY)
    sets = [(problem.segment.images, problem.segment.logits)]
    compiled: dict[str, Callable[[], object]] = {
        "a matching gradient of 6 steps": lambda: problem.match(student),
        "a training of 12 steps": lambda: train_networks(network, student, sets, protocol, [0]),
    }
    for work in compiled.values():
        for _ in range(3):
            work()
    # Uncompiled: what the stages do around the compiled functions is the same.
    data, runtime = load_data("digits"), Runtime(device=place.device)
    teaching = TeachConfig(network="convnet-2,width=8", teachers=1, epochs=3)
    match = MatchConfig(inner_steps=3, teacher_epochs=1, batch=10, last_upper=2)
    distilling = DistillConfig(ipc=1, match=match, iterations=10, validate_epochs=3, threshold=9.0)
    trajectories = teach(data, teaching, out=folder / "first", runtime=runtime)
    return {
        **compiled,
        "teaching for 3 epochs": lambda: teach(
            data, teaching, out=folder / "again", runtime=runtime
        ),
        "distilling for 10 iterations": lambda: distill(
            data, trajectories, distilling, out=folder, runtime=runtime
        ),
    }


@contextmanager
def noted(place: Place) -> Iterator[Counter[str]]:
    """Counts PyTorch's warnings of waits by the line of `datm` that they come from."""
    places: Counter[str] = Counter()

    def note(message: object, *_: object, **__: object) -> None:
        own = [f for f in traceback.extract_stack() if Path(f.filename).is_relative_to(SOURCE)]
        where = f"{Path(own[-1].filename).relative_to(SOURCE)}:{own[-1].lineno}" if own else ""
        text = str(message).partition("\n")[0]
        # Other warnings are told apart by their words.
        places[where if "synchroniz" in text else f"{where} ({text[:60]})"] += 1

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = note
        if place.on_gpu:
            torch.cuda.set_sync_debug_mode("warn")
        try:
            yield places
        finally:
            if place.on_gpu:
                torch.cuda.set_sync_debug_mode("default")
