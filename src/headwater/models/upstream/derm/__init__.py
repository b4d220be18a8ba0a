"""DERM: multi-tower models that learn clicks and conversions (arXiv 2509.04337)."""

from headwater.models.upstream.derm.upstream import DermUpstream

__all__ = ["DermUpstream"]
