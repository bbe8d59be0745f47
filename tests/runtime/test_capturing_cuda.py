"""A function that a GPU cannot record, and what is recorded after it.

DATM_TEST_GPU=1 pytest tests/runtime/test_capturing_cuda.py
"""

import pytest
import torch
from torch import Tensor

from datm.runtime.capturing import captured, recording_failures

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a CUDA device and DATM_TEST_GPU=1"
)


def waiting(x: Tensor) -> list[Tensor]:
    return [x * x.sum().item()]


def test_after_a_failed_recording_all_is_as_before_and_others_record() -> None:
    device = torch.device("cuda:0")
    stream, failures = torch.cuda.current_stream(device), recording_failures()
    for _ in range(2):
        failing, other = captured(waiting), captured(lambda x: [2 * x])
        for turn in range(1, 5):
            x = torch.full((3,), float(turn), device=device)
            assert failing(x)[0].tolist() == [3.0 * turn * turn] * 3
            assert torch.cuda.current_stream(device) == stream
            assert other(x)[0].tolist() == [2.0 * turn] * 3
    assert recording_failures() <= failures + 1  # the same one twice, and none of `other`
