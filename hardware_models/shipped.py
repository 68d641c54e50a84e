"""Find the configuration files that ship with the project."""

from __future__ import annotations

import importlib.resources
from pathlib import Path


def shipped_configs(package: str, kind: str) -> Path:
    """Return the folder of shipped `configs/<kind>` files.

    In a wheel each package carries its part as `<package>/configs/<kind>`; in a checkout the one folder
    `configs/` at the top serves all of them.
    """
    package_folder = Path(str(importlib.resources.files(package)))
    installed = package_folder / "configs" / kind
    return installed if installed.is_dir() else package_folder.parent / "configs" / kind
