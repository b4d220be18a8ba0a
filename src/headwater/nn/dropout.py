"""Dropout whose masks follow from a seed: a member of a `Stack` drops what it would alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

# SplitMix64 (Steele et al. 2014), as signed numbers of 64 bits
STEP = 0x9E3779B97F4A7C15 - (1 << 64)
FIRST = 0xBF58476D1CE4E5B9 - (1 << 64)
SECOND = 0x94D049BB133111EB - (1 << 64)
LEVELS = 1 << 24


class SeededDropout(nn.Module):
    """Zero a share of the numbers in training and scale the others up (Srivastava et al. 2014).

    The mask of a pass is a hash of `seed`, the number of passes since `begin`, and the place.
    """

    seed: Tensor
    passes: Tensor

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.register_buffer("seed", torch.zeros((), dtype=torch.int64), persistent=False)
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64), persistent=False)

    def begin(self, seeds: Sequence[int]) -> None:
        """The passes to come are those of these seeds: one, or one for each member of a stack."""
        self.seed.copy_(torch.tensor(seeds, dtype=torch.int64).view_as(self.seed))
        self.passes.zero_()

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.share == 0:
            return x
        self.passes += 1
        begun = _mixed(self.seed * LEVELS + self.passes)
        places = torch.arange(x.numel(), device=x.device).view(x.shape)
        levels = _mixed(places + begun) & (LEVELS - 1)
        kept = levels >= round(self.share * LEVELS)
        return x * kept / (1 - self.share)


def _mixed(values: Tensor) -> Tensor:
    """SplitMix64's finaliser, int64 -> int64, a bijection."""
    z = values * STEP
    z = (z ^ _shifted(z, 30)) * FIRST
    z = (z ^ _shifted(z, 27)) * SECOND
    return z ^ _shifted(z, 31)


def _shifted(values: Tensor, bits: int) -> Tensor:
    """Shifted to the right, with zeros from the left."""
    return (values >> bits) & ((1 << (64 - bits)) - 1)
