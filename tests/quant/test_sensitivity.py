import pytest
import torch
from torch import nn

import quant
from hardware_models.errors import InputError
from quant.recipes import uniform_recipe
from quant.sensitivity import only, sensitivity


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)).eval()


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(64, 6, generator=torch.Generator().manual_seed(1))


def test_without_quantizers_it_is_the_float_network(model, x):
    network = quant.quantize(model, "w4a4", x)
    before = network(x)
    with only(network, ()):
        torch.testing.assert_close(network(x), model(x))
    with only(network, network.quantizers()):
        assert network(x).equal(before)
    with pytest.raises(RuntimeError), only(network, ()):
        raise RuntimeError
    assert network(x).equal(before)
    assert all("forward" not in vars(one) for one in network.quantizers().values())
    with pytest.raises(InputError, match="no quantizer 'nothing'"), only(network, ["nothing"]):
        pass


def test_each_layer_is_compared_alone(model, x):
    network = quant.quantize(model, uniform_recipe(2, 8), x)
    found = sensitivity(network, [(x[:40],), (x[40:],)])
    assert list(found) == ["0", "2", "4"]
    assert found["2"].error > 10 * max(found["0"].error, found["4"].error)  # the ends have 8 bits
    weight = network.quantizers()["weight_quantizers.2.weight"]
    (read,) = [one.inputs for one in network.operators if one.path == "2"]
    hidden = network.quantizers()[read[0]](model[1](model[0](x)))
    y = model[4](model[3](nn.functional.linear(hidden, weight(model[2].weight), model[2].bias)))
    wanted = (y - model(x)).square().sum() / model(x).square().sum()
    assert found["2"].error == pytest.approx(float(wanted), rel=1e-4)
    p, q = model(x).softmax(-1), y.softmax(-1)
    assert found["2"].loss == pytest.approx(float((p * (p / q).log()).sum(-1).mean()), rel=1e-3)


def test_with_labels_the_loss_is_that_of_the_task(model, x):
    network = quant.quantize(model, uniform_recipe(2, 8), x)
    labels = model(x).argmax(-1)
    found = sensitivity(network, [(x,)], [labels])
    names = {one for layer in network.operators if layer.path == "2" for one in (layer.weight, *layer.inputs)}
    with only(network, names):
        after = nn.functional.cross_entropy(network(x), labels)
    wanted = float(after - nn.functional.cross_entropy(model(x), labels))
    assert found["2"].loss == pytest.approx(wanted, rel=1e-3)


def test_refusals(model, x):
    network = quant.quantize(model, "w4a4", x)
    with pytest.raises(InputError, match="no data"):
        sensitivity(network, [])
    with pytest.raises(InputError, match="labels for 3 samples"):
        sensitivity(network, [(x,)], [torch.zeros(3, dtype=torch.long)])
