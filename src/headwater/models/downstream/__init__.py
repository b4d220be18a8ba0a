"""Downstream: lean rankers that read features and served embeddings."""

from headwater.models.downstream.model import (
    Cost,
    RankerPlan,
    VariantTask,
    costs_of,
    fit_variant,
    predict_variant,
)
from headwater.models.downstream.networks import RANKERS, Ranker, SequenceSpec

__all__ = [
    "RANKERS",
    "Cost",
    "Ranker",
    "RankerPlan",
    "SequenceSpec",
    "VariantTask",
    "costs_of",
    "fit_variant",
    "predict_variant",
]
