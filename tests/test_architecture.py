"""The walls between the rooms: who may import whom."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def imports(folder: str) -> Iterator[tuple[Path, str]]:
    """Every imported module's full name, with the file that imports it."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((path, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                yield from ((path, f"{node.module}.{alias.name}") for alias in node.names)
                yield path, node.module


def offenders(folder: str, *forbidden: str, outside: str = "") -> list[str]:
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path, name in imports(folder)
        if any(name == f or name.startswith(f"{f}.") for f in forbidden)
        and not (outside and path.is_relative_to(ROOT / outside))
    ]


def test_hardware_models_stand_alone() -> None:
    assert offenders("hardware_models", "torch", "neuro", "quant") == []


def test_quant_does_not_know_neuro() -> None:
    assert offenders("quant", "neuro") == []


@pytest.mark.parametrize("folder", ["neuro", "quant", "hardware_models"])
def test_nothing_imports_the_command_line(folder: str) -> None:
    allowed = "neuro/__main__.py"
    found = offenders(folder, "neuro.cli", outside="neuro/cli")
    assert [line for line in found if not line.startswith(allowed)] == []


def test_peers_are_never_imported_by_the_package() -> None:
    for folder in ("neuro", "quant", "hardware_models"):
        assert offenders(folder, "spikingjelly", "snntorch", "torchvision", "torchaudio", "tonic", "sanafe") == []


def test_the_walls_are_looked_at() -> None:
    """The check itself sees imports."""
    assert any(name == "torch" for _, name in imports("neuro"))


@pytest.mark.parametrize(
    "statement",
    ["import hardware_models.workload, hardware_models.conventions", "import neuro, neuro.cli, neuro.report"],
)
def test_loading_does_not_load_torch(statement: str) -> None:
    code = f"{statement}\nimport sys\nassert 'torch' not in sys.modules, 'torch was loaded'"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr


FLOORS = [
    {"kernels", "weights", "hub"},
    {"records", "neurons", "data"},
    {"models", "training", "profiling", "report", "sources"},
    {"coding", "evaluation"},
    {"conversion", "bench"},
    {"experiments"},
    {"studies"},
    {"cli"},
]
"""The rooms of `neuro`, lowest first: a room imports only from itself and from lower floors."""


def test_data_flow_one_way() -> None:
    floor_of = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
    found = []
    for path, name in imports("neuro"):
        room = path.relative_to(ROOT / "neuro").parts[0].removesuffix(".py")
        target = name.split(".")[1] if name.startswith("neuro.") else None
        if room in floor_of and target in floor_of and target != room and floor_of[target] >= floor_of[room]:
            found.append(f"{path.relative_to(ROOT)} imports {name}")
    assert found == []


def test_every_room_has_a_floor() -> None:
    rooms = {p.stem for p in (ROOT / "neuro").iterdir() if not p.name.startswith("__") and p.name != "configs"}
    assert rooms == set().union(*FLOORS)
