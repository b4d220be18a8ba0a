"""Our own rankers keep the contract, and so do those that installed packages offer under the
entry-point group `headwater.ranker`.
"""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest

from headwater.models.downstream import RANKERS
from headwater.plugins import resolve
from headwater.testing import RankerContract


class TestRankers(RankerContract):
    @pytest.fixture(
        autouse=True,
        params=[*RANKERS, *(point.name for point in entry_points(group="headwater.ranker"))],
    )
    def _named(self, request) -> None:
        self.name = request.param

    def make(self, specs, config, embeddings, widths, sequence):
        made = resolve("headwater.ranker", RANKERS, self.name)
        return made(specs, config, embeddings, widths, sequence)
