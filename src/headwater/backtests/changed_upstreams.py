"""Ablations: the declared upstreams with one thing changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from headwater.config import AnyUpstreamConfig, DhenConfig, UpstreamConfig

Upstreams = Mapping[str, AnyUpstreamConfig]
ONE_BLOCK = ("mlp", "masknet", "transformer", "dcn")


def ablations(upstreams: Upstreams) -> dict[str, Upstreams]:
    """The declared upstreams with one thing other in each that is a DERM model, by what that is;
    those of other kinds stay as they are.
    """
    models = {name: spec for name, spec in upstreams.items() if isinstance(spec, UpstreamConfig)}
    if not models:
        return {}

    def each(change: Callable[[UpstreamConfig], dict[str, object]]) -> Upstreams:
        changed = {name: spec.model_copy(update=change(spec)) for name, spec in models.items()}
        return {**upstreams, **changed}

    first = next(iter(models.values()))
    contrastive = any(spec.contrastive_weight for spec in models.values())
    loss = "no contrastive loss" if contrastive else "with the contrastive loss"
    weight = 0.0 if contrastive else 0.1
    found = {loss: each(lambda _: {"contrastive_weight": weight})}
    over = "no overtower" if first.overtower else "with an overtower"
    found[over] = each(lambda _: {"overtower": not first.overtower})
    for block in ONE_BLOCK:
        found[f"DHEN of {block} only"] = each(partial(_of_one_block, block))
    ids = "no ids (content only)" if first.ids else "with ids"
    found[ids] = each(lambda _: {"ids": not first.ids})
    if len(models) > 1 and len(models) == len(upstreams):
        found["one unified upstream"] = {"unified": _unified(models)}
    return {name: changed for name, changed in found.items() if changed != dict(upstreams)}


def _of_one_block(block: str, spec: UpstreamConfig) -> dict[str, object]:
    layers = ((block,),) * len(spec.dhen.layers)
    return {"dhen": DhenConfig(**spec.dhen.model_dump() | {"layers": layers})}


def _unified(models: Mapping[str, UpstreamConfig]) -> UpstreamConfig:
    """One model of all tasks, with the settings of the first, and the most epochs and contrastive
    weight of any.
    """
    specs = list(models.values())
    tasks = dict.fromkeys(task for spec in specs for task in spec.tasks)
    content = dict.fromkeys(entity for spec in specs for entity in spec.content_vectors)
    return specs[0].model_copy(
        update={
            "tasks": tuple(tasks),
            "content_vectors": tuple(content),
            "epochs": max(spec.epochs for spec in specs),
            "contrastive_weight": max(spec.contrastive_weight for spec in specs),
            "whole_space": (),
        }
    )
