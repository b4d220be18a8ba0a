"""A history of ids with actions and times into tokens, without looking at the target item (towers stay decoupled)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from headwater.nn.tables import RowTable

GAP_BUCKETS = 24  # powers of two of minutes; the last is "unknown"


class HistoryTensors(NamedTuple):
    """For B rows the last L events, newest first: id slots (0: none), action bit masks, seconds ago (NaN: unknown)."""

    slots_BL: Tensor
    actions_BL: Tensor
    gaps_s_BL: Tensor

    def rows(self, index: Tensor) -> HistoryTensors:
        return HistoryTensors(self.slots_BL[index], self.actions_BL[index], self.gaps_s_BL[index])


class HistoryTokens(nn.Module):
    """Event = id + action + gap embeddings; `queries` learned queries attend over the events, one token each, and one
    token more holds how many events there are and how often each action was taken. The id table comes from outside, so
    that it can be the very one through which the other tower knows those ids."""

    def __init__(self, actions: int, width: int, queries: int = 3) -> None:
        super().__init__()
        self.actions, self.tokens = actions, queries + 1
        self.action = nn.Embedding(1 << actions, width)
        self.gap = nn.Embedding(GAP_BUCKETS, width)
        for table in (self.action, self.gap):
            nn.init.normal_(table.weight, std=0.05)  # as large as an id's vector, or the sum would drown it
        self.norm = nn.LayerNorm(width)
        self.keys, self.values = nn.Linear(width, width), nn.Linear(width, width)
        self.queries_QE = nn.Parameter(torch.randn(queries, width) / width**0.5)
        self.counts = nn.Linear(1 + actions, width)

    def forward(self, x: HistoryTensors, ids: RowTable) -> Tensor:
        minutes = (x.gaps_s_BL / 60).clamp(min=1).log2().floor()
        buckets = torch.where(minutes.isnan(), GAP_BUCKETS - 1, minutes.clamp(max=GAP_BUCKETS - 2)).long()
        events_BLE = self.norm(ids(x.slots_BL) + self.action(x.actions_BL.long()) + self.gap(buckets))
        present_BL = x.slots_BL != 0
        scores_BQL = torch.einsum("qe,ble->bql", self.queries_QE, self.keys(events_BLE))
        scores_BQL = scores_BQL.masked_fill(~present_BL[:, None], -1e9)
        weights_BQL = scores_BQL.softmax(-1) * present_BL[:, None]  # all zero for an empty history
        pooled_BQE = weights_BQL @ self.values(events_BLE)
        return torch.cat([pooled_BQE, self.counts(self._figures(x, present_BL)).unsqueeze(1)], dim=1)

    def _figures(self, x: HistoryTensors, present_BL: Tensor) -> Tensor:
        seen = present_BL.sum(1, keepdim=True).float()
        taken = [(((x.actions_BL.long() >> bit) & 1) * present_BL).sum(1, keepdim=True) for bit in range(self.actions)]
        rates = [(count + 1) / (seen + 2) - 0.5 for count in taken]
        return torch.cat([seen.log1p() / 4, *(4 * rate for rate in rates)], dim=1)
