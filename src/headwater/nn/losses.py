"""Losses of an upstream model.

Shape suffixes: B rows, P positive rows, M further items, C = B + M candidates, D width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


def masked_bce(logits_B: Tensor, labels_B: Tensor) -> Tensor:
    """Mean binary cross-entropy over the rows whose label is not NaN (0 where there is none).

    Of [S, B], that of each of S models.
    """
    defined = ~labels_B.isnan()
    losses = nn.functional.binary_cross_entropy_with_logits(
        logits_B, labels_B.nan_to_num(), reduction="none"
    )
    return (losses * defined).sum(-1) / defined.sum(-1).clamp(min=1)


class Negatives(NamedTuple):
    """Further items of a softmax: vectors, keys, and log of how often each is a candidate."""

    items_MD: Tensor
    keys_M: Tensor
    log_q_M: Tensor


def contrastive_loss(
    users_BD: Tensor,
    items_BD: Tensor,
    item_keys_B: Tensor,
    positive_B: Tensor,
    log_q_B: Tensor,
    temperature: float | Tensor,
    more: Negatives | None = None,
) -> Tensor:
    """In-batch sampled softmax with logQ correction, averaged over positive rows.

    Yi et al. 2019; DERM. Of a positive row with the user u and the item p:

        -log( e^{u.p/tau - log Q(p)} / (e^{u.p/tau - log Q(p)} + sum_j e^{u.p_j/tau - log Q(p_j)}) )

    Every row's item may be a negative, also of rows that are not positive; other candidates that
    are the positive's own item (accidental hits) are masked. `more` negatives join those of the
    batch (mixed negative sampling, Yang et al. 2020).
    """
    rows_P = positive_B.nonzero(as_tuple=True)[0]
    if len(rows_P) == 0:
        return users_BD.sum() * 0
    keys = item_keys_B
    log_q = log_q_B
    if more is not None:
        items_BD = torch.cat([items_BD, more.items_MD])
        keys = torch.cat([keys, more.keys_M])
        log_q = torch.cat([log_q, more.log_q_M])
    logits_PC = users_BD[rows_P] @ items_BD.T / temperature - log_q
    hits_PC = item_keys_B[rows_P, None] == keys[None, :]
    hits_PC[torch.arange(len(rows_P)), rows_P] = False
    return nn.functional.cross_entropy(logits_PC.masked_fill(hits_PC, -torch.inf), rows_P)


def mixed_log_q(log_q: Tensor, uniform: int, pool: int) -> Tensor:
    """log(Q + m / N), where m of a pool of N items are drawn uniformly beside the batch.

    It is the log of how often an item is a candidate (Yang et al. 2020).
    """
    return torch.logaddexp(log_q, log_q.new_tensor(uniform / pool).log())


def whole_space_bce(given_B: Tensor, logits_B: Tensor, labels_B: Tensor) -> Tensor:
    """ESMM (Ma et al. 2018): mean cross-entropy of sigmoid(given) * sigmoid(logit) over all rows.

    Rows where what it is given did not happen (label NaN) are negatives. For conversions: pCTCVR =
    pCTR * pCVR over all impressions.
    """
    log_p = nn.functional.logsigmoid(given_B) + nn.functional.logsigmoid(logits_B)
    log_not = torch.log(-torch.expm1(log_p.clamp(max=-1e-7)))
    labels = labels_B.nan_to_num()
    return -(labels * log_p + (1 - labels) * log_not).mean()


class StreamingFrequency(nn.Module):
    """How often an item comes up in a batch, estimated from a stream (Yi et al. 2019, algorithm 2).

    For each hash slot, A = B = 0 at first; seen in step t: B = (1 - a) B + a (t - A), A = t: the
    mean gap between two batches with it; Q = 1 / B.
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
        waited = self.step - self.last[distinct]
        self.gap[distinct] = (1 - self.rate) * self.gap[distinct] + self.rate * waited
        self.last[distinct] = self.step
        return self.log_q(slots_B)

    def log_q(self, slots: Tensor) -> Tensor:
        """log Q of some slots, of the same shape; -inf where one was never seen."""
        gap = self.gap[slots]
        return torch.where(gap > 0, -gap.clamp(min=1).log(), -torch.inf)
