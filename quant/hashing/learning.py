"""Hash functions learned from examples: codes of similar tokens shall be near, of dissimilar ones far apart.

    S_ij = 1 for the 10 keys j most similar to query i, -1 for the 10 least similar, else 0     (cosine)
    bit r:  maximise  y^T (b S - sum_(s<r) y_s y_s^T) y,    y = sign(W_r K(x))

Bits are learned one after the other, each against what those before it leave over. In place of the sign stands
2 sigmoid(.) - 1 while gradients are taken; a bit keeps its random start where that has the better signs.
Source: kernel-based supervised hashing (Liu et al., CVPR 2012) as in EcoFormer, arXiv:2209.09004.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from hardware_models.errors import InputError
from quant.hashing.attention import HashedAttention, kernel


class _Pairs(NamedTuple):
    """For each query, the keys it shall agree with and those it shall not, `[B, heads, N, pairs]` each."""

    near: Tensor
    far: Tensor


def learn_hashes(
    module: HashedAttention,
    q: Tensor,
    k: Tensor | None = None,
    *,
    pairs: int = 10,
    iterations: int = 100,
    learning_rate: float = 5e-4,
    momentum: float = 0.9,
    seed: int = 0,
) -> float:
    """Choose anchors among the tokens and learn the hash functions, in place.

    Anchors are drawn from the tokens of all samples, the same places for all heads. The start of the hash functions
    depends on the seed alone, so learning twice gives the same.

    Args:
        module: the attention that is to learn.
        q: queries `[B, heads, N, d]`, as the attention sees them.
        k: keys `[B, heads, M, d]`; None where they are the queries.
        pairs: most and least similar keys of each query; at most half of the keys are either.
        iterations: steps of gradient descent (Nesterov) for each bit.
        learning_rate: of these steps.
        momentum: of these steps.
        seed: of anchors and start.

    Returns:
        Mean inner product of the codes of similar pairs minus that of dissimilar ones, by bit: -2 to 2; 0 is chance.

    Raises:
        InputError: NaN or infinite activations, tokens that are all the same, fewer tokens than anchors or than two
            keys, or a number out of range.
    """
    if iterations < 0 or pairs < 1:
        raise InputError(f"iterations is {iterations} and pairs {pairs}; give at least 0 and at least 1.")
    with torch.inference_mode(False), torch.no_grad():
        queries = _checked(q, "queries", module)
        keys = queries if k is None else _checked(k, "keys", module)
        tokens = queries if k is None else torch.cat((queries, keys), -2)
        if keys.shape[-2] < 2:
            raise InputError(f"there is {keys.shape[-2]} key, expected 2 or more; keep this attention.")
        if bool((tokens == tokens[:1, :, :1]).all()):
            raise InputError("all tokens point the same way, so none is more similar; give other example inputs.")
        generator = torch.Generator().manual_seed(seed)
        module.anchors.copy_(_choose_anchors(tokens, module.anchors.shape[1], generator))
        features = kernel(tokens, module.anchors)
        module.mean.copy_(features.mean((0, 2)))
        features = features - module.mean.unsqueeze(-2)
        of_queries = features[..., : queries.shape[-2], :]
        of_keys = of_queries if k is None else features[..., queries.shape[-2] :, :]
        task = _Task(of_queries, of_keys, _find_pairs(queries, keys, pairs), module.bits)
        start = torch.randn(module.weight.shape, generator=generator).to(module.weight)
        for bit in range(module.bits):
            learned = task.descend(start[:, bit], iterations, learning_rate, momentum)
            module.weight[:, bit] = task.take(start[:, bit], learned)
        return task.separation()


def _checked(x: Tensor, name: str, module: HashedAttention) -> Tensor:
    """Return the tokens at length 1."""
    if x.dim() != 4 or x.shape[1] != module.heads or x.shape[-1] != module.head_width:
        raise InputError(
            f"{name} have shape {list(x.shape)}, expected [B, {module.heads}, N, {module.head_width}]; "
            "give activations of this attention."
        )
    if not bool(x.isfinite().all()):
        raise InputError(f"the {name} hold NaN or infinity, expected numbers; give inputs on which the network works.")
    return functional.normalize(x.detach().clone().to(module.anchors), dim=-1)


def _choose_anchors(tokens: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return `[heads, count, d]` of tokens `[B, heads, N, d]`."""
    every = tokens.transpose(0, 1).flatten(1, 2)
    if every.shape[1] < count:
        raise InputError(
            f"the examples hold {every.shape[1]} tokens, expected as many as anchors, {count}; "
            "give more examples or fewer anchors."
        )
    places = torch.randperm(every.shape[1], generator=generator)[:count]
    return every[:, places.to(every.device)]


