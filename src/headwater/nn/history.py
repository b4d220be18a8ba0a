"""A history of ids with actions and times into tokens.

Towers read it without a look at the candidate, rankers with it. Shape suffixes: B rows, L events, E
width of a token, Q queries, T = L + 1.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from headwater.nn.blocks import TransformerBlock
from headwater.nn.tables import RowTable

GAP_BUCKETS = 24  # powers of two of minutes; the last is "unknown"


class HistoryTensors(NamedTuple):
    """The last L events of B rows, newest first.

    Slots are of ids (0: none), actions are bit masks, gaps are seconds ago (NaN: unknown).
    """

    slots_BL: Tensor
    actions_BL: Tensor
    gaps_s_BL: Tensor

    def rows(self, index: Tensor) -> HistoryTensors:
        return HistoryTensors(self.slots_BL[index], self.actions_BL[index], self.gaps_s_BL[index])


class EventEmbedding(nn.Module):
    """Event = id + action + gap embeddings, normalised.

    The id table comes from outside, so that it can be the very one through which the rest of a
    model knows those ids.
    """

    def __init__(self, actions: int, width: int) -> None:
        super().__init__()
        self.action = nn.Embedding(1 << actions, width)
        self.gap = nn.Embedding(GAP_BUCKETS, width)
        for table in (self.action, self.gap):
            # as large as an id's vector, or the sum would drown it
            nn.init.normal_(table.weight, std=0.05)
        self.norm = nn.LayerNorm(width)

    def events(self, x: HistoryTensors, ids: RowTable) -> Tensor:
        """[B, L, E]; what stands for no event is to be masked."""
        minutes = (x.gaps_s_BL / 60).clamp(min=1).log2().floor()
        known = minutes.clamp(max=GAP_BUCKETS - 2)
        buckets = torch.where(minutes.isnan(), GAP_BUCKETS - 1, known).long()
        total = ids(x.slots_BL) + self.action(x.actions_BL.long()) + self.gap(buckets)
        out: Tensor = self.norm(total)
        return out


class HistoryTokens(EventEmbedding):
    """Learned queries attend over the events, a token each; one token more holds counts.

    The counts are of the events, and of how often each action was taken. Without a look at the
    candidate: [B, queries + 1, E].
    """

    def __init__(self, actions: int, width: int, queries: int = 3) -> None:
        super().__init__(actions, width)
        self.actions = actions
        self.tokens = queries + 1
        self.keys = nn.Linear(width, width)
        self.values = nn.Linear(width, width)
        self.queries_QE = nn.Parameter(torch.randn(queries, width) / width**0.5)
        self.counts = nn.Linear(1 + actions, width)

    def forward(self, x: HistoryTensors, ids: RowTable) -> Tensor:
        events_BLE = self.events(x, ids)
        present_BL = x.slots_BL != 0
        scores_BQL = torch.einsum("qe,ble->bql", self.queries_QE, self.keys(events_BLE))
        scores_BQL = scores_BQL.masked_fill(~present_BL[:, None], -1e9)
        weights_BQL = scores_BQL.softmax(-1) * present_BL[:, None]  # all zero for an empty history
        pooled_BQE = weights_BQL @ self.values(events_BLE)
        counts_BE = self.counts(self._figures(x, present_BL))
        return torch.cat([pooled_BQE, counts_BE.unsqueeze(1)], dim=1)

    def _figures(self, x: HistoryTensors, present_BL: Tensor) -> Tensor:
        """Log of the number of events, and the shrunk rate of each action, about as large as 1."""
        seen = present_BL.sum(1, keepdim=True).float()
        taken = [
            (((x.actions_BL.long() >> bit) & 1) * present_BL).sum(1, keepdim=True)
            for bit in range(self.actions)
        ]
        rates = [(count + 1) / (seen + 2) - 0.5 for count in taken]
        return torch.cat([seen.log1p() / 4, *(4 * rate for rate in rates)], dim=1)


class SequenceEncoder(EventEmbedding):
    """A Transformer over the candidate and the events before it (BST; Chen et al. 2019).

    A candidate [B, E] becomes [B, 2, E]: what it has become among the events, and the events' mean
    (zero where there are none).
    """

    TOKENS = 2

    def __init__(self, actions: int, width: int, length: int, layers: int, heads: int) -> None:
        super().__init__(actions, width)
        # order tells more than the gaps where those are not known
        self.places = nn.Parameter(torch.randn(length, width) * 0.05)
        tokens = length + 1
        self.layers = nn.ModuleList(
            TransformerBlock(tokens, tokens, width, 2 * width, heads) for _ in range(layers)
        )
        for layer in self.layers:  # attention begins as torch's own does
            assert isinstance(layer, TransformerBlock)
            nn.init.xavier_uniform_(layer.qkv.weight)
            nn.init.zeros_(layer.qkv.bias)
            nn.init.zeros_(layer.out.bias)

    def forward(self, x: HistoryTensors, ids: RowTable, candidate_BE: Tensor) -> Tensor:
        events_BLE = self.events(x, ids) + self.places[: x.slots_BL.shape[1]]
        absent_BL = x.slots_BL == 0
        there_BT = torch.cat([torch.ones_like(absent_BL[:, :1]), ~absent_BL], dim=1)
        out_BTE = torch.cat([candidate_BE.unsqueeze(1), events_BLE], dim=1)
        for layer in self.layers:
            out_BTE = layer(out_BTE, there_BT)
        present_BL1 = (~absent_BL).unsqueeze(2).float()
        mean_BE = (out_BTE[:, 1:] * present_BL1).sum(1) / present_BL1.sum(1).clamp(min=1)
        return torch.stack([out_BTE[:, 0], mean_BE], dim=1)
