"""Upstream: DERM models that turn a day's log into user and item vectors."""

from headwater.models.upstream.derm import Past
from headwater.models.upstream.embedding import embed_day, predict
from headwater.models.upstream.learning import fit_day
from headwater.models.upstream.plan import UpstreamPlan, UpstreamTask, sizes_of

__all__ = ["Past", "UpstreamPlan", "UpstreamTask", "embed_day", "fit_day", "predict", "sizes_of"]
