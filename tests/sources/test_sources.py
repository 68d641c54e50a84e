"""Networks by their names: of timm, of transformers, of a user's own module; and the weights that go into them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from hardware_models.errors import InputError
from neuro.sources import load_source
from neuro.sources.companions import import_timm, import_transformers
from neuro.sources.source import Source
from quant.capture import capture


@pytest.fixture(scope="module")
def timm() -> Any:
    try:
        return import_timm()
    except ImportError:
        pytest.skip("timm is not installed")


@pytest.fixture(scope="module")
def transformers() -> Any:
    try:
        return import_transformers()
    except ImportError:
        pytest.skip("transformers is not installed")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return tmp_path


class TestTimm:
    def test_an_architecture_brings_its_input_and_normalisation(self, timm: Any) -> None:
        source = load_source("timm:test_vit")
        assert [list(x.shape) for x in source.example] == [[2, 3, 160, 160]]
        assert source.normalise is not None
        settings = timm.create_model("test_vit").pretrained_cfg
        assert source.normalise.mean == tuple(settings["mean"])
        assert source.normalise.std == tuple(settings["std"])
        assert (source.interpolation, source.crop) == (settings["interpolation"], settings["crop_pct"])
        assert not source.trained
        assert isinstance(source.model, nn.Module)
        assert not source.model.training

    def test_the_seed_makes_the_weights(self, timm: Any) -> None:
        before = torch.get_rng_state()
        one, same, other = (load_source("timm:test_resnet", seed=seed).model.state_dict() for seed in (1, 1, 2))
        assert all(torch.equal(one[name], same[name]) for name in one)
        assert not torch.equal(one["conv1.0.weight"], other["conv1.0.weight"])
        assert torch.equal(torch.get_rng_state(), before)

    @pytest.mark.parametrize("name", ["test_vit", "test_resnet"])
    @pytest.mark.parametrize(("size", "shape"), [(96, [2, 3, 96, 96]), ((1, 64, 32), [2, 1, 64, 32])])
    def test_another_size(self, timm: Any, name: str, size: Any, shape: list[int]) -> None:
        source = load_source(f"timm:{name}", input_size=size)
        assert list(source.example[0].shape) == shape
        assert isinstance(source.model, nn.Module)
        assert source.model(source.example[0]).shape[0] == 2
        if shape[1] == 1:
            assert source.normalise is None
            assert "channels" in source.notes[0]

    def test_an_unknown_architecture(self, timm: Any) -> None:
        with pytest.raises(InputError, match=r"timm [\d.]+ has no architecture 'resnet19'; did you mean resnet18 or"):
            load_source("timm:resnet19")
        with pytest.raises(InputError, match=r"has no architecture 'hf-hub:a/b'"):
            load_source("timm:hf-hub:a/b")

    def test_a_size_it_does_not_take(self, timm: Any) -> None:
        with pytest.raises(InputError, match=r"cannot make test_vit for images of 8 .*give another --input-size"):
            load_source("timm:test_vit", input_size=8)
        with pytest.raises(InputError, match=r"takes images, and the input size was \(3, 8\)"):
            load_source("timm:test_vit", input_size=(3, 8))

    def test_weights_by_name_and_by_order(self, timm: Any, tmp_path: Path) -> None:
        state = timm.create_model("test_resnet").state_dict()
        save_file(state, tmp_path / "named.safetensors")
        renamed = {f"{i:03}": value for i, (name, value) in enumerate(state.items()) if "num_batches" not in name}
        torch.save(renamed, tmp_path / "ordered.pt")
        for path, by_order in (("named.safetensors", False), ("ordered.pt", True)):
            source = load_source("timm:test_resnet", weights=tmp_path / path, weights_by_order=by_order)
            assert source.trained
            assert isinstance(source.model, nn.Module)
            assert all(torch.equal(state[name], value) for name, value in source.model.state_dict().items())

    def test_weights_that_do_not_fit_by_order(self, timm: Any, tmp_path: Path) -> None:
        state = {k: v for k, v in timm.create_model("test_resnet").state_dict().items() if "num_batches" not in k}
        torch.save(dict(list(state.items())[:-1]), tmp_path / "short.pt")
        torch.save({"x": torch.ones(2), **state}, tmp_path / "shifted.pt")
        with pytest.raises(InputError, match=rf"by order: it holds {len(state) - 1} tensors, expected {len(state)}"):
            load_source("timm:test_resnet", weights=tmp_path / "short.pt", weights_by_order=True)
        with pytest.raises(InputError, match=r"by order: tensor 1 is x \[2\], expected conv1\.0\.weight \["):
            load_source("timm:test_resnet", weights=tmp_path / "shifted.pt", weights_by_order=True)

    def test_it_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "timm", None)
        with pytest.raises(InputError, match=r"timm is not installed; pip install neuro\[hosts\] brings it"):
            load_source("timm:resnet18")


class TestTransformers:
    @pytest.fixture
    def folder(self, transformers: Any, tmp_path: Path) -> Path:
        config = transformers.ViTConfig(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=24,
            image_size=16,
            patch_size=8,
        )
        transformers.ViTForImageClassification(config).save_pretrained(tmp_path / "vit")
        settings = {"do_normalize": True, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}
        (tmp_path / "vit" / "preprocessor_config.json").write_text(json.dumps(settings))
        return tmp_path / "vit"

    def test_a_folder(self, transformers: Any, folder: Path) -> None:
        source = load_source(f"hf:{folder}")
        expected = transformers.ViTForImageClassification.from_pretrained(folder).eval()
        captured = capture(source.model, source.example)
        assert captured.output == ".logits"
        assert torch.allclose(captured.graph(*source.example), expected(*source.example).logits, atol=1e-5)
        assert source.trained
        assert source.normalise is not None
        assert (source.normalise.mean, source.normalise.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))

    def test_weights_of_a_folder_that_do_not_fit(self, transformers: Any, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"hidden_size": 32}))
        with pytest.raises(InputError, match=r"weights in .*vit do not fit ViTForImage\w+: \d+ of other shapes \("):
            load_source(f"hf:{folder}")
        (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 2}))
        with pytest.raises(InputError, match=r"do not fit ViTForImageClassification: \d+ missing \("):
            load_source(f"hf:{folder}")

    def test_a_folder_without_weights_has_random_ones(self, transformers: Any, folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        assert not load_source(f"hf:{folder}", input_size=32).trained

    def test_a_folder_of_something_else(self, transformers: Any, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"holds no config\.json that transformers [\d.]+ knows"):
            load_source(f"hf:{tmp_path}")

    @pytest.mark.parametrize("name", ["./none", "google/vit-base", "/none"])
    def test_nothing_is_downloaded(self, transformers: Any, name: str) -> None:
        with pytest.raises(InputError, match=r"is no folder; give one with config\.json, since nothing is downloaded"):
            load_source(f"hf:{name}")

    def test_a_name(self, transformers: Any) -> None:
        source = load_source("hf:mobilenet_v1", input_size=32)
        assert list(source.example[0].shape) == [2, 3, 32, 32]
        assert not source.trained
        with pytest.raises(InputError, match=r"transformers [\d.]+ has no architecture 'vitt'; did you mean vit or"):
            load_source("hf:vitt")

    def test_inputs_that_are_neither_images_nor_tokens(self, transformers: Any) -> None:
        with pytest.raises(InputError, match=r"hf:whisper takes input_features and perhaps more, expected images or"):
            load_source("hf:whisper")

    def test_it_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "transformers", None)
        with pytest.raises(InputError, match=r"transformers is not installed; pip install neuro\[hosts\] brings it"):
            load_source("hf:vit")


OWN = """
import torch
from torch import nn

