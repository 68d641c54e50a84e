"""What has changed between two spaces, in words for whoever resumes a study."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return in words how the space of document `after` differs from that of `before`; empty where they are equal."""
    return [
        *_changes("axis", before["axes"], after["axes"]),
        *_changes("constraint", _by_rule(before), _by_rule(after)),
    ]


def _by_rule(document: Mapping[str, Any]) -> dict[str, Any]:
    entries = document.get("constraints", [])
    return {entry if isinstance(entry, str) else entry["rule"]: entry for entry in entries}


def _changes(kind: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    said = [f"{kind} {name!r} is gone" for name in before if name not in after]
    said += [f"{kind} {name!r} is new" for name in after if name not in before]
    both = [name for name in before if name in after]
    for name in both:
        old, new = json.dumps(before[name]), json.dumps(after[name])
        if old != new:
            said.append(f"{kind} {name!r} was {old} and is {new}")
    if both != [name for name in after if name in before]:
        said.append(f"entries of kind {kind} come in another order: {', '.join(map(repr, after))}")
    return said
