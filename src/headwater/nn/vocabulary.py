"""A vocabulary that a model learns day by day. Shape suffix: B values."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Vocabulary(nn.Module):
    """Hashes to slots, as far as they are known: 0 is missing, 1 not known, 2... known values.

    Hashes are of 64 bits, as int64 (0: missing). A day's new values that come at least `min_count`
    times get the next free slots, the most frequent first, until `size` are known: the day's rows
    are `observe`d in as many pieces as one likes, then `learn`t.
    """

    hashes: Tensor  # ascending; what is free lies at the end
    slots: Tensor
    known: Tensor

    def __init__(self, size: int, min_count: int) -> None:
        super().__init__()
        self.min_count = min_count
        self.register_buffer("hashes", torch.full((size,), torch.iinfo(torch.int64).max))
        self.register_buffer("slots", torch.ones(size, dtype=torch.int64))
        self.register_buffer("known", torch.zeros((), dtype=torch.int64))
        self._counted: list[tuple[Tensor, Tensor]] = []

    @torch.no_grad()
    def observe(self, hashes_B: Tensor) -> None:
        """Count some values of a past day."""
        values, counts = torch.unique(hashes_B, return_counts=True)
        new = self(values) == 1
        self._counted.append((values[new], counts[new]))

    @torch.no_grad()
    def learn(self) -> None:
        """Admit the values counted since the last call."""
        if not self._counted:
            return
        found, tallies = (torch.cat(parts) for parts in zip(*self._counted, strict=True))
        self._counted = []
        values, place = torch.unique(found, return_inverse=True)
        counts = torch.zeros_like(values).index_add_(0, place, tallies)
        often = counts >= self.min_count
        self._admit(values[often], counts[often])

    def _admit(self, values: Tensor, counts: Tensor) -> None:
        """Give new values the free slots, the most frequent first, as far as these go."""
        begin = int(self.known)
        room = len(self.hashes) - begin
        chosen = values[torch.sort(counts, descending=True, stable=True).indices[:room]]
        end = begin + len(chosen)
        self.hashes[begin:end] = chosen
        self.slots[begin:end] = torch.arange(begin, end, device=chosen.device) + 2
        order = torch.sort(self.hashes, stable=True).indices
        self.hashes.copy_(self.hashes[order])
        self.slots.copy_(self.slots[order])
        self.known += len(chosen)

    def forward(self, hashes: Tensor) -> Tensor:
        place = torch.searchsorted(self.hashes, hashes.contiguous()).clamp(max=len(self.hashes) - 1)
        slots = torch.where(self.hashes[place] == hashes, self.slots[place], 1)
        return torch.where(hashes == 0, 0, slots)
