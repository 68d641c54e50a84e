"""Compile a Triton kernel for a GPU that is not here, and read what became of it.

The facts are of the binary that the GPU would run: registers and local memory as ptxas assigned them, and the
instructions of the disassembly. They find what makes a kernel slow (spills, narrow loads, arithmetic where tensor
cores were meant) on a machine without a GPU; how fast it is only a GPU tells.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

SM_90: Final = 90
"""Compute capability of Hopper, times ten: H100, H200."""

_INSTRUCTION: Final = re.compile(r"^\s*(?:/\*[0-9a-f]+\*/)?\s*(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)\b", re.MULTILINE)
_TENSOR_CORE: Final = ("HMMA", "IMMA", "HGMMA", "IGMMA", "QGMMA", "BMMA")


@dataclass(frozen=True)
class Binary:
    """What a kernel became.

    Attributes:
        registers: 32-bit registers of a thread.
        spilled: bytes of local memory of a thread: registers that did not fit.
        instructions: how often each instruction stands in the disassembly, with its modifiers.
        shared: bytes of shared memory of a program.
    """

    registers: int
    spilled: int
    shared: int
    instructions: Mapping[str, int]

    def count(self, name: str, *modifiers: str) -> int:
        """How many instructions are `name` with all of `modifiers`, for example `count("LDG", "128")`."""
        return sum(
            many
            for instruction, many in self.instructions.items()
            if instruction.split(".")[0] == name and set(modifiers) <= set(instruction.split(".")[1:])
        )

    @property
    def tensor_core(self) -> int:
        """How many instructions use tensor cores."""
        return sum(self.count(name) for name in _TENSOR_CORE)


def compile_for(
    kernel: Any, arguments: Mapping[str, Any], capability: int = SM_90, num_warps: int = 4, **options: Any
) -> Binary:
    """Compile `kernel` for an NVIDIA GPU and return the facts of its binary.

    Args:
        kernel: a function decorated with `triton.jit`, not in interpreter mode.
        arguments: for each parameter its type (`"*fp32"`, `"i64"`, `"fp32"`) or, for a `tl.constexpr` and for an
            integer that is 1, its value. Pointers are taken as divisible by 16, and so are integers written `"i64:16"`.
        capability: compute capability times ten.
        num_warps: warps of a program.
        options: of the compiler, such as `enable_fp_fusion`.
    """
    constants = {
        name: value
        for name, value in arguments.items()
        if kernel.params[_index(kernel, name)].is_constexpr or not isinstance(value, str)
    }
    signature: dict[str, str] = {}
    attributes: dict[tuple[int, ...], list[list[object]]] = {}
    for name in kernel.arg_names:
        given = arguments[name]
        if name in constants:
            signature[name] = "constexpr"
            continue
        kind, _, divisor = given.partition(":")
        signature[name] = kind
        if divisor or kind.startswith("*"):
            attributes[(_index(kernel, name),)] = [["tt.divisibility", 16]]
    source = ASTSource(kernel, signature, constants, attributes)
    compiled = triton.compile(
        source, target=GPUTarget("cuda", capability, 32), options={"num_warps": num_warps, **options}
    )
    return _facts(compiled.asm["cubin"], compiled.metadata.shared)


def _index(kernel: Any, name: str) -> int:
    return kernel.arg_names.index(name)


def _facts(cubin: bytes, shared: int) -> Binary:
    tools = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        usage = _run(tools / "cuobjdump", "-res-usage", path)
        code = _run(tools / "cuobjdump", "-sass", path)
    registers, stack, local = (_number(usage, word) for word in ("REG", "STACK", "LOCAL"))
    return Binary(registers, stack + local, shared, Counter(_INSTRUCTION.findall(code)))


def _number(usage: str, word: str) -> int:
    found = re.search(rf"\b{word}:(\d+)", usage)
    if not found:
        raise RuntimeError(f"cuobjdump said nothing about {word}: {usage[:200]}")
    return int(found.group(1))


def _run(tool: Path, *arguments: str | Path) -> str:
    return subprocess.run([tool, *arguments], capture_output=True, text=True, check=True).stdout
