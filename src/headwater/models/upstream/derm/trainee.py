"""What is trained of an upstream, and saved: the network, and how often items come up."""

from __future__ import annotations

import torch

from headwater.models.upstream.derm.network import Derm
from headwater.models.upstream.derm.plan import DermPlan, sizes_of
from headwater.nn import StreamingFrequency


class Trainee(torch.nn.Module):
    """The network and, of each log, the estimate of how often items come up in its batches; saved
    together.
    """

    def __init__(self, plan: DermPlan) -> None:
        super().__init__()
        sizes = sizes_of(plan.config)
        self.derm = Derm(plan.specs, plan.contexts, plan.histories, plan.tasks, plan.config, sizes)
        self.frequencies = torch.nn.ModuleList(
            StreamingFrequency(sizes.id_buckets + 1) for _ in plan.logs
        )
        self.logs = plan.logs

    def frequency_of(self, log: str) -> StreamingFrequency:
        return self.frequencies[self.logs.index(log)]  # type: ignore[return-value]

    @property
    def steps(self) -> int:
        """Batches learnt since the space began."""
        return sum(int(frequency.step) for frequency in self.frequencies)  # type: ignore[misc, arg-type]
