"""Half precision where the processor has it: products in bfloat16, weights, sums and optimisers in float32."""

from __future__ import annotations

import torch
from torch import Tensor


def bfloat16_pays() -> bool:
    """Whether this processor multiplies bfloat16 natively (AVX512-BF16 or AMX); elsewhere it is emulated, and slower than float32."""
    return any(getattr(torch.cpu, name, bool)() for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))


def mixed(enabled: bool) -> torch.autocast:
    """A context for a forward pass and its loss; with `enabled` off everything stays float32."""
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled)


def narrowed(x: Tensor) -> Tensor:
    """`x` in bfloat16 inside a `mixed` context, so that what follows casts it once and not at every layer; as it is elsewhere."""
    return x.to(torch.bfloat16) if torch.is_autocast_enabled("cpu") and x.dtype == torch.float32 else x
