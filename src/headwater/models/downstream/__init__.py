"""Downstream: lean rankers that read features and served embeddings."""

from headwater.models.downstream.model import (
    ArmTask,
    Cost,
    RankerPlan,
    costs_of,
    fit_arm,
    predict_arm,
)
from headwater.models.downstream.networks import RANKERS, Ranker, SequenceSpec

__all__ = [
    "RANKERS",
    "ArmTask",
    "Cost",
    "Ranker",
    "RankerPlan",
    "SequenceSpec",
    "costs_of",
    "fit_arm",
    "predict_arm",
]
