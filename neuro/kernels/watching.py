"""Whether somebody watches modules run, who would miss them if one kernel did the work of several."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules import module as torch_module
from torch.utils._python_dispatch import _get_current_dispatch_mode

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def is_watched(*modules: nn.Module) -> bool:
    """Whether hooks, on one of the modules or on all there are, or a dispatch mode would see them run.

    A mode that is content with fused operators says so by `sees_fused_operators = True`.
    """
    if any(getattr(torch_module, f"_global{name}", None) for name in _HOOKS):
        return True
    if any(getattr(module, name) for module in modules for name in _HOOKS):
        return True
    # A graph is compiled once for all runs: what watches the compiler is not a user's.
    mode = None if torch.compiler.is_compiling() else _get_current_dispatch_mode()
    return mode is not None and not getattr(mode, "sees_fused_operators", False)
