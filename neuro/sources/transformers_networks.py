"""Networks of transformers: from a local folder, or an architecture by its name; nothing is downloaded."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hardware_models.errors import InputError
from neuro.data.batching import Normalise
from neuro.sources.companions import import_transformers
from neuro.sources.source import BATCH, Size, Source, in_evaluation, not_installed
from quant.capture.complaints import said

_USUAL_SIDE = 224
"""Side of images where a network takes any and its configuration names none."""

_USUAL_TOKENS = 128


def from_transformers(name: str, size: Size) -> Source:
    """Make a network.

    Args:
        name: a folder with config.json, and safetensors or not; a type such as `vit`; or the name of a class, such as
            `ViTForImageClassification` or `ViTConfig`. Without a folder, weights are random.
        size: the side of square images, their shape `(C, H, W)`, or the number of tokens; None takes the
            configuration's.

    Raises:
        InputError: transformers is not installed, the folder or name is none it knows, weights do not fit, or the input
            is neither images nor tokens and no size was given.
    """
    try:
        transformers = import_transformers()
    except ImportError as error:
        raise not_installed("transformers") from error
    folder = Path(name)
    saved = folder.is_dir()
    if not saved and ("/" in name or name.startswith(".")):
        raise InputError(f"{name} is no folder; give one with config.json, since nothing is downloaded.")
    config, kind = _saved(transformers, folder) if saved else _named(transformers, name)
    config.use_cache = False  # what was computed for earlier tokens would be state
    if size is not None and hasattr(config, "image_size"):
        config.image_size = size[-1] if isinstance(config.image_size, int) else (size * 2)[-2:]
    trained = saved and any(folder.glob("*.safetensors"))
    try:
        model = _with_weights(kind, folder, config) if trained else kind(config)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"transformers cannot make {name} ({said(error)}); check its config.json.") from error
    made, notes = in_evaluation(model)
    example, note = _example(name, made, config, size)
    normalise = _normalise(folder / "preprocessor_config.json") if saved else None
    return Source(folder.name if saved else name, made, (example,), normalise, trained=trained, notes=(*notes, *note))


def _saved(transformers: Any, folder: Path) -> tuple[Any, Any]:
    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise InputError(
            f"{folder} holds no config.json that transformers {transformers.__version__} knows "
            f"({type(error).__name__}); give a folder that save_pretrained wrote."
        ) from error
    named = (config.architectures or [""])[0]
    return config, getattr(transformers, named, None) or _network_class(config)


def _named(transformers: Any, name: str) -> tuple[Any, Any]:
    """The default configuration and the class of an architecture."""
    known = transformers.CONFIG_MAPPING
    if name in known:
        config = known[name]()
        return config, _network_class(config)
    kind: Any = getattr(transformers, name, None) if name.isidentifier() else None
    configuration: Any = getattr(kind, "config_class", None)
    if isinstance(kind, type) and issubclass(kind, transformers.PretrainedConfig):
        config = kind()
        return config, _network_class(config)
    if isinstance(kind, type) and issubclass(kind, transformers.PreTrainedModel) and configuration:
        return configuration(), kind
    near = difflib.get_close_matches(name, known.keys(), 3, 0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "give a type such as vit, or a local folder."
    raise InputError(f"transformers {transformers.__version__} has no architecture {name!r}; {hint}")


def _network_class(config: Any) -> Any:
    """A classifier of images where the architecture has one, else the network without a head."""
    from transformers.models.auto import modeling_auto

    for mapping in (modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING, modeling_auto.MODEL_MAPPING):
        if type(config) in mapping:
            found = mapping[type(config)]
            return found[0] if isinstance(found, tuple) else found
    raise InputError(f"{type(config).__name__} belongs to no network alone; give the name of a class of transformers.")


def _with_weights(kind: Any, folder: Path, config: Any) -> nn.Module:
    model, found = kind.from_pretrained(
        folder,
        config=config,
        local_files_only=True,
        use_safetensors=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # they are refused below, with the others
    )
    faults = {
        "missing": sorted(found["missing_keys"]),
        "unknown": sorted(found["unexpected_keys"]),
        "of other shapes": sorted(str(one[0]) for one in found["mismatched_keys"]),
    }
    said = [f"{len(names)} {fault} ({names[0]})" for fault, names in faults.items() if names]
    if said:
        raise InputError(
            f"the weights in {folder} do not fit {kind.__name__}: {', '.join(said)}; check config.json and "
            "--input-size."
        )
    made: nn.Module = model
    return made


def _example(name: str, model: Any, config: Any, size: Size) -> tuple[Tensor, tuple[str, ...]]:
    """A random input, and a sentence where its size was nobody's choice."""
    if model.main_input_name == "pixel_values":
        side = getattr(config, "image_size", None)
        note = () if size or side else (f"Its configuration names no size of images; {_USUAL_SIDE} was taken.",)
        sides = (side,) if isinstance(side, int) else tuple(side or (_USUAL_SIDE,))
        sides = size[-2:] if size else sides
        channels = size[0] if size and len(size) == 3 else getattr(config, "num_channels", 3)
        return torch.randn(BATCH, channels, *(sides * 2)[-2:]), note
    vocabulary = getattr(config, "vocab_size", None)
    if model.main_input_name == "input_ids" and vocabulary and not getattr(config, "is_encoder_decoder", False):
        longest = getattr(config, "max_position_embeddings", None) or _USUAL_TOKENS
        tokens = size[0] if size else min(longest, _USUAL_TOKENS)
        return torch.randint(1, vocabulary, (BATCH, tokens)), ()
    raise InputError(
        f"hf:{name} takes {model.main_input_name} and perhaps more, expected images or tokens alone; give "
        "module.path:factory of a module around the part to convert."
    )


def _normalise(path: Path) -> Normalise | None:
    """What the processor beside a network does with pixels."""
    if not path.is_file():
        return None
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        if not settings.get("do_normalize", True):
            return None
        mean, std = (tuple(map(float, settings[key])) for key in ("image_mean", "image_std"))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} does not say image_mean and image_std ({type(error).__name__}); mend it or take it away."
        ) from error
    return Normalise(mean, std)
