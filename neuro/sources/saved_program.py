"""Programs saved by `torch.export.save`, read without running anything that the file brings.

`torch.export.load` unpickles some parts of an archive, evaluates expressions of sizes as Python, looks up operators by
any name that torch can reach, and loads compiled libraries. So what an archive holds is looked at before it is loaded,
and whatever is more than tensors, ATen operators and plain arithmetic of sizes is refused.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from hardware_models.errors import InputError
from neuro.sources.source import Size, Source

_PARTS = re.compile(
    r"models/\w+\.json|data/(weights|constants)/((weight|tensor)_\d+|\w+_config\.json)|data/sample_inputs/\w+\.pt"
    r"|archive_format|archive_version|byteorder|\.data/\w+|extra/.*"
)
_OPERATORS = re.compile(
    r"torch\.ops\.aten\.\w+(\.\w+)?|_operator\.(getitem|add|sub|mul|floordiv|mod|neg|pow|truediv|eq|ne|lt|le|gt|ge)"
    r"|torch\.sym_(int|float|max|min|not|ite|sum)|math\.(ceil|floor|trunc)"
)
_SIZE = re.compile(r"[\w\s+\-*/(),.<>=]*")
_WORDS = re.compile(r"[a-zA-Z_]\w*")
_SYMBOL = re.compile(r"Symbol\('[suz]+f?\d+'(, \w+=(True|False))*\)")
_KNOWN_WORDS = re.compile(
    r"[suz]+f?\d+|Mod|PythonMod|FloorDiv|CeilDiv|CleanDiv|IntTrueDiv|FloatTrueDiv|Max|Min|Eq|Ne|Lt|Le|Gt|Ge|Add|Mul|Pow"
    r"|Integer|Rational|TruncToInt|ToFloat|int_oo|oo|True|False"
)
_IMPORTS = ("default_factory", "__enum__")
"""What makes the reader of input and output structures import a module by name."""


def from_program(path: Path, size: Size) -> Source:
    """Load a program with the example inputs that it was saved with.

    Raises:
        InputError: as `load_program`; or it was saved without example inputs, or for keyword inputs, or another size of
            input is asked for.
    """
    if size is not None:
        raise InputError(f"{path} was exported for one size of input; leave out --input-size.")
    program = load_program(path)
    by_position, by_name = program.example_inputs or ((), {})
    inputs = (*by_position, *by_name.values())
    if not inputs:
        raise InputError(f"{path} was saved without its example inputs; save it as torch.export.export returned it.")
    return Source(path.stem, program, inputs)


def load_program(path: Path) -> ExportedProgram:
    """Load a program that `torch.export.save` wrote.

    Raises:
        InputError: the file is missing, damaged, of another kind, or holds pickled objects, compiled code or
            operators that are not PyTorch's own.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; give a file that torch.export.save wrote.") from error
    try:
        _check(path, zipfile.ZipFile(io.BytesIO(content)))
        return torch.export.load(io.BytesIO(content))
    except InputError:
        raise
    except Exception as error:  # the loader raises anything on foreign bytes
        raise InputError(
            f"{path} is no exported program, or a damaged one ({type(error).__name__}); save it again with "
            "torch.export.save."
        ) from error


def _check(path: Path, archive: zipfile.ZipFile) -> None:
    names = archive.namelist()
    if len(names) != len(set(names)):
        raise _refused(path, "two parts of the same name")
    for name in names:
        part = name.partition("/")[2]
        if not _PARTS.fullmatch(part):
            raise _refused(path, f"the part {part or name}")
        if part.endswith(".json"):
            for found in _unsafe(json.loads(archive.read(name))):
                raise _refused(path, found)
        elif part.endswith(".pt") and archive.getinfo(name).file_size:
            try:
                torch.load(io.BytesIO(archive.read(name)), weights_only=True)
            except Exception as error:
                raise _refused(path, "example inputs that are more than tensors") from error


def _unsafe(value: Any) -> Iterator[str]:
    """Yield what a document of the archive asks for that is not plainly data."""
    if isinstance(value, list):
        for one in value:
            yield from _unsafe(one)
    if not isinstance(value, dict):
        return
    for key, one in value.items():
        if key == "use_pickle" and one:
            yield "pickled tensors"
        elif key == "path_name" and not re.fullmatch(r"(weight|tensor)_\d+", str(one)):
            yield f"the object {one}"
        elif key == "as_operator" or (key == "target" and "inputs" in value):
            if not _OPERATORS.fullmatch(str(one)):
                yield f"the operator {one}"
        elif key == "expr_str":
            yield from _unsafe_sizes([one])
        elif key == "range_constraints":
            yield from _unsafe_sizes(one)
        elif key in ("in_spec", "out_spec") and any(sign in str(one) for sign in _IMPORTS):
            yield "a structure of inputs or outputs that imports code"
        yield from _unsafe(one)


def _unsafe_sizes(expressions: Any) -> Iterator[str]:
    for one in map(str, expressions):
        left = _SYMBOL.sub("", one)
        if not _SIZE.fullmatch(left) or not all(_KNOWN_WORDS.fullmatch(word) for word in _WORDS.findall(left)):
            yield f"the size {one[:60]!r}"


def _refused(path: Path, found: str) -> InputError:
    return InputError(
        f"{path} holds {found}, which is never loaded because it can run code; save a program of PyTorch's own "
        "operators with torch.export.save, or give module.path:factory of code that you trust."
    )
