"""torch.compile up to, and without, the generation of machine code."""

from collections.abc import Callable
from typing import Any

import torch

COMPILE = torch.compile


def compile_with(backend: Any) -> Callable[..., Any]:
    """torch.compile with another backend, which has none of the default one's options."""

    def compile(function: Callable[..., Any], *, options: Any = None, **how: Any) -> Any:
        return COMPILE(function, backend=backend, **how)

    return compile
