"""Downstream: lean rankers that read features and served embeddings."""

from headwater.models.downstream.costs import Cost, costs_of
from headwater.models.downstream.learning import (
    Predicted,
    fall_back,
    fit_variant,
    learn_day,
    predict_day,
    predict_variant,
)
from headwater.models.downstream.networks import RANKERS, Ranker, SequenceSpec
from headwater.models.downstream.plan import RankerJob, RankerPlan, VariantTask, judged_rows
from headwater.models.downstream.standing import CHECKPOINT

__all__ = [
    "CHECKPOINT",
    "RANKERS",
    "Cost",
    "Predicted",
    "Ranker",
    "RankerJob",
    "RankerPlan",
    "SequenceSpec",
    "VariantTask",
    "costs_of",
    "fall_back",
    "fit_variant",
    "judged_rows",
    "learn_day",
    "predict_day",
    "predict_variant",
]
