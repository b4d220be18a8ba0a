"""Upstream: kinds of models that turn a day's logs into user and item vectors."""

from headwater.models.upstream.base import (
    Declared,
    Needs,
    Upstream,
    UpstreamJob,
    UpstreamPlan,
    UpstreamResult,
)
from headwater.models.upstream.kinds import UPSTREAMS, kind_of
from headwater.models.upstream.plans import plan_of, plans_of, widths_of

__all__ = [
    "UPSTREAMS",
    "Declared",
    "Needs",
    "Upstream",
    "UpstreamJob",
    "UpstreamPlan",
    "UpstreamResult",
    "kind_of",
    "plan_of",
    "plans_of",
    "widths_of",
]
