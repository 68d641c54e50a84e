"""Published architectures, one file each, and the registry that builds them."""

from neuro.models.registry import architecture, create_model, merge_model, model_names

__all__ = ["architecture", "create_model", "merge_model", "model_names"]
