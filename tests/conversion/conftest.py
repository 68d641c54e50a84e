"""One finished conversion for all tests here."""

from __future__ import annotations

import pytest
from tiny_request import TINY

from neuro.conversion.pipeline import Conversion, convert


@pytest.fixture(scope="session")
def conversion(tmp_path_factory: pytest.TempPathFactory) -> Conversion:
    return convert("spikeformer_v2", out=tmp_path_factory.mktemp("runs") / "whole", settings=TINY)
