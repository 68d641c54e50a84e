"""What the Triton kernels become on Hopper, compiled without a GPU: registers, spills, width of loads, tensor cores.

They are held to what they are now, with little room: a change that loses a wide load or spills is seen here.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="the Triton kernels need triton")

Facts = dict[str, dict[str, int]]


@functools.cache
def compiled(operator: str) -> Facts:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("aot_facts.py")), operator],
        capture_output=True,
        text=True,
        env=environment | {"PYTHONPATH": str(Path(__file__).parents[2])},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("operator", ["lif", "variants", "norm_lif", "sdsa", "bitpack"])
def test_nothing_spills(operator: str) -> None:
    # ptxas keeps two registers of one kernel in local memory rather than pass 128.
    assert {name: facts["spilled"] for name, facts in compiled(operator).items() if facts["spilled"] > 8} == {}


@pytest.mark.slow
def test_lif_reads_and_writes_128_bits_at_a_time() -> None:
    for name, facts in compiled("lif").items():
        steps = int(name.split()[-1])
        if name.startswith("lif backward bf16") and steps == 16:
            continue  # four neurons of a thread are 64 bits
        assert facts["wide_loads"] == facts["loads"], name
        if "packed" not in name:
            assert facts["wide_stores"] == facts["stores"], name


@pytest.mark.slow
def test_lif_leaves_registers_for_many_warps() -> None:
    for name, facts in compiled("lif").items():
        assert facts["registers"] <= (64 if "forward" in name else 128), name


@pytest.mark.slow
def test_lif_rounds_every_operation_by_itself() -> None:
    """A fused multiply-add before the threshold would fire other neurons than the reference does."""
    assert {name for name, facts in compiled("lif").items() if "forward" in name and facts["fused"]} == set()


@pytest.mark.slow
def test_norm_lif_has_wide_loads_and_registers() -> None:
    for name, facts in compiled("norm_lif").items():
        assert facts["registers"] <= 168, name
        if "channels_last" in name:
            assert facts["wide_loads"] >= facts["loads"] - 6, name  # the numbers of a channel


@pytest.mark.slow
def test_sdsa_multiplies_on_tensor_cores() -> None:
    for name, facts in compiled("sdsa").items():
        assert facts["tensor_core"] >= 6, name
        assert facts["registers"] <= 200, name
