"""What names point at one another, and which point nowhere. All work on a raw, possibly faulty,
mapping.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from headwater.config.models import SIZES, UpstreamConfig

SHUFFLED = "shuffled"
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
TOWERS = ("user", "item")


def embedding_names(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """`UPSTREAM_ENTITY` for every upstream and each entity of its tasks' logs, in
    declared order.
    """
    names: list[str] = []
    for upstream, spec in _items(raw, "upstreams"):
        for entity in upstream_entities(raw, spec):
            names.append(f"{upstream}_{entity}")
    return tuple(names)


def upstream_entities(raw: Mapping[str, Any], spec: Any) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for task in _strings(_get(spec, "tasks")):
        log = _get(_get(_get(raw, "tasks"), task), "log")
        found.update(dict.fromkeys(_keys(_get(_get(_get(raw, "logs"), log), "entities"))))
    wanted = _strings(_get(spec, "entities")) or TOWERS
    # A log may name more; only these two have vectors.
    return tuple(entity for entity in TOWERS if entity in found and entity in wanted)


def broken_references(raw: Mapping[str, Any]) -> Iterator[str]:
    """Every name that points nowhere, as 'path: problem'. Works on a raw, possibly faulty,
    mapping.
    """
    logs, entities, tasks = (_keys(_get(raw, part)) for part in ("logs", "entities", "tasks"))
    for part in ("logs", "entities", "histories", "tasks", "upstreams", "downstream"):
        for name, _ in _items(raw, part):
            if not NAME.fullmatch(name) or (part == "upstreams" and name == "downstream"):
                yield (
                    f"{part}.{name}: not a usable name; begin with a letter, then letters, digits"
                    " and _ (and `downstream` is taken)"
                )
    for name, log in _items(raw, "logs"):
        for entity in _keys(_get(log, "entities")):
            yield from _expect(entity, entities, f"logs.{name}.entities.{entity}", "entity")
    for name, entity_spec in _items(raw, "entities"):
        if _get(entity_spec, "table") and not _get(entity_spec, "key"):
            yield (
                f"entities.{name}.key: a table needs a key column; name the column that holds the"
                f" {name} id"
            )
        if _get(entity_spec, "features") and not _get(entity_spec, "table"):
            yield f"entities.{name}.table: features are declared but no table to read them from"
    owned: set[tuple[Any, Any]] = set()
    for name, history in _items(raw, "histories"):
        owner = _get(history, "entity") or name
        yield from _expect(owner, entities, f"histories.{name}.entity", "entity")
        if (owner, _get(history, "log")) in owned:
            yield (
                f"histories.{name}: a second history of {owner!r} in the log"
                f" {_get(history, 'log')!r}; one is read"
            )
        owned.add((owner, _get(history, "log")))
        yield from _broken_history(raw, name, owner, history)
        yield from _expect(_get(history, "of"), entities, f"histories.{name}.of", "entity")
        yield from _expect(_get(history, "log"), logs, f"histories.{name}.log", "log")
        for action in _keys(_get(_get(history, "seed"), "actions")):
            yield from _expect(
                action,
                _strings(_get(history, "actions")),
                f"histories.{name}.seed.actions",
                "action",
            )
    for name, task in _items(raw, "tasks"):
        yield from _expect(_get(task, "log"), logs, f"tasks.{name}.log", "log")
        yield from _expect(_get(task, "given"), tasks, f"tasks.{name}.given", "task")
        label = _get(task, "label")
        if isinstance(label, Mapping):
            yield from _expect(label.get("log"), logs, f"tasks.{name}.label.log", "log")
        given = _get(_get(raw, "tasks"), _get(task, "given"))
        if isinstance(given, Mapping):
            if given.get("log") != _get(task, "log"):
                yield f"tasks.{name}.given: {_get(task, 'given')!r} is a task of another log"
            elif (_get(given, "matures_days") or 0) > (_get(task, "matures_days") or 0):
                yield (
                    f"tasks.{name}.matures_days: {_get(task, 'given')!r}, which it is given,"
                    " matures later"
                )
            elif _get(given, "given"):
                yield (
                    f"tasks.{name}.given: {_get(task, 'given')!r} is itself given another task;"
                    " chains are not read"
                )
    for name, upstream in _items(raw, "upstreams"):
        for task in _strings(_get(upstream, "tasks")):
            yield from _expect(task, tasks, f"upstreams.{name}.tasks", "task")
        chosen = {
            _get(_get(_get(raw, "tasks"), task), "log")
            for task in _strings(_get(upstream, "tasks"))
        }
        for log in sorted(chosen & set(logs)):
            there = _keys(_get(_get(_get(raw, "logs"), log), "entities"))
            missing = [role for role in TOWERS if role not in there]
            if missing:
                yield (
                    f"upstreams.{name}.tasks: the log {log!r} has no entity"
                    f" {' and no '.join(missing)}"
                )
        yield from _broken_upstream(raw, name, upstream)
    yield from _broken_consumers(raw, tasks)
    for name in _strings(_get(_get(raw, "evaluation"), "trusted")):
        yield from _expect(name, _auditable(raw), "evaluation.trusted", "feature, history or log")
    yield from _broken_retrieval(raw, tasks)
    numbers = _get(raw, "lifecycle")
    kept, lag = _get(numbers, "keep_days"), _get(numbers, "lag_days") or 1
    matures = max(
        (
            days
            for _, task in _items(raw, "tasks")
            if isinstance(days := _get(task, "matures_days"), int)
        ),
        default=0,
    )
    if isinstance(kept, int) and isinstance(lag, int) and kept < matures + lag + 2:
        yield (
            f"lifecycle.keep_days: {kept} is too short; rows whose labels mature after {matures}"
            f" days read what was served {lag} days before them: at least {matures + lag + 2}"
        )
    for name, lane in _items(raw, "lanes"):
        if not NAME.fullmatch(name):
            yield (
                f"lanes.{name}: not a usable name; begin with a letter, then letters, digits and _"
            )
        for upstream in _keys(_get(lane, "upstreams")):
            yield from _expect(
                upstream, _keys(_get(raw, "upstreams")), f"lanes.{name}.upstreams", "upstream"
            )
        if name == "main" and _get(lane, "upstreams"):
            yield "lanes.main: is the factory as declared; only `closed` may be set of it"


def _broken_upstream(raw: Mapping[str, Any], name: str, upstream: Any) -> Iterator[str]:
    listed = _strings(_get(upstream, "tasks"))
    for task in _strings(_get(upstream, "whole_space")):
        given = _get(_get(_get(raw, "tasks"), task), "given")
        if task not in listed:
            yield (
                f"upstreams.{name}.whole_space: {task!r} is no task of this upstream; its tasks:"
                f" {', '.join(listed)}"
            )
        elif given is None:
            yield (
                f"upstreams.{name}.whole_space: {task!r} is given no other task, so it is defined"
                " on all rows already"
            )
        elif given not in listed:
            yield (
                f"upstreams.{name}.whole_space: {task!r} is given {given!r}, which has to be a task"
                " of this upstream too"
            )
    for entity in _strings(_get(upstream, "content_vectors")):
        declared = _get(_get(raw, "entities"), entity)
        if not _get(declared, "table"):
            yield (
                f"upstreams.{name}.content_vectors: the entity {entity!r} has no table, so nothing"
                " is known of one never seen"
            )
        elif not _get(declared, "features"):
            yield (
                f"upstreams.{name}.content_vectors: the entity {entity!r} has a table but no"
                " features, so a vector would be of nothing; declare some"
            )
    width, heads = _get(upstream, "token_width"), _get(_get(upstream, "dhen"), "heads")
    width = width or SIZES.get(
        str(_get(upstream, "size") or UpstreamConfig.model_fields["size"].default), {}
    ).get("token_width")
    if isinstance(width, int) and isinstance(heads, int) and heads > 0 and width % heads:
        yield f"upstreams.{name}.dhen.heads: token_width {width} should be a multiple of {heads}"


def _broken_history(raw: Mapping[str, Any], name: str, owner: Any, history: Any) -> Iterator[str]:
    log = _get(history, "log")
    there = _keys(_get(_get(_get(raw, "logs"), log), "entities"))
    for field, entity in (("entity", owner), ("of", _get(history, "of"))):
        if (
            log in _keys(_get(raw, "logs"))
            and entity in _keys(_get(raw, "entities"))
            and entity not in there
        ):
            yield (
                f"histories.{name}.{field}: the log {log!r} has no entity {entity!r}; it has"
                f" {', '.join(there) or 'none'}"
            )
    late = {
        column: task_name
        for task_name, task in _items(raw, "tasks")
        if _get(task, "log") == log and _get(task, "matures_days")
        for column in label_columns(_get(task, "label"))
    }
    for column in (*_strings(_get(history, "actions")), _get(history, "where")):
        if column in late:
            yield (
                f"histories.{name}: {column!r} is the label of the task {late[column]!r}, which"
                " matures later; a history that holds it would know it too early"
            )
    features = _get(_get(_get(raw, "entities"), _get(history, "of")), "features")
    alike = [
        key
        for key in _keys(features)
        if _kind_of(features, key) in ("categorical", "multi_categorical")
    ]
    for feature in _strings(_get(history, "pairs")):
        yield from _expect(
            feature,
            ("id", *alike),
            f"histories.{name}.pairs",
            f"categorical feature of {_get(history, 'of')!r}",
        )


def _kind_of(features: Any, name: str) -> Any:
    feature = _get(features, name)
    return feature if isinstance(feature, str) else _get(feature, "kind")


def _broken_retrieval(raw: Mapping[str, Any], tasks: tuple[str, ...]) -> Iterator[str]:
    spec = _get(raw, "retrieval")
    yield from _expect(
        _get(spec, "upstream"), _keys(_get(raw, "upstreams")), "retrieval.upstream", "upstream"
    )
    yield from _expect(_get(spec, "task"), tasks, "retrieval.task", "task")
    if _get(spec, "task") in tasks and not known_with_the_row(raw, _get(spec, "task")):
        yield (
            f"retrieval.task: the labels of {_get(spec, 'task')!r} arrive late or in another log;"
            " name a task whose label is a column of its rows"
        )


def known_with_the_row(raw: Mapping[str, Any], task: Any) -> bool:
    """Whether the labels of a task, and of the one it is given, are columns of its log that are
    known on the day.
    """
    spec = _get(_get(raw, "tasks"), task)
    chain = [spec, _get(_get(raw, "tasks"), _get(spec, "given"))]
    return not any(
        _get(one, "matures_days") or isinstance(_get(one, "label"), Mapping) for one in chain
    )


def _auditable(raw: Mapping[str, Any]) -> Iterator[str]:
    """What the leak audit gives figures of, by the names that it gives them."""
    for name, entity in _items(raw, "entities"):
        yield from (f"{name}.{feature}" for feature in _keys(_get(entity, "features")))
    for name, history in _items(raw, "histories"):
        yield from (f"histories.{name}", f"logs.{_get(history, 'log')}")
        if _get(history, "seed"):
            yield f"histories.{name}.seed"


def _broken_consumers(raw: Mapping[str, Any], tasks: tuple[str, ...]) -> Iterator[str]:
    embeddings = embedding_names(raw)
    for name, consumer in _items(raw, "downstream"):
        yield from _expect(_get(consumer, "task"), tasks, f"downstream.{name}.task", "task")
        log = _get(_get(_get(raw, "tasks"), _get(consumer, "task")), "log")
        missing = [
            role
            for role in TOWERS
            if log in _keys(_get(raw, "logs"))
            and role not in _keys(_get(_get(_get(raw, "logs"), log), "entities"))
        ]
        if missing:
            yield (
                f"downstream.{name}.task: its log {log!r} has no entity {' and no '.join(missing)}"
            )
        variants = _get(consumer, "variants")
        same: dict[tuple[frozenset[str], frozenset[str]], str] = {}
        for variant in _strings(variants):
            faults, what = read_by(variant, embeddings)
            yield from (
                f"downstream.{name}.variants: variant {variant!r}: {fault}" for fault in faults
            )
            if not faults and same.setdefault(what, variant) != variant:
                yield (
                    f"downstream.{name}.variants: variant {variant!r} is the same as {same[what]!r}"
                )
        yield from _broken_beside(raw, name, consumer, tasks)
        if isinstance(variants, list | tuple) and "none" not in variants:
            yield (
                f"downstream.{name}.variants: the variant 'none' is what every lift is measured"
                " against; add it"
            )


def _broken_beside(
    raw: Mapping[str, Any], name: str, consumer: Any, tasks: tuple[str, ...]
) -> Iterator[str]:
    own = _get(_get(raw, "tasks"), _get(consumer, "task"))
    for beside in _keys(_get(consumer, "also")):
        path = f"downstream.{name}.also.{beside}"
        yield from _expect(beside, tasks, path, "task")
        other = _get(_get(raw, "tasks"), beside)
        if not (isinstance(own, Mapping) and isinstance(other, Mapping)):
            continue
        if other == own:
            yield f"{path}: is the consumer's own task"
        elif other.get("log") != own.get("log"):
            yield f"{path}: is a task of another log"
        elif (other.get("matures_days") or 0) > (own.get("matures_days") or 0):
            yield (
                f"{path}: matures after {other.get('matures_days')} days, later than the consumer's"
                " own task, with which it is learnt"
            )


def split_variant(name: str) -> list[tuple[str, str]]:
    """`all-ctr_user~cvr_item` -> [("", "all"), ("-", "ctr_user"), ("~", "cvr_item")]: what a
    variant reads, leaves out, and shuffles.
    """
    pieces = re.split(r"([+~-])", name)
    return [("", pieces[0]), *zip(pieces[1::2], pieces[2::2], strict=True)]


def read_by(
    variant: str, embeddings: Sequence[str]
) -> tuple[list[str], tuple[frozenset[str], frozenset[str]]]:
    """What is wrong with a variant's name, and which embeddings it reads, and which of these
    shuffled.
    """
    (_, base), *changes = split_variant(variant)
    whole = base in ("none", "all", SHUFFLED)
    reads = set(embeddings) if base in ("all", SHUFFLED) else set() if whole else {base}
    shuffled, faults = set(reads) if base == SHUFFLED else set(), list[str]()
    for sign, part in [*([] if whole else [("", base)]), *changes]:
        if part not in embeddings:
            faults.append(
                f"no embedding named {part!r}; declared: {', '.join(embeddings) or 'none'}. A"
                " variant is none, all, shuffled, or names joined by +; then -NAME leaves one out,"
                " and ~NAME shuffles one"
            )
        elif sign == "+" and part in reads:
            faults.append(f"{part} is read already")
        elif sign == "-" and part not in reads:
            faults.append(f"{part} cannot be left out, for the variant does not read it")
        elif sign == "~" and (part not in reads or part in shuffled):
            faults.append(
                f"{part} cannot be shuffled, for the variant does not read it"
                + (" as it is" if part in shuffled else "")
            )
        else:
            {"+": reads.add, "-": reads.discard, "~": shuffled.add, "": reads.add}[sign](part)
    if whole and base != "none" and not reads:
        faults.append("nothing is left to read; that is the variant none")
    return faults, (frozenset(reads), frozenset(shuffled & reads))


def _expect(value: Any, known: Iterable[str], path: str, noun: str) -> Iterator[str]:
    known = tuple(known)
    if value is not None and value not in known:
        yield f"{path}: no {noun} named {value!r}; declared: {', '.join(known) or 'none'}"


def _get(value: Any, key: Any) -> Any:
    return value.get(key) if isinstance(value, Mapping) and isinstance(key, str) else None


def _keys(value: Any) -> tuple[str, ...]:
    return tuple(str(key) for key in value) if isinstance(value, Mapping) else ()


def _items(raw: Mapping[str, Any], part: str) -> list[tuple[str, Any]]:
    value = _get(raw, part)
    return [(str(key), item) for key, item in value.items()] if isinstance(value, Mapping) else []


def label_columns(label: Any) -> tuple[str, ...]:
    """The columns of its log that a label is read from; none where it arrives in another log."""
    return (label,) if isinstance(label, str) else _strings(label)


def _strings(value: Any) -> tuple[str, ...]:
    return (
        tuple(item for item in value if isinstance(item, str))
        if isinstance(value, list | tuple)
        else ()
    )
