"""Losses of an upstream model. Shape suffixes: B rows, P positive rows, D width."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def masked_bce(logits_B: Tensor, labels_B: Tensor) -> Tensor:
    """Mean binary cross-entropy over the rows whose label is not NaN (0 where there is none)."""
    defined = ~labels_B.isnan()
    losses = nn.functional.binary_cross_entropy_with_logits(logits_B, labels_B.nan_to_num(), reduction="none")
    return (losses * defined).sum() / defined.sum().clamp(min=1)


def contrastive_loss(
    users_BD: Tensor, items_BD: Tensor, item_keys_B: Tensor, positive_B: Tensor, log_q_B: Tensor, temperature: float
) -> Tensor:
    """In-batch sampled softmax with logQ correction (Yi et al. 2019; DERM), averaged over positive rows:

        -log( e^{u.p/tau - log Q(p)} / (e^{u.p/tau - log Q(p)} + sum_j e^{u.p_j/tau - log Q(p_j)}) )

    Every row's item may be a negative, also of rows that are not positive; other rows with the positive's own item
    (accidental hits) are masked.
    """
    rows_P = positive_B.nonzero(as_tuple=True)[0]
    if len(rows_P) == 0:
        return users_BD.sum() * 0
    logits_PB = users_BD[rows_P] @ items_BD.T / temperature - log_q_B
    hits_PB = item_keys_B[rows_P, None] == item_keys_B[None, :]
    hits_PB[torch.arange(len(rows_P)), rows_P] = False
    return nn.functional.cross_entropy(logits_PB.masked_fill(hits_PB, -torch.inf), rows_P)


class StreamingFrequency(nn.Module):
    """How often an item comes up in a batch, estimated from a stream (Yi et al. 2019, algorithm 2).

    For each hash slot: A = the last step it was seen in, B = (1 - a) B + a (t - A), the mean gap; Q = 1 / B.
    """

    last: Tensor
    gap: Tensor
    step: Tensor

    def __init__(self, slots: int, rate: float = 0.05) -> None:
        super().__init__()
        self.rate = rate
        self.register_buffer("last", torch.zeros(slots))
        self.register_buffer("gap", torch.zeros(slots))
        self.register_buffer("step", torch.zeros(()))

    @torch.no_grad()
    def observe(self, slots_B: Tensor) -> Tensor:
        """Take in one batch; returns log Q, [B], of its rows."""
        self.step += 1
        distinct = slots_B.unique()
        waited, known = self.step - self.last[distinct], self.gap[distinct] > 0
        smoothed = (1 - self.rate) * self.gap[distinct] + self.rate * waited
        self.gap[distinct] = torch.where(known, smoothed, waited)
        self.last[distinct] = self.step
        return -self.gap[slots_B].clamp(min=1).log()