def _find_pairs(queries: Tensor, keys: Tensor, pairs: int) -> _Pairs:
    """Find them sample by sample, for the matrix of similarities is large."""
    count = min(pairs, keys.shape[-2] // 2)
    near, far = [], []
    for one, others in zip(queries, keys, strict=True):
        similar = torch.matmul(one, others.transpose(-2, -1))
        near.append(similar.topk(count, -1).indices)
        far.append(similar.topk(count, -1, largest=False).indices)
    return _Pairs(torch.stack(near), torch.stack(far))


class _Task:
    """The objective of one bit, given those that are learned.

    Args:
        queries: centred kernel `[B, heads, N, m]`.
        keys: centred kernel `[B, heads, M, m]`; the same tensor where keys are queries.
        pairs: which of them shall agree.
        bits: b.
    """

    def __init__(self, queries: Tensor, keys: Tensor, pairs: _Pairs, bits: int) -> None:
        self._queries, self._keys, self._pairs, self._bits = queries, keys, pairs, bits
        self._learned: list[tuple[Tensor, Tensor]] = []

    def descend(self, start: Tensor, iterations: int, learning_rate: float, momentum: float) -> Tensor:
        """Return weights `[heads, m]` after gradient descent on the relaxed bit."""
        with torch.enable_grad():
            weight = start.clone().requires_grad_()
            optimizer = torch.optim.SGD([weight], lr=learning_rate, momentum=momentum, nesterov=momentum > 0)
            for _ in range(iterations):
                optimizer.zero_grad()
                self._loss(*(2 * torch.sigmoid(y) - 1 for y in self._project(weight))).backward()
                optimizer.step()
        return weight.detach()

    def take(self, start: Tensor, learned: Tensor) -> Tensor:
        """Return the weights whose signs serve better, and count their bit among the learned."""
        before, after = (tuple(torch.where(y > 0, 1.0, -1.0) for y in self._project(w)) for w in (start, learned))
        better = bool(self._loss(*after) < self._loss(*before))
        y, z = after if better else before
        self._learned.append((y, z))
        return learned if better else start

    def separation(self) -> float:
        """Return how much nearer the codes of similar pairs are, by bit."""
        found = [y * (_at(z, self._pairs.near).mean(-1) - _at(z, self._pairs.far).mean(-1)) for y, z in self._learned]
        return float(torch.stack(found).mean())

    def _project(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        y = torch.matmul(self._queries, weight.unsqueeze(-1)).squeeze(-1)
        if self._keys is self._queries:
            return y, y
        return y, torch.matmul(self._keys, weight.unsqueeze(-1)).squeeze(-1)

    def _loss(self, y: Tensor, z: Tensor) -> Tensor:
        """Return -(b y^T S z - sum_s (y y_s)(z z_s)) / (N b), mean over samples and heads, of `[B, heads, N]`."""
        wanted = self._bits * (y * (_at(z, self._pairs.near).sum(-1) - _at(z, self._pairs.far).sum(-1))).sum(-1)
        for one, other in self._learned:
            wanted = wanted - (y * one).sum(-1) * (z * other).sum(-1)
        return -(wanted / (y.shape[-1] * self._bits)).mean()


def _at(y: Tensor, index: Tensor) -> Tensor:
    """Return `y` `[B, heads, M]` at `index` `[B, heads, N, pairs]`."""
    return y.gather(-1, index.flatten(-2)).view_as(index)
