import json

import numpy as np
import pytest
from pydantic import ValidationError
from workload_builders import conv3x3, linear, operand, other, product, spikes, workload

from hardware_models.errors import InputError, RunError
from hardware_models.workload import Bounds, Workload


def small() -> Workload:
    """A stem on real values, a neuron, a spiking layer; two samples, two timesteps."""
    return workload(
        conv3x3("stem", 4, (1, 2), operand("input"), operand("weight"), macs=2 * 288, consumers=("lif",)),
        other("lif", "neuron", timesteps=2, output=spikes(0.5, 0.25, name="output"), consumers=("fc",)),
        linear("fc", 1, 32, 10, spikes(0.5, 0.25), operand("weight"), timesteps=2, acs=480, driven_by="input"),
        batch=2,
        timesteps=2,
        notes=("a note",),
    )


def test_save_and_load_make_a_round_trip(tmp_path):
    there = small()
    there.arrays["fc/input"] = np.arange(6, dtype=np.int64).reshape(2, 3)
    there.save(tmp_path / "workload.json")
    back = Workload.load(tmp_path / "workload.json")
    assert back.model_dump() == there.model_dump()
    assert sorted(back.arrays) == ["fc/input"]
    np.testing.assert_array_equal(back.arrays["fc/input"], [[0, 1, 2], [3, 4, 5]])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["workload.json", "workload.npz"]


def test_the_arrays_are_optional(tmp_path):
    small().save(tmp_path / "workload.json")
    (tmp_path / "workload.npz").unlink()
    assert Workload.load(tmp_path / "workload.json").arrays == {}


def test_huge_counters_are_exact(tmp_path):
    huge = 2**63 + 12345678901234567890  # neither a 64-bit integer nor a double
    there = workload(linear("fc", 1, 10, 10, macs=huge))
    there.save(tmp_path / "workload.json")
    assert Workload.load(tmp_path / "workload.json").layers[0].macs == huge


def test_a_saved_workload_states_its_schema(tmp_path):
    small().save(tmp_path / "workload.json")
    assert json.loads((tmp_path / "workload.json").read_text())["schema"] == "neuro.workload/1"


@pytest.mark.parametrize("schema", ["neuro.workload/2", "neuro.estimate/1", None])
def test_another_schema_is_refused(tmp_path, schema):
    small().save(tmp_path / "workload.json")
    data = json.loads((tmp_path / "workload.json").read_text())
    data["schema"] = schema
    (tmp_path / "workload.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match=r"neuro\.workload/1") as error:
        Workload.load(tmp_path / "workload.json")
    assert str(tmp_path / "workload.json") in str(error.value)
    assert repr(schema) in str(error.value)


@pytest.mark.parametrize("content", ["[1, 2]", "null", '"text"'])
def test_json_that_is_no_workload_is_refused(tmp_path, content):
    (tmp_path / "w.json").write_text(content)
    with pytest.raises(InputError, match="schema"):
        Workload.load(tmp_path / "w.json")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{}"])
def test_files_that_are_no_json_are_refused(tmp_path, content):
    (tmp_path / "w.json").write_bytes(content)
    with pytest.raises(InputError, match="not JSON"):
        Workload.load(tmp_path / "w.json")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        Workload.load(tmp_path / "w.json")


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda d: d["layers"][2]["operands"][0].update(density=[1.5, 0.0]), "layers.2.operands.0.density.0"),
        (
            lambda d: d["layers"][2]["operands"][0].update(density=[-0.1, 0.0]),
            "layers.2.operands.0.density.0",
        ),
        (lambda d: d["layers"][2]["operands"][0].update(bits=0), "layers.2.operands.0.bits"),
        (lambda d: d["layers"][2]["operands"][0].update(form="spiky"), "layers.2.operands.0.form"),
        (lambda d: d["layers"][0].update(macs=-1), "layers.0.macs"),
        (lambda d: d["layers"][0].update(macs=1.5), "layers.0.macs"),
        (lambda d: d["layers"][0].update(operator="conv4d"), "layers.0.operator"),
        (lambda d: d["layers"][0].update(bounds=None), "layers.0"),
        (lambda d: d["layers"][0].pop("name"), "layers.0.name"),
        (lambda d: d.update(batch=0), "batch"),
        (lambda d: d.update(timesteps=0), "timesteps"),
        (lambda d: d.update(colour="red"), "colour"),
    ],
)
def test_bad_entries_are_named(tmp_path, change, place):
    data = json.loads(small().model_dump_json(by_alias=True))
    change(data)
    with pytest.raises(InputError) as error:
        Workload.from_dict(data, "w.json")
    assert f"at {place};" in str(error.value)
    assert "w.json" in str(error.value)


