"""Compiling: a library appears whole under the digest of its sources, or not at all and with the reason."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import pytest

from quant import native

GOOD = "int answer(void) { return ANSWER; }\n"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of C sources of its own, and a cache of its own."""
    folder = tmp_path / "c_sources"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("NEURO_CACHE", str(tmp_path / "cache"))
    yield folder
    native.compiled.cache_clear()
    native.why_not.cache_clear()
    sys.modules.pop("c_sources", None)


def load() -> ctypes.CDLL:
    native.compiled.cache_clear()
    return native.compiled("c_sources")


def test_every_source_and_header_counts(package: Path, tmp_path: Path) -> None:
    (package / "deep" / "a.c").write_text('#include "answer.h"\n' + GOOD)
    (package / "deep" / "answer.h").write_text("#define ANSWER 41\n")
    (package / "deep" / "er" / "a.c").write_text("int other(void) { return 7; }\n")
    assert load().answer() == 41
    assert load().other() == 7
    first = set((tmp_path / "cache").iterdir())
    assert len(first) == 1
    assert load().answer() == 41
    assert set((tmp_path / "cache").iterdir()) == first
    (package / "deep" / "answer.h").write_text("#define ANSWER 42\n")
    assert load().answer() == 42
    assert len(set((tmp_path / "cache").iterdir())) == 2


def test_a_fault_is_told_and_leaves_nothing(package: Path, tmp_path: Path) -> None:
    (package / "a.c").write_text("int answer(void) { return }\n")
    with pytest.raises(native.NativeError, match="could not compile the kernels"):
        load()
    assert list((tmp_path / "cache").iterdir()) == []
    assert "could not compile" in native.why_not("c_sources")


def test_no_compiler(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (package / "a.c").write_text("int answer;\n")
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    assert native.why_not("c_sources") == "no C compiler was found; install one (gcc or clang), or set CC"


def test_a_cache_that_cannot_be_written(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (package / "a.c").write_text("int answer;\n")
    (tmp_path / "file").touch()
    monkeypatch.setenv("NEURO_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(native.NativeError, match="set NEURO_CACHE"):
        load()
