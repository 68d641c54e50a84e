"""Pickles of plain data against the unpickler itself; and what is refused without being run."""

from __future__ import annotations

import contextlib
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_models.errors import InputError
from neuro.data.pickled_arrays import loads

# What Python 2's cPickle writes at protocol 2 for {'data': <2x3 uint8 array>, 'labels': [3, 255], 'name': 'a b'},
# opcode by opcode: strings are SHORT_BINSTRING (U), numbers BININT1 (K), and every object is put into the memo (q).
PYTHON_2 = b"".join(
    [
        b"\x80\x02}q\x01(",
        b"U\x04dataq\x02",
        b"cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87Rq\x05",
        b"(K\x01K\x02K\x03\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07",
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x06\x01\x02\x03\xfd\xfe\xfftb",
        b"U\x06labelsq\x08]q\x09(K\x03K\xffe",
        b"U\x04nameU\x03a bu.",
    ]
)

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=9) | st.binary(min_size=1, max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4) | st.tuples(inner, inner)
    ),
    max_leaves=20,
)


def refusal(content: bytes) -> str:
    with pytest.raises(InputError) as caught:
        loads(content, "some file")
    assert str(caught.value).startswith("some file is ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_of_python_2_opcode_by_opcode() -> None:
    held = loads(PYTHON_2, "file")
    assert held[b"labels"] == [3, 255]
    assert held[b"name"] == b"a b"
    assert held[b"data"].dtype == np.uint8
    assert held[b"data"].tolist() == [[1, 2, 3], [253, 254, 255]]
    np.testing.assert_array_equal(held[b"data"], pickle.loads(PYTHON_2, encoding="bytes")[b"data"])


@settings(max_examples=60, deadline=None)
@given(plain, st.integers(0, 5))
def test_plain_data_is_what_the_unpickler_gives(value: Any, protocol: int) -> None:
    assert loads(pickle.dumps(value, protocol=protocol), "file") == value


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("dtype", ["u1", "<i2", ">i4", "<f4", ">f8", "?"])
def test_arrays_of_numbers(protocol: int, dtype: str) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    held = loads(pickle.dumps({"a": array, "b": np.asfortranarray(array), "again": array}, protocol=protocol), "file")
    for found in held.values():
        np.testing.assert_array_equal(found, array)
        assert found.dtype == array.dtype
    assert held["a"] is held["again"]
    held["a"][0] = 1  # memory of its own


class Touchy:
    """Would tell if it were ever made."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("something was run",))


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"cos\nsystem\n(S'exit 1'\ntR.", "the name os.system"),
        (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.", "the name builtins.eval"),
        (b"cos\nsystem\n.", "the name os.system"),
        (pickle.dumps(Touchy(), protocol=4), "the name "),
        (pickle.dumps(1.5), "the opcode BINFLOAT"),
        (pickle.dumps({1, 2}, protocol=4), "the opcode EMPTY_SET"),
        (pickle.dumps(np.array(["text"])), "an array of 'U4'"),
        (pickle.dumps(np.array([None])), "an array of 'O8'"),
        (b"\x80\x02}(K\x01K\x02\x86K\x03u.", "a key that is a tuple"),
        (b"\x80\x02U\x01aK\x01b.", "a state for a bytes"),
        (b"\x80\x02K\x01K\x01\x85R.", "a call of int"),
        (b"Pthere\n.", "the opcode PERSID"),
    ],
)
def test_all_else_is_refused_by_name(content: bytes, named: str) -> None:
    message = refusal(content)
    assert named in message
    assert "is not run here" in message


def test_an_array_of_a_subclass_is_refused() -> None:
    assert "_mareconstruct" in refusal(pickle.dumps(np.ma.array([1])))


def test_an_array_with_too_few_bytes() -> None:
    assert "5 bytes for an array (2, 3)" in refusal(PYTHON_2.replace(b"U\x06\x01\x02", b"U\x05\x02"))


def test_every_cut_of_a_file_is_called_damaged() -> None:
    for length in range(len(PYTHON_2)):
        refusal(PYTHON_2[:length])


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(PYTHON_2) - 1), st.integers(0, 255))
def test_a_wrong_byte_is_refused_or_plain_but_never_anything_else(place: int, value: int) -> None:
    content = bytearray(PYTHON_2)
    content[place] = value
    with contextlib.suppress(InputError):
        loads(bytes(content), "some file")
