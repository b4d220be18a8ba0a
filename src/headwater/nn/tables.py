"""Embedding rows whose gradients and optimiser touch only the rows of the batch."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class RowTable(nn.Module):
    """`rows` vectors of `width` numbers, looked up by offset ids of any shape.

    In training, the distinct rows of a batch are taken out as one small leaf tensor, so that backward and the optimiser
    cost as much as the batch and not as much as the table.
    """

    weight: Tensor
    squares: Tensor

    def __init__(self, rows: int, width: int, scale: float = 0.05) -> None:
        super().__init__()
        self.register_buffer("weight", torch.randn(rows, width) * scale)
        self.register_buffer("squares", torch.zeros(rows))
        self._taken: list[tuple[Tensor, Tensor]] = []

    def forward(self, ids: Tensor) -> Tensor:
        """ids [...] -> vectors [..., width]."""
        if not (self.training and torch.is_grad_enabled()):
            return nn.functional.embedding(ids, self.weight)
        distinct, place = torch.unique(ids, return_inverse=True)
        taken = self.weight[distinct].requires_grad_()
        self._taken.append((distinct, taken))
        return nn.functional.embedding(place, taken)

    def pop_taken(self) -> list[tuple[Tensor, Tensor]]:
        taken, self._taken = self._taken, []
        return taken


class RowwiseAdagrad:
    """Adagrad with one accumulator a row: G_r += mean(g_r^2); w_r -= lr g_r / (sqrt(G_r) + eps). (DLRM; Naumov et al. 2019.)"""

    def __init__(self, tables: Iterable[RowTable], lr: float, eps: float = 1e-8) -> None:
        self.tables, self.lr, self.eps = list(tables), lr, eps

    @torch.no_grad()
    def step(self) -> None:
        for table in self.tables:
            for distinct, taken in table.pop_taken():
                if taken.grad is None:
                    continue
                squares = table.squares[distinct] + taken.grad.square().mean(dim=1)
                table.squares[distinct] = squares
                step = taken.grad * (self.lr / (squares.sqrt() + self.eps))[:, None]
                table.weight.index_add_(0, distinct, step, alpha=-1)
