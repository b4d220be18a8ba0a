"""Downstream: lean rankers that read features and served embeddings."""

from headwater.models.downstream.model import ArmTask, RankerPlan, fit_arm, predict_arm
from headwater.models.downstream.networks import RANKERS, Ranker

__all__ = ["RANKERS", "ArmTask", "Ranker", "RankerPlan", "fit_arm", "predict_arm"]
