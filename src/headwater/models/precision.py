"""Where and how precisely a model computes: the same code on a CPU and a GPU.

In float32 or, where that is asked for and pays, in bfloat16.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from headwater.errors import ModelError

Module = TypeVar("Module", bound=nn.Module)


def bfloat16_pays() -> bool:
    """Whether this processor multiplies bfloat16 natively (AVX512-BF16 or AMX).

    Elsewhere it is emulated, and slower than float32.
    """
    return any(
        getattr(torch.cpu, name, bool)()
        for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )


@dataclass(frozen=True)
class Precision:
    """A device, and whether its fast ways are taken. Weights, losses and vectors stay float32."""

    device: torch.device
    fast: bool

    @classmethod
    def of(cls, device: str, fast: bool) -> Precision:
        """From a device's name; `auto` is a GPU where there is one.

        Raises ModelError where a GPU is asked for and none is there.
        """
        there = torch.cuda.is_available()
        if device.startswith("cuda") and not there:
            raise ModelError(
                f"device {device!r}: torch sees no GPU. Set the upstream's `device` to cpu or auto,"
                " or install a CUDA build of torch."
            )
        if device == "auto":
            device = "cuda" if there else "cpu"
        return cls(torch.device(device), fast)

    @property
    def bfloat16(self) -> bool:
        """Whether the dense layers compute in bfloat16: asked for, and done by the hardware."""
        if not self.fast:
            return False
        if self.device.type == "cuda":
            return torch.cuda.is_bf16_supported()
        return bfloat16_pays()

    def autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16) if self.bfloat16 else nullcontext()

    def place(self, module: Module) -> Module:
        return module.to(self.device)

    def moved(self, tree: Any) -> Any:
        """The same named tuple, mapping, sequence or dataclass with its tensors on the device."""
        if self.device.type == "cpu":
            return tree
        if isinstance(tree, Tensor):
            return tree.to(self.device, non_blocking=True)
        if isinstance(tree, tuple) and hasattr(tree, "_fields"):
            return type(tree)(*map(self.moved, tree))
        if isinstance(tree, dict):
            return {key: self.moved(value) for key, value in tree.items()}
        if isinstance(tree, list | tuple):
            return type(tree)(map(self.moved, tree))
        if is_dataclass(tree) and not isinstance(tree, type):
            parts = {field.name: self.moved(getattr(tree, field.name)) for field in fields(tree)}
            return type(tree)(**parts)
        return tree
