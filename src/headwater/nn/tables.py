"""Embedding rows whose gradients and optimiser touch only the rows of the batch.

Shape suffixes: U distinct rows of a batch, E width.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


class RowTable(nn.Module):
    """`rows` vectors of `width` numbers, looked up by offset ids of any shape.

    Backward leaves what reached each look-up aside, so that it and the optimiser cost as much as
    the batch and not as much as the table. A row that a batch reads several times, in one look-up
    or in many, gets the sum of its gradients. `start` is the row of id 0: several tables in one
    (see `Stack`) begin at rows of their own.
    """

    weight: Tensor
    squares: Tensor
    start: Tensor

    def __init__(self, rows: int, width: int, scale: float = 0.05) -> None:
        super().__init__()
        self.register_buffer("weight", torch.empty(rows, width).normal_(0, scale))
        self.register_buffer("squares", torch.zeros(rows))
        self.register_buffer("start", torch.zeros((), dtype=torch.int64), persistent=False)
        self._reached: list[tuple[Tensor, Tensor]] = []
        self._door = torch.zeros(0, requires_grad=True)  # lets autograd in; holds nothing

    def forward(self, ids: Tensor) -> Tensor:
        """ids [...] -> vectors [..., width]."""
        rows = ids + self.start
        if not (self.training and torch.is_grad_enabled()):
            return nn.functional.embedding(rows, self.weight)
        found: Tensor = _LookUp.apply(self._door, rows, self)  # type: ignore[no-untyped-call]
        return found

    def reach(self, ids: Tensor, gradient: Tensor) -> None:
        self._reached.append((ids.reshape(-1), gradient.reshape(-1, self.weight.shape[1])))

    def pop_gradients(self) -> tuple[Tensor, Tensor] | None:
        """Distinct rows [U], ascending, and the gradient of each [U, width] since the last call.

        None where no row was reached.
        """
        reached, self._reached = self._reached, []
        if not reached:
            return None
        ids = torch.cat([ids for ids, _ in reached]) if len(reached) > 1 else reached[0][0]
        if len(self.weight) < 1 << 31:
            ids = ids.int()  # sorts in half the time
        distinct, place = torch.unique(ids, return_inverse=True)
        total = self.weight.new_zeros(len(distinct), self.weight.shape[1])
        first = 0
        for _, gradient in reached:
            total.index_add_(0, place[first : first + len(gradient)], gradient)
            first += len(gradient)
        return distinct.long(), total


class _LookUp(torch.autograd.Function):
    @staticmethod
    def forward(_door: Tensor, rows: Tensor, table: RowTable) -> Tensor:
        return nn.functional.embedding(rows, table.weight)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, _output: Any) -> None:
        _, ctx.rows, ctx.table = inputs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None, None]:
        ctx.table.reach(ctx.rows, gradients[0])
        return None, None, None

    @staticmethod
    def vmap(
        _info: Any, in_dims: tuple[Any, ...], door: Tensor, rows: Tensor, table: RowTable
    ) -> tuple[Tensor, int]:
        # the rows of several tables in one: looked up in one go
        rows = rows.movedim(in_dims[1], 0)
        return _LookUp.apply(door, rows, table), 0  # type: ignore[no-untyped-call]


class RowwiseAdagrad:
    """Adagrad with one accumulator a row: G_r += mean(g_r^2); w_r -= lr g_r / (sqrt(G_r) + eps).

    As in DLRM (Naumov et al. 2019).
    """

    def __init__(self, tables: Iterable[RowTable], lr: float, eps: float = 1e-8) -> None:
        self.tables = list(tables)
        self.lr = lr
        self.eps = eps

    @torch.no_grad()
    def step(self) -> None:
        for table in self.tables:
            found = table.pop_gradients()
            if found is None:
                continue
            rows_U, gradient_UE = found
            squares_U = table.squares.index_select(0, rows_U).add_(gradient_UE.square().mean(dim=1))
            table.squares.index_copy_(0, rows_U, squares_U)
            scale_U = squares_U.sqrt_().add_(self.eps).reciprocal_().mul_(-self.lr)
            table.weight.index_add_(0, rows_U, gradient_UE.mul_(scale_U[:, None]))
