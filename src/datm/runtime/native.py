"""C++ of this package, compiled for the processor at hand the first time that it is needed."""

import ctypes
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch import library as registry

logger = logging.getLogger("datm")

KERNELS = Path(__file__).with_name("kernels")
FLAGS = "-O3", "-march=native", "-std=c++17", "-fopenmp", "-shared", "-fPIC"


def operator(
    name: str, schema: str, fake: Callable[..., Any], devices: tuple[str, ...] = ("CPU",)
) -> Callable[..., Any]:
    """Makes a function on `devices` the operator datm::`name` of PyTorch, and gives that back.

    fake: gives results of the right shapes and layouts without values.
    """

    def register(function: Callable[..., Any]) -> Any:
        registry.define(f"datm::{name}", schema, tags=torch.Tag.pt2_compliant_tag)
        for device in devices:
            registry.impl(f"datm::{name}", device)(function)
        registry.register_fake(f"datm::{name}")(fake)
        made = getattr(torch.ops.datm, name).default
        registry.register_vmap(f"datm::{name}", _one_by_one(made))
        return made

    return register


def _one_by_one(function: Callable[..., Any]) -> Callable[..., Any]:
    """What vmap makes of the operator: a call for each, results stacked."""

    def batched(info: Any, axes: tuple[int | None, ...], *arguments: Any) -> tuple[Any, Any]:
        def own(i: int) -> list[Any]:
            pairs = zip(arguments, axes, strict=True)
            return [value if axis is None else value.select(axis, i) for value, axis in pairs]

        results = [function(*own(i)) for i in range(info.batch_size)]
        if isinstance(results[0], Tensor):
            return torch.stack(results), 0
        return tuple(map(torch.stack, zip(*results, strict=True))), (0,) * len(results[0])

    return batched


def call(name: str, function: str, *arguments: Tensor | int) -> None:
    """Call `function` of the library `name`: tensors by address, numbers, the threads to use.

    Raises MemoryError where it has none left to work in.
    """
    library = native(name)
    if library is None:
        raise RuntimeError(f"{name} is called without having been built")
    given = [
        ctypes.c_void_p(value.data_ptr()) if isinstance(value, Tensor) else ctypes.c_int64(value)
        for value in arguments
    ]
    if getattr(library, f"datm_{name}_{function}")(*given, ctypes.c_int64(torch.get_num_threads())):
        raise MemoryError(f"{name}_{function}: no memory is left to work in")


@cache
def native(name: str) -> ctypes.CDLL | None:
    """The library of kernels/`name`.cpp; None, and said once, where it cannot be made.

    It is kept in the user's cache folder ($XDG_CACHE_HOME/datm), by sources, compiler and
    processor.
    """
    source = KERNELS / f"{name}.cpp"
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:  # said by whoever compiles
        return None
    try:
        path = cache_folder() / f"{name}-{_key(source, compiler)}.so"
        if not path.exists():
            _build(source, compiler, path)
        return ctypes.CDLL(str(path))
    except (OSError, RuntimeError, subprocess.CalledProcessError) as error:  # RuntimeError: no home
        details = getattr(error, "stderr", None) or str(error)
        logger.warning(
            "%s could not be compiled, PyTorch's own kernels serve, which is slower but the same:"
            " %s",
            source.name,
            " ".join(details.split("\n")[:2]),
        )
        return None


def cache_folder() -> Path:
    """Where compiled libraries are kept; not made yet."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "datm"


def _key(source: Path, compiler: str) -> str:
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True)
    processor = sorted(torch.cpu.get_capabilities().items())
    texts = [path.read_text(encoding="utf-8") for path in (source, *sorted(KERNELS.glob("*.h")))]
    parts = texts, FLAGS, version.stdout, processor
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:20]


def _build(source: Path, compiler: str, path: Path) -> None:
    """Compile into a file of its own, then rename: two processes may be at it at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        command = [compiler, *FLAGS, "-o", str(made), str(source)]
        subprocess.run(command, capture_output=True, text=True, check=True)
        made.replace(path)
