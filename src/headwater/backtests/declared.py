"""The studies of this room: each runs the factory's days once more."""

from headwater.studies.registry import Study

T1 = Study("T1", "policies", "backtests", "headwater.backtests.policies:policy_study")
T2_SUBSETS = Study(
    "T2-subsets", "every subset", "backtests", "headwater.backtests.subsets:subset_study"
)
T3_SUBSETS = Study(
    "T3-subsets",
    "every subset",
    "backtests",
    "headwater.backtests.subsets:subset_study",
    consumer="cvr",
)
T4 = Study(
    "T4",
    "projection width",
    "backtests",
    "headwater.backtests.projections:projection_study",
    priced=True,
)
T2_UPSTREAM_SEEDS = Study(
    "T2-upstream-seeds",
    "T2 with the chance in training the upstreams",
    "backtests",
    "headwater.backtests.upstream_seeds:seeded_lift_study",
    reseeded="T2-upstream-seeds",
)
T7 = Study(
    "T7",
    "upstream ablations",
    "backtests",
    "headwater.backtests.ablations:ablation_study",
    reseeded="T7",
)
STALENESS = Study(
    "staleness",
    "what is left when the factory stands still",
    "backtests",
    "headwater.backtests.staleness:staleness_study",
)
CONTRIBUTION = Study(
    "contribution",
    "which embedding earns its bytes",
    "backtests",
    "headwater.backtests.contribution:contribution_study",
)
