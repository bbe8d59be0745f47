"""Where and in what precision the arithmetic runs."""

from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field

from datm.errors import InputError
from datm.runtime.allocator import keep_freed_memory, use_huge_pages
from datm.runtime.settings import settings

Precision = Literal["float32", "tf32", "bfloat16"]
Choice = Literal["auto", "float32", "tf32", "bfloat16"]


@settings
class Runtime:
    """The machine's side of a run; it changes speed and rounding, never the method."""

    device: str = Field(default="auto", description="cpu, cuda, cuda:1 or auto (cuda if present)")
    precision: Choice = Field(
        default="float32",
        description="of the convolutions; all else stays float32. auto: bfloat16 where that is"
        " faster (a GPU that has it, a CPU with AMX), else float32",
    )
    compile: bool = Field(default=False, description="compile the inner step (pays after a minute)")
    side_by_side: int = Field(
        default=1,
        gt=0,
        description="teachers, segments or networks computed at once, where one leaves a GPU idle",
    )

    @property
    def arithmetic(self) -> Precision:
        """The precision, with "auto" decided."""
        if self.precision != "auto":
            return self.precision
        return "bfloat16" if gains_by_bfloat16(self._device()) else "float32"

    def settled(self) -> "Runtime":
        """The same with nothing left to the machine that it is run on."""
        return replace(self, precision=self.arithmetic)

    def torch_device(self) -> torch.device:
        """The device asked for, with this process set up for it.

        That is: large blocks of host memory are reused and in huge pages, and float32 convolutions
        on a GPU are rounded as `precision` says. Raises InputError where the device does not exist,
        or not in this precision.
        """
        device, precision = self._device(), self.arithmetic
        if precision == "tf32" and device.type != "cuda":
            raise InputError(
                f"precision: tf32 is arithmetic of NVIDIA GPUs, and the device is {device};"
                " use float32 or bfloat16."
            )
        keep_freed_memory()
        use_huge_pages()
        if device.type == "cuda":
            if device.index is not None:
                torch.cuda.set_device(device.index)  # where graphs are recorded
            round_convolutions(precision)
        return device

    def _device(self) -> torch.device:
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


def gains_by_bfloat16(device: torch.device) -> bool:
    """Whether convolutions on `device` are faster in bfloat16 than in float32.

    On a CPU: with AMX. By AVX-512's bfloat16 instructions they lose to float32 ones with a quarter
    of the products (Winograd's).
    """
    if device.type == "cpu":
        return bool(torch.cpu.get_capabilities().get("amx_bf16"))
    return computes_bfloat16(device)


def computes_bfloat16(device: torch.device) -> bool:
    """Whether `device` multiplies bfloat16 numbers itself: on a CPU by AVX-512 or AMX."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    has = torch.cpu.get_capabilities()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))


def round_convolutions(precision: Precision) -> None:
    """Let float32 convolutions on a GPU use TF32 where that is the `precision`, and only them.

    Matrix products, whitening's and resampling's among them, stay float32 in any case.
    """
    rounded = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = rounded
    # False alone leaves the choice to torch.backends.fp32_precision. PyTorch refuses to read the
    # old switch where the new ones say something else, or convolutions other than recurrences.
    for kind in ("conv", "rnn"):
        getattr(torch.backends.cudnn, kind).fp32_precision = "tf32" if rounded else "ieee"
