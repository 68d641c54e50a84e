"""Whether somebody watches modules run; `neuro.kernels.watching` says it for all rooms."""

from neuro.kernels.watching import is_watched

__all__ = ["is_watched"]
