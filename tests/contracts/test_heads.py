"""Our own heads keep the contract, and so do those that installed packages offer under the
entry-point group `headwater.head`. What is each head's own: test_nn_upstream.py.
"""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest

from headwater.nn.heads import HEADS
from headwater.plugins import resolve
from headwater.testing import HeadContract


class TestHeads(HeadContract):
    @pytest.fixture(
        autouse=True,
        params=[*HEADS, *(point.name for point in entry_points(group="headwater.head"))],
    )
    def _named(self, request) -> None:
        self.name = request.param

    def make(self, width, hidden, tasks, experts):
        return resolve("headwater.head", HEADS, self.name)(width, hidden, tasks, experts)
