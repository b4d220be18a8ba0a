"""Rehearsals: the factory as it would be under another policy, or read by other rankers. T1, T4, every subset of T2, contribution, staleness."""

from headwater.rehearsing.contribution import contribution_table
from headwater.rehearsing.policies import T1_POLICIES, policy_table
from headwater.rehearsing.projections import projection_table
from headwater.rehearsing.rehearsals import days_of
from headwater.rehearsing.staleness import staleness_table
from headwater.rehearsing.subsets import subset_table

__all__ = ["T1_POLICIES", "contribution_table", "days_of", "policy_table", "projection_table", "staleness_table", "subset_table"]
