"""Heads: one representation of a row -> a logit per task.

Shape suffixes: B rows, F flat width, X experts, H hidden.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class SharedBottom(nn.Module):
    """Each task has two layers of its own on what all of them share (Caruana 1997)."""

    def __init__(self, width: int, hidden: int, tasks: Sequence[str], experts: int) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self.towers = nn.ModuleList(
            nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, 1)) for _ in tasks
        )

    def forward(self, x_BF: Tensor) -> dict[str, Tensor]:
        return {
            task: tower(x_BF).squeeze(1)
            for task, tower in zip(self.tasks, self.towers, strict=True)
        }


class Mmoe(nn.Module):
    """Multi-gate mixture of experts (Ma et al. 2018), a gate g_k and a tower h_k for each task.

    y_k = h_k(sum_i g_{k,i}(x) f_i(x)), with g_k = softmax(G_k x).
    """

    def __init__(self, width: int, hidden: int, tasks: Sequence[str], experts: int) -> None:
        super().__init__()
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(width, hidden), nn.ReLU()) for _ in range(experts)
        )
        self.tasks = tuple(tasks)
        self.gates = nn.ModuleList(nn.Linear(width, experts) for _ in tasks)
        self.towers = nn.ModuleList(nn.Linear(hidden, 1) for _ in tasks)

    def forward(self, x_BF: Tensor) -> dict[str, Tensor]:
        experts_BXH = torch.stack([expert(x_BF) for expert in self.experts], dim=1)
        mixed = [(gate(x_BF).softmax(1).unsqueeze(2) * experts_BXH).sum(1) for gate in self.gates]
        return {
            task: tower(mixed_BH).squeeze(1)
            for task, tower, mixed_BH in zip(self.tasks, self.towers, mixed, strict=True)
        }


HEADS: dict[str, type[nn.Module]] = {"shared_bottom": SharedBottom, "mmoe": Mmoe}
