"""Upstream: DERM models that turn a day's log into user and item vectors."""

from headwater.models.upstream.model import UpstreamPlan, UpstreamTask, embed_day, fit_day, sizes_of

__all__ = ["UpstreamPlan", "UpstreamTask", "embed_day", "fit_day", "sizes_of"]
