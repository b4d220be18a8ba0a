"""Rehearsals: the factory as it would be under another policy, with other rankers, or with other
upstreams.
"""

from headwater.rehearsing.ablations import ablation_table, ablations
from headwater.rehearsing.contribution import contribution_table
from headwater.rehearsing.policies import T1_POLICIES, policy_table
from headwater.rehearsing.projections import projection_table
from headwater.rehearsing.rehearsals import days_of
from headwater.rehearsing.staleness import staleness_table
from headwater.rehearsing.subsets import subset_table

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
