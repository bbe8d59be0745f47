"""Which copies to a device the host waits for, found without one.

Tensors on PyTorch's "meta" device have shapes and no values, and whatever needs a value fails
there: what runs to its end on them never waits to read a GPU's.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class WaitedCopies(TorchDispatchMode):
    """Counts copies from the host to another device that were not told to go on by themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self,
        function: Any,
        types: Any,
        arguments: tuple[Any, ...] = (),
        options: dict[str, Any] | None = None,
    ) -> Any:
        options = options or {}
        if function is torch.ops.aten._to_copy.default:
            source: Tensor = arguments[0]
            leaves = source.is_cpu and options.get("device") not in (None, source.device)
            self.count += leaves and not options.get("non_blocking", False)
        return function(*arguments, **options)
