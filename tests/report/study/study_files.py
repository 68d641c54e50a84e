"""Studies made up for the tests, and what a page of one holds, read back without the code that wrote it."""

from __future__ import annotations

import base64
import json
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from hardware_models.studies.results import Results
from hardware_models.studies.space import Space
from hardware_models.studies.store import Store

NET = """
schema: neuro.layers/1
name: small
timesteps: 4
defaults: {weights: integer, weight_bits: 8}
layers:
  - {name: stem, kind: conv, in: [2, 32, 32], filters: 16, kernel: 3, padding: 1,
     input: binary, density: 0.1, neuron: lif, rate: 0.15}
  - {name: head, kind: linear, filters: 10}
"""

SPACE = {
    "axes": {
        "chip": {"choices": ["eyeriss", "loihi2", "tpu_like"]},
        "hardware.array.rows": {"integer": [4, 64], "step": 4, "when": "chip == 'eyeriss'"},
        "software.rate": {"real": [0.01, 1.0]},
        "fused": {"choices": [False, True]},
    }
}

SENSES: dict[str, Any] = {"energy_j": "minimise", "latency_s": "minimise", "accuracy": "maximise"}


def random_results(count: int, seed: int = 0, left: float = 0.2) -> Results:
    """Points drawn from `SPACE` with objectives of many sizes, a share `left` of them without any."""
    random = np.random.default_rng(seed)
    points = Space.from_document(SPACE).sample(count, seed)
    objectives = {}
    for name in SENSES:
        value = np.round(random.random(count), 3) if name == "accuracy" else 10.0 ** random.uniform(-8, -2, count)
        low, high = value * random.uniform(0.5, 1.0, count), value * random.uniform(1.0, 2.0, count)
        objectives[name] = np.stack([value, value, value] if name == "accuracy" else [value, low, high])
    state = np.where(random.random(count) < left, np.where(random.random(count) < 0.5, "infeasible", "failed"), "done")
    reason = np.array(["" if one == "done" else f"needs {n} cores of 128, give fewer" for n, one in enumerate(state)])
    for values in objectives.values():
        values[:, state != "done"] = np.nan
    who = np.full(count, "", dtype=object)
    return Results(points, objectives, state.astype(object), reason.astype(object), random.random(count), who)


def write_study(path: Path, results: Results, document: dict[str, Any] | None = None) -> Path:
    """Write the file of a study of `results`."""
    with Store.create(path, document or {"name": "made-up"}, Space.from_document(SPACE), SENSES) as store:
        store.add(results)
    return path


def script(page: str, name: str) -> str:
    """The text of the script element with the id `name`."""
    found = re.search(rf'<script type="[^"]*" id="{name}">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return found.group(1)


def unpacked(page: str, name: str) -> bytes:
    return zlib.decompress(base64.b64decode(script(page, name)))


def header_of(page: str) -> dict[str, Any]:
    return json.loads(script(page, "data"))


def columns_of(page: str) -> dict[str, list[Any]]:
    """The columns of a page by name, number for number."""
    header, data, at = header_of(page), unpacked(page, "columns"), 0
    count, found = header["points"], {}
    for column in header["columns"]:
        if column["kind"] == "codes":
            width, form = (1, "B") if len(column["values"]) <= 256 else (2, "H")
            codes = struct.unpack(f"<{count}{form}", data[at : at + width * count])
            found[column["name"]] = [column["values"][code] for code in codes]
            at += width * count
        else:
            planes = [data[at + part * count : at + (part + 1) * count] for part in range(4)]
            found[column["name"]] = [
                struct.unpack("<f", bytes(plane[row] for plane in planes))[0] for row in range(count)
            ]
            at += 4 * count
    assert at == len(data)
    return found
