"""Losses of an upstream model.

Shape suffixes: B rows, P positive rows, M further items, C = B + M candidates, U distinct
candidates, D width.
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
    """Further items of a softmax: vectors, keys, and the log of the chance that each is there."""

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

    Of a positive row with the user u and the item p, over the *distinct* items j beside p:

        -log( e^{u.p/tau - log Q(p)} / (e^{u.p/tau - log Q(p)} + sum_j e^{u.j/tau - log Q(j)}) )

    Q(j) is the chance that j is among the candidates at all. An item that stands m times in the
    batch is therefore one candidate, by its first row, and not m; else its score would be held down
    m - 1 times over. The positive's own vector is always the one of its own row. Corrected so,
    u.p/tau becomes log P(p | u) plus a constant of u, with popularity in it. Every row's item may
    be a negative, also of rows that are not positive. `more` negatives join those of the batch
    (mixed negative sampling, Yang et al. 2020); `log_q` is then of the two together.

    Source: Yi et al. 2019 and Bengio & Senecal 2008 for the correction; DERM for the loss.
    """
    rows_P = positive_B.nonzero(as_tuple=True)[0]
    if len(rows_P) == 0:
        return users_BD.sum() * 0
    keys_C, items_CD, log_q_C = item_keys_B, items_BD, log_q_B
    if more is not None:
        keys_C = torch.cat([item_keys_B, more.keys_M])
        items_CD = torch.cat([items_BD, more.items_MD])
        log_q_C = torch.cat([log_q_B, more.log_q_M])
    first_U, place_C = _distinct(keys_C)
    users_PD, place_P1 = users_BD[rows_P], place_C[rows_P, None]
    logits_PU = users_PD @ items_CD[first_U].T / temperature - log_q_C[first_U]
    own_P = (users_PD * items_BD[rows_P]).sum(1) / temperature - log_q_B[rows_P]
    logits_PU = logits_PU.scatter(1, place_P1, own_P[:, None].to(logits_PU.dtype))
    return nn.functional.cross_entropy(logits_PU, place_P1[:, 0])


def _distinct(keys_C: Tensor) -> tuple[Tensor, Tensor]:
    """Where each distinct key stands first, [U], and which of them each of the keys is, [C]."""
    distinct_U, place_C = keys_C.unique(return_inverse=True)
    rows_C = torch.arange(len(keys_C), device=keys_C.device)
    first_U = rows_C.new_full((len(distinct_U),), len(keys_C))
    return first_U.scatter_reduce(0, place_C, rows_C, "amin"), place_C


def mixed_log_q(log_q: Tensor, drawn: int, pool: int) -> Tensor:
    """log(1 - (1 - Q)(1 - m / N)), where m of a pool of N items are drawn beside the batch.

    They are drawn uniformly and without repetition. It is the log of the chance that an item is in
    the batch or in the draw (after Yang et al. 2020, who count how often it is there).
    """
    share = drawn / pool
    return (log_q.exp() * (1 - share) + share).log()


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
    """The chance that an item is in a batch, estimated from a stream of batches.

    Yi et al. 2019, algorithm 2, without its bias at the start. For each hash slot, seen in step t
    and before that in step A, a gap of t - A enters the moving average B of its gaps:
    B = (1 - a) B + a (t - A), from B = 0, and after n gaps Q = (1 - (1 - a)^n) / B. The first
    sighting is no gap; until there is one, Q is 1 / (steps so far), one sighting in all of them. A
    wait that has been longer than the mean gap counts as one more gap, so that what is no longer
    seen fades.

    Attributes, of each slot: `last` the step it was last seen in (int64, 0: never), `gaps` how many
    gaps there were (int64), `mean_gap` the average B (float32); `step` how many batches there were.
    """

    last: Tensor
    gaps: Tensor
    mean_gap: Tensor
    step: Tensor

    def __init__(self, slots: int, rate: float = 0.05) -> None:
        super().__init__()
        self.rate = rate
        self.register_buffer("last", torch.zeros(slots, dtype=torch.long))
        self.register_buffer("gaps", torch.zeros(slots, dtype=torch.long))
        self.register_buffer("mean_gap", torch.zeros(slots))
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def observe(self, slots_B: Tensor) -> Tensor:
        """Take in one batch; returns log Q, [B], of its rows."""
        self.step += 1
        distinct = slots_B.unique()
        again = distinct[self.last[distinct] > 0]
        waited = (self.step - self.last[again]).float()
        self.mean_gap[again] = (1 - self.rate) * self.mean_gap[again] + self.rate * waited
        self.gaps[again] += 1
        self.last[distinct] = self.step
        return self.log_q(slots_B)

    def log_q(self, slots: Tensor) -> Tensor:
        """log Q of some slots, of the same shape; -inf where one was never seen."""
        keep = 1 - self.rate
        gaps, average = self.gaps[slots], self.mean_gap[slots]
        waiting = (self.step - self.last[slots]).float()
        gap = average / (1 - keep ** gaps.clamp(min=1))
        overdue = (keep * average + self.rate * waiting) / (1 - keep ** (gaps + 1))
        gap = torch.where(waiting > gap, overdue, gap)
        gap = torch.where(gaps > 0, gap, self.step.clamp(min=1).float())
        return torch.where(self.last[slots] > 0, -gap.clamp(min=1).log(), -torch.inf)
