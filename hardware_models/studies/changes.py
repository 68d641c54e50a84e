"""What has changed between two documents of a study, in words for whoever resumes it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from hardware_models.studies.differences import differences


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return in words how the study of document `after` differs from that of `before`; empty where they are equal."""
    after = json.loads(json.dumps(after))  # as `before` was kept
    said = [*_changes("", _without_space(before), _without_space(after))]
    if before.get("space") != after.get("space"):
        said += differences(before["space"], after["space"])
    return said


def _without_space(document: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != "space"}


def _changes(place: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for key in dict.fromkeys([*before, *after]):
        name = f"{place}{key}"
        old, new = before.get(key), after.get(key)
        if key not in after:
            yield f"{name} is gone"
        elif key not in before:
            yield f"{name} is new"
        elif isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _changes(f"{name}.", old, new)
            if old == new and list(old) != list(new):
                yield f"entries of {name} come in another order"
        elif old != new:
            yield f"{name} was {json.dumps(old)} and is {json.dumps(new)}"