def images():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())

def halves():
    return images().half()

def with_inputs():
    return nn.Bilinear(3, 4, 5), (torch.ones(2, 3), torch.ones(2, 4))

def nothing():
    return 3

def fails():
    raise ValueError("no such thing")

class Deep:
    net = nn.Linear(7, 2)
"""


class TestOwnModule:
    @pytest.fixture(autouse=True)
    def own(self, here: Path) -> None:
        (here / "own_networks.py").write_text(OWN)

    @pytest.mark.parametrize(
        ("name", "size", "shapes"),
        [
            ("images", 8, [[2, 1, 8, 8]]),
            ("images", (1, 4, 8), [[2, 1, 4, 8]]),
            ("with_inputs", None, [[2, 3], [2, 4]]),
            ("Deep.net", 7, [[2, 7]]),
        ],
    )
    def test_it_is_called(self, name: str, size: Any, shapes: list[list[int]]) -> None:
        source = load_source(f"own_networks:{name}", input_size=size)
        assert [list(x.shape) for x in source.example] == shapes
        assert isinstance(source.model, nn.Module)
        assert not source.model.training
        assert source.model(*source.example).shape[0] == 2

    def test_another_precision_is_said(self) -> None:
        source = load_source("own_networks:halves", input_size=8)
        assert source.notes == ("Its float16 weights are computed with in float32.",)
        assert isinstance(source.model, nn.Module)
        assert {one.dtype for one in source.model.parameters()} == {torch.float32}

    @pytest.mark.parametrize(
        ("source", "reason"),
        [
            ("own_networks:image", r"unknown factory in own_networks 'image'; did you mean 'images'"),
            ("own_network:images", r"there is no module own_network; give one that Python can import"),
            ("own_networks:nothing", r"own_networks:nothing returned int, expected a torch\.nn\.Module"),
            ("own_networks:fails", r"fails at own_networks\.py:18 \(fails\) \(ValueError: no such thing\)"),
            ("own_networks:torch", r"is module, expected a function that returns"),
            ("own_networks:images", r"does not say how large its input is; give --input-size"),
            ("own_networks", r"cannot tell what network 'own_networks' is; give timm:NAME, hf:NAME, module"),
        ],
    )
    def test_what_is_none(self, source: str, reason: str) -> None:
        with pytest.raises(InputError, match=reason):
            load_source(source)

    def test_a_module_that_fails_or_needs_another(self, here: Path) -> None:
        (here / "broken_networks.py").write_text("x = 1\ny = 1 / 0\n")
        (here / "needing_networks.py").write_text("import surely_not_installed\n")
        with pytest.raises(InputError, match=r"broken_networks fails at broken_networks\.py:2 .*ZeroDivisionError"):
            load_source("broken_networks:x")
        with pytest.raises(InputError, match=r"needing_networks needs surely_not_installed, which is not installed"):
            load_source("needing_networks:x")

    def test_a_size_that_is_none(self) -> None:
        with pytest.raises(InputError, match=r"input size was \(0,\); give whole numbers of at least 1"):
            load_source("own_networks:images", input_size=0)


def test_a_module_in_hand_is_left_as_it_is() -> None:
    model = nn.Linear(3, 2)
    source = Source.of_module(model, (torch.ones(1, 3),))
    assert (source.name, source.parameters, source.model.training) == ("Linear", 8, True)  # type: ignore[union-attr]
    with pytest.raises(InputError, match="give tensors with the batch as their first axis"):
        Source.of_module(model, (torch.ones(1, 3), torch.ones(2, 3)))
