"""Backtests: the factory as it would be under another policy, with other rankers, or with other
upstreams.
"""

from headwater.backtests.ablations import ablation_table, ablations
from headwater.backtests.backtest import days_of
from headwater.backtests.contribution import contribution_table
from headwater.backtests.policies import T1_POLICIES, policy_table
from headwater.backtests.projections import projection_table
from headwater.backtests.staleness import staleness_table
from headwater.backtests.subsets import subset_table

__all__ = [
    "T1_POLICIES",
    "ablation_table",
    "ablations",
    "contribution_table",
    "days_of",
    "policy_table",
    "projection_table",
    "staleness_table",
    "subset_table",
]
