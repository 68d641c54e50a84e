"""Kernels in C, compiled at first use by the machine's own compiler and kept for the next process.

The sources are plain C without a header of torch, so that a compiler needs a second and not a minute. They share
torch's OpenMP runtime: the library is linked without one of its own and takes the symbols that torch has loaded.
Contraction of a*b+c into one rounding is off, so that a number is rounded as the reference rounds it.

The library lies in `NEURO_CACHE` (default `~/.cache/neuro`), under a name that is a digest of sources, flags,
compiler and processor; it appears whole or not at all.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from importlib import resources
from pathlib import Path
from typing import Final

FLAGS: Final = ("-O3", "-march=native", "-std=c11", "-fPIC", "-fopenmp", "-ffp-contract=off", "-fno-math-errno")


class NativeError(RuntimeError):
    """The kernels could not be compiled or loaded; the message says why."""


@functools.cache
def compiled(package: str) -> ctypes.CDLL:
    """Return the loaded kernels of a package, compiled if need be: every C file in its folders, as one library.

    Raises:
        NativeError: there is no compiler, it fails, or the cache cannot be written.
    """
    import torch  # noqa: F401  its OpenMP runtime has to be there before the library is

    compiler = _compiler()
    sources = sorted(Path(str(resources.files(package))).rglob("*.c"))
    path = _cache() / f"{package}-{_digest(compiler, sources)}.so"
    if not path.exists():
        _compile(compiler, sources, path)
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise NativeError(f"the compiled kernels {path} cannot be loaded ({error})") from error


@functools.cache
def why_not(package: str) -> str:
    """Return why there are no native kernels of a package here; empty where there are."""
    try:
        compiled(package)
    except NativeError as error:
        return str(error)
    return ""


def _compiler() -> str:
    for name in filter(None, (os.environ.get("CC"), "cc", "gcc", "clang")):
        found = shutil.which(name)
        if found:
            return found
    raise NativeError("no C compiler was found; install one (gcc or clang), or set CC")


def _cache() -> Path:
    return Path(os.environ.get("NEURO_CACHE") or Path.home() / ".cache" / "neuro")


def _digest(compiler: str, sources: list[Path]) -> str:
    version = subprocess.run([compiler, "--version"], capture_output=True, check=False).stdout
    headers = sorted({header for source in sources for header in source.parent.glob("*.h")})
    texts = [path.read_bytes() for path in (*sources, *headers)]
    parts = [*texts, " ".join(FLAGS).encode(), version, _processor().encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _processor() -> str:
    """What -march=native depends on: a shared home may be mounted on different machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.machine())


def _compile(compiler: str, sources: list[Path], path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            objects = [Path(folder) / f"{number}.o" for number in range(len(sources))]
            for source, target in zip(sources, objects, strict=True):
                _run([compiler, *FLAGS, "-c", str(source), "-o", str(target)])
            part = Path(folder) / path.name
            # Linked without -fopenmp, so that its symbols are those of the runtime that torch has loaded.
            _run([compiler, "-shared", *map(str, objects), "-lm", "-o", str(part)])
            part.replace(path)
    except OSError as error:
        raise NativeError(f"the kernels cannot be kept in {path.parent} ({error.strerror}); set NEURO_CACHE") from error


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = " ".join(done.stderr.split())[:300]
        raise NativeError(f"{command[0]} could not compile the kernels ({said})")
