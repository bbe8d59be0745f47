"""What tests in several folders share. That this file is here puts tests/ on the import path."""

import os

if os.environ.get("DATM_TEST_GPU") != "1":
    # Runtime() takes a GPU where it sees one; what it makes is compared with tensors on the CPU.
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    # A GPU's kernels are interpreted instead; read where triton is first imported.
    os.environ["TRITON_INTERPRET"] = "1"

from collections.abc import Iterator

import pytest
import torch

from datm.data import DataSet
from datm.runtime.device import Runtime
from datm.teaching import Trajectories, teach
from small_jobs import TEACH, small_digits


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Results to the bit need one number of threads, in subprocesses too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def digits() -> DataSet:
    return small_digits()


@pytest.fixture(scope="session")
def teachers(digits: DataSet, tmp_path_factory: pytest.TempPathFactory) -> Trajectories:
    """Two finished teachers on `digits`; copy the folder before changing anything in it."""
    folder = tmp_path_factory.mktemp("teachers")
    return teach(digits, TEACH, out=folder, runtime=Runtime(device="cpu"))
