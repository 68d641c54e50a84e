"""Compile the Triton kernels for Hopper and print the facts of their binaries as JSON: name -> facts.

A program of its own: the tests' process has loaded Triton with its interpreter.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from neuro.kernels import ahead_of_time
from neuro.kernels.ahead_of_time import Binary
from neuro.kernels.bitpack import triton as bitpack
from neuro.kernels.lif import triton as lif
from neuro.kernels.lif.settings import Settings
from neuro.kernels.norm_lif import device as norm_lif
from neuro.kernels.norm_lif.triton import tile_elements
from neuro.kernels.sdsa import device as sdsa
from neuro.kernels.sdsa.triton import _blocks

SETTINGS = Settings("lif", 2.0, 1.0, 0.0, "sigmoid", 4.0)
VARIANTS = [
    Settings("if", 1.0, 1.0, None, "atan", 2.0, False),
    Settings("lif_undecayed", 1.7, 1.0, 0.2, "triangle", 0.3, False),
    Settings("lif", 1.7, 1.0, 0.0, "rectangle", 1.0, False),
    Settings("lif", 2.0, 1.0, None, "piecewise_quadratic", 1.0, True),
    Settings("integer", 4 / 3, levels=4, divisor=4.0, detach_reset=False),
]


def compile_for(kernel: Any, arguments: dict[str, Any], **options: Any) -> Binary:
    """Compile as the kernels are launched: every operation rounded by itself."""
    return ahead_of_time.compile_for(kernel, arguments, enable_fp_fusion=False, **options)


def plain(given: dict[str, Any]) -> dict[str, Any]:
    """Arguments of a launch as the compiler takes them: numbers become their type."""
    return {name: "fp32" if isinstance(value, float) else value for name, value in given.items()}


def lif_kernels() -> Iterator[tuple[str, Binary]]:
    neuron, gradient = plain(lif.neuron(SETTINGS)), plain(lif.gradient(SETTINGS))
    for dtype in ("fp32", "bf16"):
        for steps in (1, 4, 8, 16):
            common = {"x_ptr": f"*{dtype}", "v_ptr": "*fp32", "n": "i32:16", "T": steps, "CHUNK": lif.CHUNK}
            common |= neuron | {"FROM_REST": True}
            for write, out in (("dense", dtype), ("packed", "u8")):
                more = {"s_ptr": f"*{out}", "v_last_ptr": "*fp32", "WRITE": write, "KEEP_V": True, "BLOCK": lif.BLOCK}
                yield f"lif forward {write} {dtype} {steps}", compile_for(lif._forward_kernel, common | more)
            more = {
                "grad_s_ptr": f"*{dtype}",
                "grad_x_ptr": f"*{dtype}",
                "grad_v_ptr": "*fp32",
                "grad_tau_ptr": "*fp32",
            }
            more |= gradient | {"LAST": True, "KEEP_V": False, "INLINE": True, "BLOCK": lif.backward_block(steps)}
            yield f"lif backward {dtype} {steps}", compile_for(lif._backward_kernel, common | more)


def lif_variants() -> Iterator[tuple[str, Binary]]:
    """What the interpreter lets pass and the compiler does not: every branch once, and a learned time constant."""
    for settings, learned in [*((one, False) for one in VARIANTS), (SETTINGS, True)]:
        common = {"x_ptr": "*fp16", "v_ptr": "*fp32", "n": "i64", "T": 2, "CHUNK": lif.CHUNK, "FROM_REST": False}
        common |= plain(lif.neuron(settings))
        common |= {"LEARNED": True, "EXACT_INVERSE": False, "tau": "*fp32"} if learned else {}
        more = {"s_ptr": "*fp16", "v_last_ptr": "*fp32", "WRITE": "dense", "KEEP_V": True, "BLOCK": lif.BLOCK}
        yield f"forward {settings} {learned}", compile_for(lif._forward_kernel, common | more)
        more = {"grad_s_ptr": "*fp16", "grad_x_ptr": "*fp16", "grad_v_ptr": "*fp32", "grad_tau_ptr": "*fp32"}
        more |= plain(lif.gradient(settings)) | {"LAST": False, "KEEP_V": True, "INLINE": True, "BLOCK": lif.BLOCK}
        yield f"backward {settings} {learned}", compile_for(lif._backward_kernel, common | more)


def norm_lif_kernels() -> Iterator[tuple[str, Binary]]:
    neuron, gradient = plain(lif.neuron(SETTINGS)), plain(lif.gradient(SETTINGS))
    for layout in ("channels_last", "contiguous"):
        last = layout == "channels_last"
        for dtype in ("fp32", "bf16"):
            wide = 128 if last else 256
            cut = {
                "splits": "i32:16",
                "rows": "i32:16",
                "row_stride": "i32:16",
                "channels": "i32:16",
                "INNER": 1 if last else 196,
                "LAST": last,
            }
            norm = {f"{name}_ptr": "*fp32" for name in ("v", "weight", "bias", "mean", "rstd")}
            common = cut | norm | neuron | {"x_ptr": f"*{dtype}", "residual_ptr": f"*{dtype}", "T": 4, "NORM": True}
            common |= {"FROM_REST": True, "h_ptr": f"*{dtype}"}
            more: dict[str, Any] = {"s_ptr": f"*{dtype}", "v_last_ptr": "*fp32", "RESIDUAL": True, "KEEP_SUM": True}
            more |= {"R": 1024 // wide, "K": wide, "CHUNK": 4}
            yield f"norm_lif forward {layout} {dtype}", compile_for(norm_lif.forward_kernel, common | more)
            more = {f"grad_{name}_ptr": f"*{dtype}" for name in ("s", "h", "x", "sum")} | gradient
            more |= {f"{name}_ptr": "*fp32" for name in ("mean_g", "mean_gx", "grad_v", "sum", "sum_x")}
            more |= {"RESIDUAL": False, "H_KEPT": False, "GRAD_S": True, "GRAD_H": False, "GRAD_KEPT": False}
            more |= {"WRITE_SUM": False, "WRITE_V": False, "INLINE": True, "R": tile_elements(4) // wide, "K": wide}
            arguments = {"x_ptr": f"*{dtype}", "origin_ptr": "*fp32", "sum_ptr": "*fp32", "square_ptr": "*fp32"}
            statistics = compile_for(norm_lif.statistics_kernel, arguments | cut | {"R": 1024 // wide, "K": wide})
            yield f"norm_lif statistics {layout} {dtype}", statistics
            kept = {"GRAD_KEPT": True, "SUMS": False, "OF_BATCH": True, "WRITE_X": True}
            yield (
                f"norm_lif backward {layout} {dtype} kept",
                compile_for(norm_lif.backward_kernel, common | more | kept),
            )
            for sums in (True, False):
                passes = {"SUMS": sums, "OF_BATCH": not sums, "WRITE_X": not sums}
                name = f"norm_lif backward {layout} {dtype} {'sums' if sums else 'input'}"
                yield name, compile_for(norm_lif.backward_kernel, common | more | passes)


def sdsa_kernels() -> Iterator[tuple[str, Binary]]:
    tokens, heads = 196, 8
    for width in (32, 64):
        for dtype, packed in (("fp32", False), ("bf16", False), ("u8", True)):
            _, blocks = _blocks(3, tokens, width, packed)
            warps, stages = blocks.pop("num_warps"), blocks.pop("num_stages")
            arguments = {f"{name}_ptr": f"*{dtype}" for name in "qkv"} | {"out_ptr": f"*{dtype}", "last_ptr": "*fp32"}
            arguments |= {"scale_ptr": "*fp32", "HEADS": heads, "N": tokens, "D": width, "T": 4}
            for name in ("q", "k", "v", "out"):
                steps = {"b": heads * width * tokens, "h": width * tokens, "n": 1, "d": tokens}
                arguments |= {f"{name}_t": "i32:16"} | {f"{name}_{axis}": step for axis, step in steps.items()}
            arguments |= plain(lif.neuron(SETTINGS)) | blocks | {"PACKED_IN": packed, "PACKED_OUT": packed}
            binary = compile_for(sdsa.attention_kernel, arguments, num_warps=warps, num_stages=stages)
            yield f"sdsa {dtype} {width}", binary


def bitpack_kernels() -> Iterator[tuple[str, Binary]]:
    arguments = {"s_ptr": "*i16", "bits_ptr": "*u8", "n": "i32:16", "T": "i32", "ONE": 0x3F80, "BLOCK": bitpack.BLOCK}
    yield "bitpack unpack", compile_for(bitpack._unpack_kernel, arguments)
    more = {"wrong_ptr": "*i32", "MASK": 0x7FFF}
    yield "bitpack pack", compile_for(bitpack._pack_kernel, arguments | more)


KERNELS = {
    "lif": lif_kernels,
    "variants": lif_variants,
    "norm_lif": norm_lif_kernels,
    "sdsa": sdsa_kernels,
    "bitpack": bitpack_kernels,
}


def facts(binary: Binary) -> dict[str, int]:
    return {
        "registers": binary.registers,
        "spilled": binary.spilled,
        "shared": binary.shared,
        "wide_loads": binary.count("LDG", "128") + binary.count("LDGSTS", "128"),
        "loads": binary.count("LDG") + binary.count("LDGSTS"),
        "wide_stores": binary.count("STG", "128"),
        "stores": binary.count("STG"),
        "tensor_core": binary.tensor_core,
        "fused": binary.count("FFMA"),
    }


if __name__ == "__main__":
    print(json.dumps({name: facts(binary) for name, binary in KERNELS[sys.argv[1]]()}))
