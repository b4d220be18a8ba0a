"""Names of embeddings, and of the variants of a ranker that read them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from headwater.config.raw import get, items, keys, strings

NONE = "none"
SHUFFLED = "shuffled"
TOWERS = ("user", "item")


def embedding_names(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """`UPSTREAM_ENTITY` for every upstream and each entity of its tasks' logs, as declared."""
    return tuple(
        f"{upstream}_{entity}"
        for upstream, spec in items(raw, "upstreams")
        for entity in upstream_entities(raw, spec)
    )


def upstream_entities(raw: Mapping[str, Any], spec: Any) -> tuple[str, ...]:
    """The entities that have vectors: a log may name more, only these two may have any; an upstream
    may say which of them it embeds.
    """
    found: set[str] = set()
    for task in strings(get(spec, "tasks")):
        log = get(raw, "tasks", task, "log")
        found.update(keys(get(raw, "logs", log, "entities")))
    wanted = strings(get(spec, "entities")) or TOWERS
    return tuple(entity for entity in TOWERS if entity in found and entity in wanted)


def split_variant(name: str) -> list[tuple[str, str]]:
    """What a variant reads, leaves out, and shuffles.

    `all-ctr_user~cvr_item` -> [("", "all"), ("-", "ctr_user"), ("~", "cvr_item")].
    """
    pieces = re.split(r"([+~-])", name)
    return [("", pieces[0]), *zip(pieces[1::2], pieces[2::2], strict=True)]


def read_by(
    variant: str, embeddings: Sequence[str]
) -> tuple[list[str], tuple[frozenset[str], frozenset[str]]]:
    """What is wrong with a variant's name, and (what it reads, what of this is shuffled)."""
    (_, base), *changes = split_variant(variant)
    whole = base in ("none", "all", SHUFFLED)
    reads = set(embeddings) if base in ("all", SHUFFLED) else set[str]()
    shuffled = set(reads) if base == SHUFFLED else set[str]()
    if not whole:
        reads = {base}
        changes = [("", base), *changes]
    faults: list[str] = []
    for sign, part in changes:
        fault = _fault(sign, part, embeddings, reads, shuffled)
        if fault is not None:
            faults.append(fault)
        elif sign == "-":
            reads.discard(part)
        elif sign == "~":
            shuffled.add(part)
        else:
            reads.add(part)
    if whole and base != "none" and not reads:
        faults.append("nothing is left to read; that is the variant none")
    return faults, (frozenset(reads), frozenset(shuffled & reads))


def _fault(
    sign: str, part: str, embeddings: Sequence[str], reads: set[str], shuffled: set[str]
) -> str | None:
    """What is wrong with one part of a variant's name, after the parts before it."""
    if part not in embeddings:
        return (
            f"no embedding named {part!r}; declared: {', '.join(embeddings) or 'none'}. A"
            " variant is none, all, shuffled, or names joined by +; then -NAME leaves one out,"
            " and ~NAME shuffles one"
        )
    if sign == "+" and part in reads:
        return f"{part} is read already"
    if sign == "-" and part not in reads:
        return f"{part} cannot be left out, for the variant does not read it"
    if sign == "~" and (part not in reads or part in shuffled):
        as_it_is = " as it is" if part in shuffled else ""
        return f"{part} cannot be shuffled, for the variant does not read it{as_it_is}"
    return None


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
