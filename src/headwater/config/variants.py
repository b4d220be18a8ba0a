"""The variants of a ranker that are compared where none are declared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headwater.config.references import SHUFFLED, embedding_names, read_by


def default_variants(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """Without embeddings, with the first upstream's user vectors, with each upstream's own, with
    all, and all shuffled; of two that read the same, one.
    """
    names = embedding_names(raw)
    upstreams = dict.fromkeys(name.rsplit("_", 1)[0] for name in names)
    users = [name for name in names if name.endswith("_user")]
    own = ["+".join(n for n in names if n.rsplit("_", 1)[0] == upstream) for upstream in upstreams]
    variants: dict[object, str] = {}
    for name in ("none", "all", SHUFFLED, *users[:1], *own) if names else ("none",):
        variants.setdefault(read_by(name, names)[1], name)
    listed = [name for name in variants.values() if name not in ("none", "all", SHUFFLED)]
    return ("none", *listed, "all", SHUFFLED) if names else ("none",)


def with_default_variants(raw: Any) -> Any:
    """A raw config whose rankers all say which variants they compare."""
    rankers = raw.get("downstream") if isinstance(raw, Mapping) else None
    if not isinstance(rankers, Mapping):
        return raw

    def named(ranker: Any) -> Any:
        if not isinstance(ranker, Mapping) or ranker.get("variants"):
            return ranker
        return {**ranker, "variants": default_variants(raw)}

    return {**raw, "downstream": {name: named(ranker) for name, ranker in rankers.items()}}
