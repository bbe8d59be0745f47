"""What `match_gradient` refuses, in one sentence that names the argument."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from matching_problems import random_segment

from datm.errors import InputError

SEGMENT = random_segment(0, 2, 3)


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"start": SEGMENT.start.view(1, -1)}, "start, target: shapes"),
        ({"target": SEGMENT.target[:-1]}, "start, target: shapes"),
        ({"logits": SEGMENT.logits[:-1]}, "images, logits: 7 images but 6 labels"),
        ({"step_size": SEGMENT.step_size.view(1)}, "step_size: shape (1,) is no scalar"),
        ({"step_size": 0.07}, "step_size: 0.07 is no tensor"),
        ({"batches": SEGMENT.batches[0]}, "batches: torch.int64 (3,) is no int64 [N, B]"),
        ({"batches": SEGMENT.batches.int()}, "batches: torch.int32 (2, 3) is no int64 [N, B]"),
        ({"batches": SEGMENT.batches[:0]}, "batches: torch.int64 (0, 3) is no int64 [N, B]"),
        ({"batches": SEGMENT.batches[:, :0]}, "batches: torch.int64 (2, 0) is no int64 [N, B]"),
        ({"batches": torch.tensor([[0, 7]])}, "batches: row numbers 0 to 7 do not fit 7 images"),
        ({"batches": torch.tensor([[-1, 6]])}, "batches: row numbers -1 to 6 do not fit 7 images"),
        ({"images": SEGMENT.images.float()}, "images: torch.float32 does not go with start's"),
        ({"target": SEGMENT.target.float()}, "target: torch.float32 does not go with start's"),
        ({"images": SEGMENT.images.to(torch.uint8)}, "images: torch.uint8 does not go with"),
        ({"target": SEGMENT.start.clone()}, "start, target: are equal"),
    ],
)
def test_bad_arguments(changed: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError) as refused:
        replace(SEGMENT, **changed).match("exact")
    message = str(refused.value)
    assert message.startswith(text)
    assert message.endswith(".")
    assert "\n" not in message


@pytest.mark.parametrize("first", [-1, len(SEGMENT.batches)])
def test_nothing_is_differentiated(first: int) -> None:
    steps = len(SEGMENT.batches)
    with pytest.raises(InputError, match=rf"^first: {first} is none of the {steps} steps; give 0"):
        SEGMENT.match("exact", first=first)


def test_unknown_method() -> None:
    with pytest.raises(InputError, match=r"^method: 'magic' is not known; use exact, tesla, unr"):
        SEGMENT.match("magic")


def test_whole_numbers_as_parameters() -> None:
    changed = {"start": SEGMENT.start.long(), "target": SEGMENT.target.long()}
    with pytest.raises(InputError, match=r"^start: torch.int64"):
        replace(SEGMENT, **changed).match("exact")
