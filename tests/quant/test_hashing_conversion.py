"""Softmax attention of networks exchanged for hashed attention: what is found, shared, dropped, kept and refused."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from hardware_models.errors import InputError
from quant.hashing import Hashed, HashedAttention, hash_attention


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Attention(nn.Module):
    """Softmax attention written out, as most networks of images have it."""

    def __init__(self, width: int = 16, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        B, N, C = x.shape
        q, k, v = self.qkv(x).reshape(B, N, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        return self.proj(self.attend(q, k, v).transpose(1, 2).reshape(B, N, C))

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return functional.dropout(self.weigh(q, k), 0.1, self.training) @ v

    def weigh(self, q: Tensor, k: Tensor) -> Tensor:
        return ((q @ k.transpose(-2, -1)) * q.shape[-1] ** -0.5).softmax(dim=-1)


class Biased(Attention):
    def weigh(self, q: Tensor, k: Tensor) -> Tensor:
        return (q @ k.transpose(-2, -1) + torch.ones(q.shape[-2])).softmax(dim=-1)


class Causal(Attention):
    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(q, k, v, is_causal=True)


class Negative(Attention):
    def weigh(self, q: Tensor, k: Tensor) -> Tensor:
        return ((q @ k.transpose(-2, -1)) * -1.0).softmax(dim=-1)


class OverKeysLast(Attention):
    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return self.weigh(q, k).transpose(-2, -1) @ v


class Talking(Attention):
    """Heads mix their weights, before the softmax and after it."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.after = nn.Linear(2, 2), nn.Linear(2, 2)

    def weigh(self, q: Tensor, k: Tensor) -> Tensor:
        mixed = self.before((q @ k.transpose(-2, -1)).permute(0, 2, 3, 1)).permute(0, 3, 1, 2).softmax(-1)
        return self.after(mixed.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class MixedScores(Talking):
    def weigh(self, q: Tensor, k: Tensor) -> Tensor:
        return self.before((q @ k.transpose(-2, -1)).permute(0, 2, 3, 1)).permute(0, 3, 1, 2).softmax(-1)


class Rolled(Attention):
    """Keys and values in another order than queries."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return self.weigh(q, k.roll(1, -2)) @ v.roll(1, -2)


class Fused(Attention):
    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(q, k, v)


class Tempered(Attention):
    """A learned temperature for each head, on queries."""

    def __init__(self) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.tensor([0.5, 2.0]).view(2, 1, 1))

    def weigh(self, q: Tensor, k: Tensor) -> Tensor:
        return ((q * self.temperature) @ (k / 3).mT).softmax(-1)


class Own(nn.Module):
    """Projections of their own, keys from every second token."""

    def __init__(self, every: int = 2) -> None:
        super().__init__()
        self.every = every
        self.q, self.k, self.v = (nn.Linear(16, 16) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        fewer = x[:, :: self.every] if self.every > 1 else x
        q, k, v = (
            f(y).unflatten(-1, (2, 8)).transpose(1, 2) for f, y in ((self.q, x), (self.k, fewer), (self.v, fewer))
        )
        return functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


class Block(nn.Module):
    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.norm, self.attn, self.mlp = nn.LayerNorm(16), attention, nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm(x))
        return x + functional.gelu(self.mlp(x))


def network(*attentions: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for attention in attentions:
        for parameter in attention.parameters():
            if parameter.dim() > 1 and parameter.shape[-1] > 1:
                nn.init.normal_(parameter, 0, 0.3)
    return nn.Sequential(*(Block(attention) for attention in attentions)).eval()


def convert(model: nn.Module, x: Tensor | None = None, **options: Any) -> Hashed:
    options = {"bits": 4, "anchors": 8, "iterations": 2} | options
    return hash_attention(model, noise(3, 12, 16) if x is None else x, **options)


def hashed_modules(hashed: Hashed) -> dict[str, HashedAttention]:
    return {path: m for path, m in hashed.network.named_modules() if isinstance(m, HashedAttention)}


def by_hand(block: Any, module: HashedAttention, x: Tensor, rows: tuple[slice, slice, slice], shift: int = 0) -> Tensor:
    """A block whose attention is the hashed module on chosen rows of the fused projection."""
    projected = block.attn.qkv(block.norm(x))
    q, k, v = (projected[..., one].unflatten(-1, (2, 8)).transpose(1, 2) for one in rows)
    k, v = k.roll(shift, -2), v.roll(shift, -2)
    x = x + block.attn.proj(module(q, k, v).transpose(1, 2).flatten(2))
    return x + functional.gelu(block.mlp(x))


QUERY, KEY, VALUE = slice(0, 16), slice(16, 32), slice(32, 48)


class TestWhatIsComputed:
    @pytest.mark.parametrize("attention", [Attention, Fused, Tempered])
    def test_queries_are_the_keys(self, attention: Callable[[], Attention]) -> None:
        model, x = network(attention()), noise(5, 12, 16, seed=3)
        hashed = convert(model)
        (module,) = hashed_modules(hashed).values()
        wanted = by_hand(model[0], module, x, (QUERY, QUERY, VALUE))  # type: ignore[index]
        assert torch.allclose(hashed.network(x), wanted, atol=1e-5)
        assert hashed.record[0].became == "hashed"
        assert hashed.record[0].note == "keys are the queries; 32 of 48 rows of 0.attn.qkv are left"

    def test_keys_stay_where_nothing_is_shared(self) -> None:
        model, x = network(Attention()), noise(2, 12, 16, seed=3)
        hashed = convert(model, share=False)
        (module,) = hashed_modules(hashed).values()
        wanted = by_hand(model[0], module, x, (QUERY, KEY, VALUE))  # type: ignore[index]
        assert torch.allclose(hashed.network(x), wanted, atol=1e-5)
        assert hashed.record[0].note == "keys hashed on their own: as asked"

    def test_the_projection_of_keys_is_gone(self) -> None:
        hashed = convert(network(Attention()))
        assert sum(p.numel() for n, p in hashed.network.named_parameters() if "qkv" in n) == 2 * 16 * 17
        own = convert(network(Own(every=1)))
        assert not [name for name, _ in own.network.named_parameters() if ".k." in name]

    def test_other_tokens_are_no_queries(self) -> None:
        hashed = convert(network(Own()), offset="all")
        assert hashed.record[0].note == "keys hashed on their own: 12 queries meet 6 keys"
        assert (hashed.record[0].queries, hashed.record[0].keys, hashed.record[0].heads) == (12, 6, 2)

    def test_cross_attention_is_not_shared(self) -> None:
        class Cross(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.mha = nn.MultiheadAttention(16, 2, batch_first=True)

            def forward(self, x: Tensor, y: Tensor) -> Tensor:
                return self.mha(x, y, y)[0]

        hashed = hash_attention(
            Cross().eval(), (noise(2, 12, 16), noise(2, 12, 16, seed=1)), bits=2, anchors=4, iterations=1
        )
        assert hashed.record[0].note.endswith("queries and keys are not projections of the same tokens")

    def test_keys_in_another_order_are_not_shared(self) -> None:
        model, x = network(Rolled()), noise(2, 12, 16, seed=3)
        hashed = convert(model)
        assert hashed.record[0].note.endswith("queries and keys are not projections of the same tokens")
        (module,) = hashed_modules(hashed).values()
        wanted = by_hand(model[0], module, x, (QUERY, KEY, VALUE), shift=1)  # type: ignore[index]
        assert torch.allclose(hashed.network(x), wanted, atol=1e-5)

    def test_attention_of_the_network_itself(self) -> None:
        torch.manual_seed(0)
        hashed = convert(Attention().eval())
        assert list(hashed_modules(hashed)) == ["hashed"]
        assert hashed.record[0].path == "the network"

    def test_two_attentions_of_one_module(self) -> None:
        class Twice(Attention):
            def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
                return super().attend(q, k, super().attend(q, k, v))

        hashed = convert(network(Twice()))
        assert [one.path for one in hashed.record] == ["0.attn", "0.attn#2"]
        assert len(hashed_modules(hashed)) == 2

    @pytest.mark.parametrize("need_weights", [True, False])
    def test_multihead_attention_of_torch(self, need_weights: bool) -> None:
        class Self(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.mha = nn.MultiheadAttention(16, 2, batch_first=True)

            def forward(self, x: Tensor) -> Tensor:
                return self.mha(x, x, x, need_weights=need_weights)[0]

        torch.manual_seed(0)
        model, x = Self().eval(), noise(4, 12, 16, seed=2)
        hashed = convert(model)
        (module,) = hashed_modules(hashed).values()
        assert module.heads == 2
        assert "32 of 48 rows of mha are left" in hashed.record[0].note
        weight, bias = model.mha.in_proj_weight, model.mha.in_proj_bias
        q, v = (
            functional.linear(x, weight[rows], bias[rows]).unflatten(-1, (2, 8)).transpose(1, 2)
            for rows in (QUERY, VALUE)
        )
        wanted = model.mha.out_proj(module(q, None, v).transpose(1, 2).flatten(2))
        assert torch.allclose(hashed.network(x), wanted, atol=1e-5)

    def test_layers_learn_from_hashed_layers_before_them(self) -> None:
        x = noise(3, 12, 16)
        hashed = convert(network(Attention(), Attention()), x)
        seen: list[Tensor] = []
        last = list(hashed_modules(hashed).values())[-1]
        last.register_forward_hook(lambda module, args, out: seen.append(args[0]))
        hashed.network(x)
        assert last.features(seen[0]).mean((0, 2)).abs().max() < 1e-6

    def test_the_model_is_left_alone(self) -> None:
        model, x = network(Attention()), noise(2, 12, 16)
        before = model(x)
        convert(model)
        assert model(x).equal(before)

    def test_a_seed_makes_the_same_network(self) -> None:
        first, again = (convert(network(Attention())).network.state_dict() for _ in range(2))
        assert all(first[name].equal(again[name]) for name in first)


@pytest.fixture(scope="module")
def hashed() -> Hashed:
    return convert(network(Attention(), Own()))


class TestNetwork:
    def test_any_batch_runs(self, hashed: Hashed) -> None:
        x = noise(7, 12, 16, seed=5)
        whole = hashed.network(x)
        assert torch.allclose(hashed.network(x[:1]), whole[:1], atol=1e-5)

    def test_it_trains(self, hashed: Hashed) -> None:
        model = copy.deepcopy(hashed.network)
        model(noise(2, 12, 16)).square().sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
        assert "0.attn.hashed.anchors" in model.state_dict()

    @pytest.mark.parametrize("through", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
    def test_copies_compute_the_same(self, hashed: Hashed, through: Callable[[fx.GraphModule], fx.GraphModule]) -> None:
        x = noise(2, 12, 16)
        assert through(hashed.network)(x).equal(hashed.network(x))

    def test_the_state_loads(self, hashed: Hashed) -> None:
        other = convert(network(Attention(), Own()), seed=9)
        other.network.load_state_dict(hashed.network.state_dict())
        x = noise(2, 12, 16)
        assert other.network(x).equal(hashed.network(x))

    def test_it_compiles_and_exports(self, hashed: Hashed) -> None:
        x = noise(2, 12, 16)
        wanted = hashed.network(x)
        assert torch.allclose(torch.compile(hashed.network, fullgraph=True, backend="eager")(x), wanted, atol=1e-5)
        assert torch.allclose(torch.export.export(hashed.network, (x,)).module()(x), wanted, atol=1e-5)


class TestKept:
    def test_what_is_kept_stands_in_the_record(self) -> None:
        model, x = network(Attention(), Biased()), noise(3, 12, 16)
        hashed = convert(model, x, keep=["1.*"])
        assert [(one.path, one.became, one.note) for one in hashed.record][1] == (
            "1.attn",
            "kept",
            "as asked; a bias or mask is added to its scores",
        )
        assert list(hashed_modules(hashed)) == ["0.attn.hashed"]

    def test_what_is_not_selected_computes_as_before(self) -> None:
        model, x = network(Attention(), Attention()), noise(3, 12, 16)
        hashed = convert(model, x, select=["1.*"])
        assert (hashed.record[0].became, hashed.record[0].note) == ("kept", "not selected")
        (module,) = hashed_modules(hashed).values()
        wanted = by_hand(model[1], module, model[0](x), (QUERY, QUERY, VALUE))  # type: ignore[index]
        assert torch.allclose(hashed.network(x), wanted, atol=1e-5)


class TestRefusals:
    @pytest.mark.parametrize(
        ("attention", "reason"),
        [
            (Biased, "a bias or mask is added to its scores"),
            (Causal, "its scores are masked"),
            (MixedScores, "its scores come from aten.permute.default, not from a product"),
            (Negative, "multiplied by what is no positive constant"),
            (OverKeysLast, "the result of its softmax is changed before it weighs values"),
            (Talking, "the result of its softmax is changed before it weighs values"),
        ],
    )
    def test_what_hashing_cannot_express(self, attention: Callable[[], nn.Module], reason: str) -> None:
        with pytest.raises(InputError, match=rf"0\.attn .*{reason}.*keep=\['0.attn'\]"):
            convert(network(attention()))

    def test_several_are_named_together(self) -> None:
        with pytest.raises(InputError, match=r"1 more like it: 2\.attn.*keep=\['0.attn', '2.attn'\]"):
            convert(network(Biased(), Attention(), Causal()))

    def test_no_attention(self) -> None:
        model = nn.Sequential(nn.Linear(16, 4), nn.Softmax(-1)).eval()
        with pytest.raises(InputError, match="holds no softmax attention"):
            convert(model, noise(2, 16))

    def test_patterns(self) -> None:
        with pytest.raises(InputError, match=r"unknown pattern of attention paths 'stages\.\*'.*Known: 0\.attn"):
            convert(network(Attention()), keep=["stages.*"])
        with pytest.raises(InputError, match="leaves none of 1 attentions to hash"):
            convert(network(Attention()), keep=["0.attn"])

    def test_own_values_without_as_many_keys(self) -> None:
        with pytest.raises(InputError, match=r"0\.attn: 12 queries meet 6 keys, but offset 'own'"):
            convert(network(Own()), offset="own")

    def test_numbers(self) -> None:
        with pytest.raises(InputError, match="bits is 0"):
            convert(network(Attention()), bits=0)

    def test_examples_that_nothing_can_be_learned_from(self) -> None:
        with pytest.raises(InputError, match=r"0\.attn: the examples hold 12 tokens, expected as many as anchors, 25"):
            convert(network(Attention()), noise(1, 12, 16), anchors=25)
        with pytest.raises(InputError, match=r"0\.attn: all tokens point the same way"):
            convert(network(Attention()), torch.ones(3, 12, 16))
        x = noise(3, 12, 16)
        x[0, 0, 0] = torch.nan
        with pytest.raises(InputError):
            convert(network(Attention()), x)
