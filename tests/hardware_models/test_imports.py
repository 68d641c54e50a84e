"""hardware_models stands alone: importing all of it loads neither torch nor the other packages."""

import pkgutil
import subprocess
import sys
from pathlib import Path

import hardware_models

LISTING = "import sys; print('\\n'.join(sys.modules))"


def modules_after(*imports):
    code = "; ".join(f"import {name}" for name in imports) + "; " + LISTING
    root = Path(hardware_models.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_hardware_models_needs_no_torch_and_no_other_room():
    names = [module.name for module in pkgutil.walk_packages(hardware_models.__path__, "hardware_models.")]
    assert "hardware_models.conventions.spikingformer" in names
    loaded = modules_after(*names)
    assert "hardware_models" in loaded
    assert not loaded & {"torch", "neuro", "quant", "torchvision", "rich"}


def test_the_energy_command_needs_no_torch():
    loaded = modules_after("neuro.cli.energy")
    assert "neuro" in loaded
    assert "torch" not in loaded
