"""Hashed attention: codes and sums against what they are defined as, learning, state, gradients, refusals."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from hardware_models.errors import InputError
from quant.hashing import HashedAttention, learn_hashes, linear_attention


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def two_clusters(tokens: int = 40, width: int = 8) -> tuple[Tensor, Tensor]:
    """`[2, 3, tokens, width]` around two directions in each head, and which of them each token is near."""
    which = torch.arange(tokens) % 2
    centres = noise(3, 2, width, seed=1)
    return centres[:, which] + 0.2 * noise(2, 3, tokens, width), which


def codes_by_hand(module: HashedAttention, x: np.ndarray) -> np.ndarray:
    """Signs of W (exp(-|x - a|^2 / 2 s) - mean), loop by loop in float64."""
    anchors, mean, weight = (t.detach().double().numpy() for t in (module.anchors, module.mean, module.weight))
    out = np.zeros((*x.shape[:3], weight.shape[1]))
    for b in range(x.shape[0]):
        for h in range(x.shape[1]):
            rows = x[b, h] / np.linalg.norm(x[b, h], axis=1, keepdims=True)
            squares = np.array([[np.sum((row - a) ** 2) for a in anchors[h]] for row in rows])
            features = np.exp(-squares / (2 * squares.mean())) - mean[h]
            out[b, h] = np.where(features @ weight[h].T > 0, 1, -1)
    return out


class TestCodes:
    def test_they_are_the_signs_of_the_stated_function(self) -> None:
        module = HashedAttention(3, 8, bits=5, anchors=7, seed=3)
        x = noise(2, 3, 11, 8)
        learn_hashes(module, x, iterations=2)
        assert np.array_equal(module.codes(x).detach().numpy(), codes_by_hand(module, x.double().numpy()))

    def test_length_and_scale_of_a_token_do_not_matter(self) -> None:
        module, x = HashedAttention(2, 8), noise(1, 2, 30, 8)
        assert module.codes(x).equal(module.codes(x * torch.rand(1, 2, 30, 1).add(0.1)))

    def test_zero_and_constant_tokens_have_codes(self) -> None:
        codes = HashedAttention(1, 4).codes(torch.zeros(1, 1, 3, 4))
        assert codes.abs().eq(1).all()

    def test_nan_is_not_hidden(self) -> None:
        x = noise(1, 2, 30, 8)
        x[0, 0, 0, 0] = torch.nan
        module = HashedAttention(2, 8)
        assert module.codes(x)[0, 0].isnan().all()  # the variance is that of all tokens of the head
        assert not module.codes(x)[0, 1].isnan().any()
        assert module(noise(1, 2, 30, 8), None, x)[0, 0].isnan().any()

    def test_keys_have_the_functions_and_variance_of_queries(self) -> None:
        module, x = HashedAttention(2, 8, bits=4), noise(1, 2, 30, 8)
        both = module.codes(x)
        out = module(x[:, :, :10], x[:, :, 10:], v := noise(1, 2, 20, 8, seed=2))
        assert torch.allclose(out, linear_attention(both[:, :, :10], both[:, :, 10:], v))


class TestLinearForm:
    @pytest.mark.parametrize("offset", ["all", "own"])
    def test_it_is_the_explicit_matrix(self, offset: str) -> None:
        q, k, v = noise(2, 3, 50, 16).sign(), noise(2, 3, 50, 16, seed=1).sign(), noise(2, 3, 50, 9, seed=2)
        similar = torch.einsum("bhnd,bhmd->bhnm", q, k).double()
        weights = similar + 17
        assert weights.min() >= 1
        top = weights @ v.double() if offset == "all" else similar @ v.double() + 17 * v.double()
        wanted = top / weights.sum(-1, keepdim=True)
        assert torch.allclose(linear_attention(q, k, v, offset).double(), wanted, atol=1e-5)  # type: ignore[arg-type]

    def test_a_mean_of_values_stays_among_them(self) -> None:
        module = HashedAttention(2, 8)
        out = module(noise(2, 2, 40, 8), None, v := noise(2, 2, 40, 5, seed=4))
        assert (out <= v.amax(-2, keepdim=True)).all()
        assert (out >= v.amin(-2, keepdim=True)).all()

    def test_constant_queries_give_the_plain_mean(self) -> None:
        v = noise(1, 1, 12, 4)
        out = HashedAttention(1, 8)(torch.ones(1, 1, 12, 8), None, v)
        assert torch.allclose(out, v.mean(-2, keepdim=True).expand_as(v), atol=1e-6)


class TestLearning:
    def test_two_clusters_get_two_codes(self) -> None:
        x, which = two_clusters()
        module = HashedAttention(3, 8)
        assert learn_hashes(module, x, iterations=20) > 1.2
        codes = module.codes(x)
        similar = codes @ codes.transpose(-2, -1) / 16
        same = which[:, None] == which
        assert similar[..., same].mean() > 0.6
        assert similar[..., ~same].mean() < -0.6

    def test_descent_improves_on_the_random_start(self) -> None:
        x = noise(2, 2, 60, 8)
        before, after = (learn_hashes(HashedAttention(2, 8), x, iterations=n, learning_rate=0.5) for n in (0, 30))
        assert after > before + 0.05

    def test_pairs_between_queries_and_keys(self) -> None:
        q, _ = two_clusters()
        k = q[:, :, :10]
        module = HashedAttention(3, 8)
        assert learn_hashes(module, q, k, pairs=5, iterations=10) > 1.2

    def test_a_seed_makes_the_same_functions(self) -> None:
        first, again, other = (HashedAttention(2, 8, bits=3) for _ in range(3))
        for module, seed in ((first, 0), (again, 0), (other, 1)):
            learn_hashes(module, noise(2, 2, 30, 8), iterations=2, seed=seed)
        assert all(a.equal(b) for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True))
        assert not first.weight.equal(other.weight)
        learn_hashes(first, noise(2, 2, 30, 8), iterations=2)
        assert first.weight.equal(again.weight)

    def test_anchors_are_tokens_and_features_are_centred(self) -> None:
        module, x = HashedAttention(2, 8), noise(2, 2, 30, 8)
        learn_hashes(module, x, iterations=0)
        every = torch.nn.functional.normalize(x, dim=-1).transpose(0, 1).flatten(1, 2)
        nearest = torch.cdist(module.anchors, every).amin(-1)
        assert nearest.max() < 1e-3
        assert module.features(x).mean((0, 2)).abs().max() < 1e-6

    def test_it_works_where_gradients_are_off(self) -> None:
        module = HashedAttention(2, 8, bits=2)
        with torch.inference_mode():
            x = noise(1, 2, 30, 8)
            assert learn_hashes(module, x, iterations=3) > 0


class TestModule:
    def test_gradients_pass_straight_through(self) -> None:
        module = HashedAttention(2, 8)
        q, v = noise(1, 2, 30, 8).requires_grad_(), noise(1, 2, 30, 8, seed=1).requires_grad_()
        module(q, None, v).square().sum().backward()
        for tensor in (q, v, module.weight):
            assert tensor.grad is not None
            assert tensor.grad.isfinite().all()
            assert tensor.grad.abs().max() > 0

    def test_the_gradient_of_the_sign_is_one_between_minus_one_and_one(self) -> None:
        from quant.hashing.attention import sign

        x = torch.tensor([-2.0, -0.5, 0.0, 0.5, 2.0], requires_grad=True)
        y = sign(x)
        y.sum().backward()
        assert y.tolist() == [-1, -1, -1, 1, 1]
        assert x.grad is not None
        assert x.grad.tolist() == [0, 1, 1, 1, 0]

    def test_state_is_complete_from_the_beginning(self) -> None:
        fresh, learned = HashedAttention(2, 8), HashedAttention(2, 8, seed=5)
        assert sorted(fresh.state_dict()) == ["anchors", "mean", "weight"]
        learn_hashes(learned, x := noise(2, 2, 30, 8), iterations=2)
        fresh.load_state_dict(learned.state_dict())
        assert fresh(x, None, x).equal(learned(x, None, x))

    @pytest.mark.parametrize("through", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
    def test_copies_compute_the_same(self, through: Callable[[HashedAttention], HashedAttention]) -> None:
        module, x = HashedAttention(2, 8), noise(1, 2, 30, 8)
        assert through(module)(x, None, x).equal(module(x, None, x))

    def test_it_compiles_in_one_graph(self) -> None:
        module, x = HashedAttention(2, 8), noise(1, 2, 30, 8)
        compiled = torch.compile(module, fullgraph=True, backend="eager")
        y = x.clone().requires_grad_()
        out = compiled(y, None, x)
        out.sum().backward()
        assert y.grad is not None
        assert torch.allclose(out, module(x, None, x))

    def test_it_exports(self) -> None:
        module, x = HashedAttention(2, 8), noise(2, 2, 30, 8)
        program = torch.export.export(module, (x, x[:, :, :7], x[:, :, :7]))
        assert torch.allclose(program.module()(x, x[:, :, :7], x[:, :, :7]), module(x, x[:, :, :7], x[:, :, :7]))

    def test_inference_mode_runs(self) -> None:
        with torch.inference_mode():
            assert HashedAttention(2, 8)(noise(1, 2, 30, 8), None, noise(1, 2, 30, 3)).shape == (1, 2, 30, 3)


class TestRefusals:
    @pytest.mark.parametrize("bits", [0, 65, -1])
    def test_bits(self, bits: int) -> None:
        with pytest.raises(InputError, match=f"bits is {bits}, expected 1 to 64"):
            HashedAttention(2, 8, bits=bits)

    def test_sizes_and_offset(self) -> None:
        with pytest.raises(InputError, match="anchors is 0, expected at least 1"):
            HashedAttention(2, 8, anchors=0)
        with pytest.raises(InputError, match="offset is 'mine', expected 'all' or 'own'"):
            HashedAttention(2, 8, offset="mine")  # type: ignore[arg-type]

    def test_shapes(self) -> None:
        module, x = HashedAttention(2, 8), noise(1, 2, 30, 8)
        with pytest.raises(InputError, match=r"queries have shape \[1, 30, 2, 8\], expected \[B, 2, N, 8\]"):
            module(x.transpose(1, 2), None, x)
        with pytest.raises(InputError, match=r"values have shape \[1, 2, 9, 8\] and keys \[1, 2, 30, 8\]"):
            module(x, None, x[:, :, :9])
        with pytest.raises(InputError, match="30 queries meet 9 values"):
            HashedAttention(2, 8, offset="own")(x, x[:, :, :9], x[:, :, :9])

    def test_tokens_that_nothing_can_be_learned_from(self) -> None:
        module = HashedAttention(2, 8)
        x = noise(1, 2, 30, 8)
        with pytest.raises(InputError, match="the examples hold 24 tokens, expected as many as anchors, 25"):
            learn_hashes(module, x[:, :, :24])
        with pytest.raises(InputError, match="all tokens point the same way"):
            learn_hashes(module, torch.ones(1, 2, 30, 8))
        with pytest.raises(InputError, match="there is 1 key, expected 2 or more"):
            learn_hashes(module, x, x[:, :, :1])
        x[0, 0, 3, 1] = torch.nan
        with pytest.raises(InputError, match="the queries hold NaN or infinity"):
            learn_hashes(module, x)
        with pytest.raises(InputError, match=r"queries have shape \[1, 1, 30, 8\]"):
            learn_hashes(module, x[:, :1])
        with pytest.raises(InputError, match="iterations is -1"):
            learn_hashes(module, x, iterations=-1)

    def test_few_tokens_of_many_samples_are_enough_for_the_anchors(self) -> None:
        learn_hashes(HashedAttention(2, 8, bits=2), noise(3, 2, 9, 8), iterations=1)