def test_saving_into_a_missing_folder_leaves_nothing(tmp_path):
    with pytest.raises(RunError, match="could not write"):
        small().save(tmp_path / "none" / "workload.json")
    assert list(tmp_path.iterdir()) == []


def test_means_over_the_batch_by_hand():
    w = small()
    assert w.macs == 288  # 576 of two samples
    assert w.acs == 240
    assert w.synaptic_operations == 240


def test_bounds_by_hand():
    # 3x3 convolution 4 -> 6 channels in 2 groups on 5x5: 25 positions x 6 outputs x (4/2 * 9) taps = 2700.
    bounds = Bounds(groups=2, in_channels=4, out_channels=6, in_size=(5, 5), out_size=(5, 5), kernel=(3, 3))
    assert bounds.gemm == (25, 3, 18)
    assert bounds.macs == 2700
    assert bounds.fan_out == 27  # 2700 / (4 * 25) inputs: 3 outputs of the group x 9 taps
    # 8 heads of [16, 4] x [4, 5]: 8 * 16 * 4 * 5.
    assert product("p", 8, 16, 4, 5).dense_macs == 2560


def test_groups_have_to_divide_the_channels():
    with pytest.raises(ValidationError, match="groups"):
        Bounds(groups=3, in_channels=4, out_channels=6, in_size=(1,), out_size=(1,))


def by_timestep() -> Workload:
    """The network of `small`, its accumulates told apart by timestep."""
    whole = small()
    stem, lif, fc = whole.layers
    fc = fc.model_copy(update={"acs_by_timestep": (320, 160)})
    there = whole.model_copy(update={"layers": (stem, lif, fc)})
    there._arrays = {"fc/input": np.array([[3, 4], [5, 6]])}
    return there


def test_the_first_timestep_alone():
    first = by_timestep().until(1)
    stem, lif, fc = first.layers
    assert stem == by_timestep().layers[0]  # outside of time
    assert (first.timesteps, lif.timesteps, fc.timesteps) == (1, 1, 1)
    assert (fc.acs, fc.acs_by_timestep, fc.operand("input").density) == (320, (320,), (0.5,))
    assert lif.output.nonzero == (50,)
    assert fc.operand("weight") == by_timestep().layers[2].operand("weight")
    np.testing.assert_array_equal(first.arrays["fc/input"], [[3, 4]])
    assert Workload.from_dict(first.model_dump(by_alias=True)).layers == first.layers


def test_all_timesteps_are_the_workload_itself():
    assert by_timestep().until(2) == by_timestep()


def test_multiplications_are_alike_in_all_timesteps():
    dense = workload(linear("fc", 1, 4, 3, timesteps=4, macs=4 * 12 * 5), batch=5, timesteps=4)
    assert [dense.until(t).layers[0].macs for t in (1, 2, 3, 4)] == [60, 120, 180, 240]


@pytest.mark.parametrize("timesteps", [0, -1, 3])
def test_timesteps_that_did_not_run(timesteps):
    with pytest.raises(InputError, match=f"ran 2 timesteps; give 1 to that, not {timesteps}"):
        by_timestep().until(timesteps)


def test_accumulates_of_unknown_timesteps():
    with pytest.raises(InputError, match="'fc' does not say when its accumulates happened"):
        small().until(1)


@pytest.mark.parametrize("steps", [(480,), (240, 241), (160, 160, 160)])
def test_accumulates_by_timestep_that_do_not_add_up(steps):
    with pytest.raises(ValidationError, match="accumulates of"):
        linear("fc", 1, 32, 10, timesteps=2, acs=480, driven_by="input", acs_by_timestep=steps)


def test_files_from_before_there_were_accumulates_by_timestep(tmp_path):
    small().save(tmp_path / "workload.json")
    data = json.loads((tmp_path / "workload.json").read_text())
    for layer in data["layers"]:
        del layer["acs_by_timestep"]
        for found in layer["operands"]:
            del found["levels"]
    (tmp_path / "workload.json").write_text(json.dumps(data))
    assert Workload.load(tmp_path / "workload.json") == small()
