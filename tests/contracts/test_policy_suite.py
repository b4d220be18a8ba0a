"""Our own policies keep the contract, and are what their formulas say, written as plainly as can
be. By hand, and with compaction: lifecycle/test_policies.py.
"""

from __future__ import annotations

import pytest

from headwater.testing import PolicyContract
from headwater.testing.policies import EXPIRE_DAYS
from policy_twin import POLICIES, Twin


class TestPolicies(PolicyContract):
    @pytest.fixture(autouse=True, params=POLICIES, ids=str)
    def _named(self, request) -> None:
        self.raw = request.param
        self.in_hull = not request.param.get("renormalize")

    def make(self):
        return self.raw

    def twin(self, sights):
        twin = Twin(self.raw, EXPIRE_DAYS)
        for day, vector in sights:
            twin.day(day, {"it": vector})
        return twin.vector("it")
