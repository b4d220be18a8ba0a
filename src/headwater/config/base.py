"""What all sections have in common."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

# In a field's `json_schema_extra`: it says how, where or what is refused, and shapes no vector and
# no score.
RUNNING: dict[str, Any] = {"running": True}
# In a field's `json_schema_extra`: it came when there were warehouses already. While it has its
# default it is in no digest, so that theirs are what they were.
LATER: dict[str, Any] = {"later": True}
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def seconds_of(value: Any) -> Any:
    """`90s`, `5m`, `1h` or `1d` in seconds; what is no text is left as it is."""
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"(\d+)\s*([smhd])", value.strip())
    if found is None:
        raise ValueError("should be seconds, or a number with s, m, h or d after it, such as 5m")
    return int(found[1]) * _SECONDS[found[2]]


# A whole number of seconds; text as `seconds_of` reads it.
Duration = Annotated[int, BeforeValidator(seconds_of), Field(ge=0)]


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def shaping(value: Any) -> Any:
    """A value of a config as JSON has it, without what is only RUNNING: what a digest is
    made of.
    """
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        return {
            name: shaping(getattr(value, name))
            for name, field in fields.items()
            if field.json_schema_extra != RUNNING
            and not (field.json_schema_extra == LATER and getattr(value, name) == field.default)
        }
    if isinstance(value, Mapping):
        return {name: shaping(one) for name, one in value.items()}
    if isinstance(value, tuple | list):
        return [shaping(one) for one in value]
    return value


def distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) < len(values):
        raise ValueError("each may be named once")
    return values
