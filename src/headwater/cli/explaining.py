"""What `headwater check --explain` prints: every value of a config, and where it came from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from headwater.config import UpstreamConfig, load_config
from headwater.models.upstream.derm.plan import sizes_of


@dataclass(frozen=True)
class Setting:
    """A value, and whether it was declared, is a default, or was derived from another."""

    value: Any
    source: str

    def as_json(self) -> dict[str, Any]:
        return {"value": self.value, "from": self.source}


def explain_factory(path: Path) -> dict[str, Setting]:
    """Every setting of a factory.yaml, by its dotted path."""
    config = load_config(path)
    declared = dict(_leaves(config.model_dump(mode="json", exclude_unset=True)))
    settings = {
        name: Setting(value, "declared" if name in declared else "default")
        for name, value in _leaves(config.model_dump(mode="json"))
    }
    for name, upstream in config.upstreams.items():
        if isinstance(upstream, UpstreamConfig):
            for field, setting in _derived(upstream).items():
                key = f"upstreams.{name}.{field}"
                if key not in settings or settings[key].value is None:
                    settings[key] = setting
    return settings


def _derived(upstream: UpstreamConfig) -> dict[str, Setting]:
    """What a DERM model's other settings say of those that are not set."""
    sizes = sizes_of(upstream)
    from_size = asdict(sizes) | {"width": sizes.width}
    found = {
        field: Setting(value, f"derived from size: {upstream.size}")
        for field, value in from_size.items()
    }
    why = "derived from content_vectors" if upstream.hides else "default"
    return found | {"hidden_share": Setting(upstream.hides, why)}


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested mappings by their dotted paths; an empty mapping is a value too."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else str(key))
    else:
        yield path, value
