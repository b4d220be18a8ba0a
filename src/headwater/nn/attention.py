"""Attention that a `Stack` computes for all its members in one go.

Shape suffixes: S modules, B rows, H heads, Q queries, K keys, D width of a head.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import is_batchedtensor  # vmap has no public word for it
from torch.nn.functional import scaled_dot_product_attention


def attention(q_BHQD: Tensor, k_BHKD: Tensor, v_BHKD: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(D) + mask) v, [B, H, Q, D]."""
    if is_batchedtensor(q_BHQD):
        out: Tensor = _Folded.apply(q_BHQD, k_BHKD, v_BHKD, mask)  # type: ignore[no-untyped-call]
        return out
    return scaled_dot_product_attention(q_BHQD, k_BHKD, v_BHKD, attn_mask=mask)


class _Folded(torch.autograd.Function):
    """Attention of S modules as of S * B rows: torch's kernels know no further dimension."""

    @staticmethod
    def forward(*_parts: Tensor | None) -> Tensor:
        raise AssertionError("only vmap comes here")

    @staticmethod
    def setup_context(_ctx: Any, _inputs: Any, _output: Any) -> None:
        pass

    @staticmethod
    def backward(_ctx: Any, *_gradients: Tensor) -> Any:
        raise AssertionError("autograd knows the kernels inside")

    @staticmethod
    def vmap(info: Any, in_dims: Any, *parts: Tensor | None) -> tuple[Tensor, int]:
        folded = [
            None if part is None else _stacked(part, dim, info.batch_size).flatten(0, 1)
            for part, dim in zip(parts, in_dims, strict=True)
        ]
        out = attention(*folded)  # type: ignore[arg-type]
        return out.unflatten(0, (info.batch_size, -1)), 0


def _stacked(part: Tensor, dim: int | None, size: int) -> Tensor:
    """With the members' dimension first."""
    return part.expand(size, *part.shape) if dim is None else part.movedim(dim, 0)
