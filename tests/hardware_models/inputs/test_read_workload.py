from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from hardware_models.errors import InputError
from hardware_models.inputs import input_format, read_workload

LAYERS = """schema: neuro.layers/1
layers:
  - {name: a, kind: linear, in: 4, filters: 2, input: integer, input_bits: 8, weights: integer, weight_bits: 8}
"""
OPERATIONS = "layer,kind,dense_ops,rate_percent\na,Conv2d,100,50\n"


def test_the_examples_of_the_documentation(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "workloads.md").read_text(encoding="utf-8")
    for suffix, pattern in (("yaml", r"```yaml\n(.*?)```"), ("csv", r"```\n(# timesteps.*?)```")):
        found = re.search(pattern, text, re.DOTALL)
        assert found is not None
        (tmp_path / f"small.{suffix}").write_text(found[1])
    by_yaml, by_csv = (read_workload(tmp_path / f"small.{suffix}") for suffix in ("yaml", "csv"))
    assert by_yaml == by_csv
    # The table "Worked by hand": 94 x 94 x 2 x 16 x 0.1 x 4, and 16 x 32 x 32 x 4 x 0.15 spikes that reach 10 outputs.
    assert [layer.acs / by_yaml.batch for layer in by_yaml.layers] == [113_100.8, 0, 98_304]


@pytest.mark.parametrize("suffix", [".yaml", ".yml", ".YAML"])
def test_a_workload_makes_the_round_trip_through_its_own_format(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"net{suffix}"
    path.write_text(LAYERS)
    workload = read_workload(path)
    workload.save(tmp_path / "workload.json")
    assert read_workload(tmp_path / "workload.json") == workload
    assert read_workload(tmp_path) == workload


def test_the_kind_of_a_csv_follows_from_its_columns(tmp_path: Path) -> None:
    for name, text in (
        ("layers-csv", "# timesteps = 2\nName, Kind, in\na,linear,3\n"),
        ("topology", "Layer, M, N, K,\na,1,1,1\n"),
        ("operation-table", "# comment\n" + OPERATIONS),
    ):
        path = tmp_path / "net.csv"
        path.write_text(text)
        assert input_format(path) == name


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("net.csv", OPERATIONS, "is an operation table"),
        ("net.csv", "colour,size\nred,3\n", "expected layers by hand .* SCALE-Sim topology .* operation table"),
        ("net.csv", "", "has no rows"),
        ("net.csv", "\udcff", "not UTF-8"),
        ("net.csv", "name,kind\0\na,b\n", "NUL"),
        ("net.yaml", "schema: neuro.chip/1\n", "neuro.layers/1"),
        ("net.yaml", "layers: [", "not YAML"),
        ("net.yaml", "3", "no mapping"),
        ("net.json", json.dumps({"schema": "neuro.workload/2"}), "neuro.workload/2"),
        ("net.json", "{", "not JSON"),
        ("net.pt", "", "suffix '.pt'"),
    ],
)
def test_what_is_no_workload_is_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=message) as error:
        read_workload(path)
    assert name in str(error.value)


def test_a_missing_file_and_an_empty_directory_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_workload(tmp_path / "net.yaml")
    with pytest.raises(InputError, match="holds no workload"):
        read_workload(tmp_path)


def test_options_of_another_format_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(LAYERS)
    with pytest.raises(InputError, match="bits is for SCALE-Sim"):
        read_workload(path, bits=8)
    with pytest.raises(InputError, match="for ONNX"):
        read_workload(path, input_shapes={"x": (1, 3)})
