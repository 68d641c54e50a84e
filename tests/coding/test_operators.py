"""The kind of an operator is what it computes: the table is held to the operators themselves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from plain_networks import CASES, Of, captured, r
from torch import Tensor, fx, nn

from hardware_models.errors import InputError
from neuro.coding.rewrite import Scheme, to_spiking
from quant.capture import Captured, capture
from quant.capture.constants import depends_on_values
from quant.capture.operators import kind_of, operator_name

LINEAR = ("synapse", "scale", "add", "reduce", "move")


class Superposition(fx.Interpreter):
    """Holds every operator that is listed as linear to f(x + y) - f(y) = f(2 x + y) - f(x + y), on its own operands.

    For a product the same holds in each operand alone. Choices, and whole numbers, stay as they are.
    """

    def __init__(self, network: Captured) -> None:
        super().__init__(network.graph)
        self.dynamic = {n for n in depends_on_values(self.graph) if isinstance(n.meta.get("val"), Tensor)}
        self.wrong: list[str] = []
        self.looked_at = 0

    def run_node(self, n: fx.Node) -> Any:
        if n.op == "call_function":
            kind = kind_of(n, self.dynamic)
            varied = [i for i in self.dynamic if i in n.all_input_nodes and self.env[i].is_floating_point()]
            groups = [varied] if kind in LINEAR else [[one] for one in varied] if kind == "product" else []
            groups = groups if len(varied) > 1 or kind != "product" else []  # of a value with itself
            self.wrong += [f"{kind} {n.target}" for group in groups if group and not self._is_linear(n, group)]
            self.looked_at += len(groups)
        return super().run_node(n)

    def _is_linear(self, n: fx.Node, varied: list[fx.Node]) -> bool:
        steps = {one: torch.randn_like(self.env[one]) for one in varied}
        values = [self._at(n, {one: self.env[one] + times * steps[one] for one in varied}) for times in (0, 1, 2)]
        return all(torch.allclose(b - a, c - b, atol=1e-3, equal_nan=True) for a, b, c in zip(*values, strict=True))

    def _at(self, n: fx.Node, values: dict[fx.Node, Tensor]) -> list[Tensor]:
        args, kwargs = fx.node.map_arg((n.args, n.kwargs), lambda one: values.get(one, self.env[one]))
        found = n.target(*args, **kwargs)  # type: ignore[operator]
        every = found if isinstance(found, list | tuple) else [found]
        return [one.double() if not one.is_complex() else torch.view_as_real(one).double() for one in every]


@pytest.mark.parametrize("name", CASES)
def test_what_is_listed_as_linear_is_linear(name: str) -> None:
    torch.manual_seed(0)
    check = Superposition(captured(name))
    with torch.no_grad():
        check.run(*captured(name).example)
    assert check.wrong == []
    assert check.looked_at > 0 or name == "a matrix times itself"


def kinds(model: nn.Module, *inputs: Tensor) -> dict[str, str]:
    """Kind of each operator of a network, by name; those that only move values left out."""
    operators = to_spiking(capture(model.eval(), inputs), Scheme(), 1).operators
    return {one.operator: one.kind for one in operators if one.kind != "move"}


def test_a_lie_in_the_table_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("quant.capture.operators", fromlist=["KINDS"]).KINDS, "relu", "move")
    check = Superposition(capture(nn.ReLU().eval(), (r(2, 4),)))
    check.run(r(2, 4))
    assert check.wrong == ["move aten.relu.default"]


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (lambda s, x, y: x * y, "product"),
        (lambda s, x, y: x * x + 0 * y, "nonlinear"),
        (lambda s, x, y: x * s.w + 0 * y, "scale"),
        (lambda s, x, y: x * (y > 0), "nonlinear"),
    ],
)
def test_a_product_by_elements_is_known_by_its_operands(function: Any, kind: str) -> None:
    operators = to_spiking(capture(Of(function, w=r(4)).eval(), (r(2, 4), r(2, 5)[:, :4])), Scheme(), 1).operators
    assert next(one for one in operators if one.operator == "mul").kind == kind


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (lambda s, x: x / 3, "scale"),
        (lambda s, x: x / s.w, "scale"),
        (lambda s, x: s.w / (x * x + 1), "nonlinear"),
        (lambda s, x: x / (x * x + 1), "nonlinear"),
        (lambda s, x: torch.div(x, 3, rounding_mode="floor"), "nonlinear"),
    ],
)
def test_a_quotient_is_a_scale_by_a_constant_alone(function: Any, kind: str) -> None:
    assert kinds(Of(function, w=r(4)), r(2, 4))["div"] == kind


def test_choosing_by_values_is_not_moving() -> None:
    chosen = Of(lambda s, x: torch.where(x > 0, x, -x))
    masked = Of(lambda s, x, mask: torch.where(mask > 0, x, -1.0))
    assert kinds(chosen, r(2, 4))["where"] == "nonlinear"
    assert "where" not in kinds(masked, r(2, 4), torch.ones(2, 4, dtype=torch.int64))
    assert kinds(Of(lambda s, x: x.gather(1, x.argmax(1, keepdim=True))), r(2, 4))["gather"] == "nonlinear"


def test_writing_that_adds_up_is_a_sum() -> None:
    first = torch.tensor([0, 0])
    assert kinds(Of(lambda s, x: x.index_add(1, first, x[:, :2])), r(2, 4)) == {"index_add": "reduce"}
    assert kinds(Of(lambda s, x: torch.ops.aten.index_put(x, [None, first], x[:, :2], True)), r(2, 4)) == {
        "index_put": "reduce"
    }
    assert kinds(Of(lambda s, x: torch.ops.aten.index_put(x, [None, first], x[:, :2])), r(2, 4)) == {}


def test_a_value_that_every_sample_shares_is_multiplied_by_as_a_constant() -> None:
    shared = Of(lambda s, x: x * s.p.expand(x.shape[0], -1), p=r(1, 4))
    assert kinds(shared, r(2, 4)) == {"mul": "scale"}


def test_attention_shows_both_products_and_its_mask_only_moves() -> None:
    attention = Of(lambda s, q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True))
    assert kinds(attention, *[r(2, 2, 3, 4)] * 3) == {"mul": "scale", "matmul": "product", "softmax": "nonlinear"}


def test_an_operator_without_a_rule_stops_the_conversion() -> None:
    network = nn.Sequential(nn.Linear(3, 3), Of(lambda s, x: torch.special.bessel_j0(x))).eval()
    graph = capture(network, r(2, 3))
    with pytest.raises(InputError, match=r"^1 uses aten.special_bessel_j0.default, for which there is no rule"):
        to_spiking(graph, Scheme(), 1)
    kept = to_spiking(graph, Scheme(spikes="ideal"), 2, keep=["special_bessel_j0"])
    assert [one.kind for one in kept.operators] == ["synapse", "kept"]
    assert torch.allclose(kept(r(2, 3)), network(r(2, 3)), atol=1e-6)


def test_another_librarys_operator_has_no_rule() -> None:
    @torch.library.custom_op("neuro_test::mul", mutates_args=())
    def doubled(x: Tensor) -> Tensor:
        return 2 * x

    doubled.register_fake(torch.empty_like)
    with pytest.raises(InputError, match=r"neuro_test.mul.default, for which there is no rule"):
        to_spiking(capture(Of(lambda s, x: doubled(x)).eval(), r(2, 3)), Scheme(), 1)


def test_a_product_of_halves_cannot_be_sent() -> None:
    network = Of(lambda s, x: (x.half() @ s.w.half()).float(), w=r(4, 3)).eval()
    with pytest.raises(InputError, match=r"multiplies values of type float16, which cannot be sent as spikes"):
        to_spiking(capture(network, r(2, 4)), Scheme(), 1)


def test_rewriting_leaves_the_captured_network_alone() -> None:
    original = captured("encoder")
    before, places, code = original.graph(*original.example), dict(original.samples), original.graph.code
    converted = to_spiking(original, Scheme(), 2)
    assert original.samples == places
    assert original.graph.code == code
    assert torch.equal(original.graph(*original.example), before)
    assert {operator_name(n) for n in converted.graph.graph.nodes if n.op == "call_function"}.isdisjoint(
        {"linear", "matmul"}
    )
    names = dict(converted.graph.named_parameters(remove_duplicate=False))
    assert len(names) == len(dict(converted.graph.named_parameters())), "a weight stands there twice"
