"""Where and in what precision the arithmetic runs."""

from typing import Literal

import torch
from pydantic import Field

from datm.errors import InputError
from datm.runtime.settings import settings

Precision = Literal["float32", "bfloat16"]


@settings
class Runtime:
    """The machine's side of a run; it changes speed and rounding, never the method."""

    device: str = Field(default="auto", description="cpu, cuda, cuda:1 or auto (cuda if present)")
    precision: Precision = Field(
        default="float32", description="of the convolutions; all else stays float32"
    )
    compile: bool = Field(default=False, description="compile the inner step (pays after a minute)")

    def torch_device(self) -> torch.device:
        """The device asked for. Raises InputError where it does not exist."""
        name = self.device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            device = torch.device(name)
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as error:
            raise InputError(
                f"device: {self.device!r} is not available here; use 'cpu' or 'auto'."
            ) from error
        return device
