"""What a hand-written layer says of its operands: form, width, density.

| word | values | default bits | drives accumulates | has to be stated |
|---|---|---|---|---|
| binary | {0, 1} | 1 | yes | density |
| sign | {-1, 1} | 1 | yes | |
| ternary | {-1, 0, 1} | 2 | yes | density |
| spikes | {0, 1, 2, ...}: several unit spikes in one value | | yes | bits, density, unit density |
| power-of-two | 0 and +-2^-k: one spike, which shifts | | yes | bits (of sign and level, 3 to 6), density |
| integer | integers that are multiplied | | no | bits |
| float | floating-point numbers | | no | bits |

The density of integers and floating-point numbers is 1 unless it is stated; that of spikes is never supposed.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from hardware_models.inputs.entries import Entries
from hardware_models.inputs.operands import Signal
from hardware_models.workload import Form

FORMS: Final[dict[str, tuple[Form, int | None, bool]]] = {
    "binary": ("binary", 1, False),
    "sign": ("ternary", 1, True),
    "ternary": ("ternary", 2, True),
    "spikes": ("integer", None, False),
    "power-of-two": ("power-of-two", None, True),
    "integer": ("integer", None, True),
    "float": ("float", None, True),
}
"""Word to form, width that it has by itself, sign."""

WEIGHT_FORMS: Final = tuple(word for word in FORMS if word not in ("spikes", "power-of-two"))
FIRED_FORMS: Final = ("binary", "ternary", "spikes", "power-of-two")
_WIDEST = 64
_SIGN_AND_LEVEL = (3, 6)
"""Bits that tell 2 levels and a sign, and `MOST_LEVELS`."""


class Keys(NamedTuple):
    """The keys that describe one operand."""

    form: str
    bits: str
    density: str
    units: str


INPUT: Final = Keys("input", "input_bits", "density", "unit_density")
RIGHT: Final = Keys("right", "right_bits", "right_density", "right_unit_density")
WEIGHT: Final = Keys("weights", "weight_bits", "weight_density", "")
FIRED: Final = Keys("output", "output_bits", "rate", "unit_rate")


class Read(NamedTuple):
    """What a layer's producers hand to it.

    Attributes:
        origin: the producer's name.
        signal: its spikes, where it is a single neuron layer.
        bits: the width of its result, where it states one.
    """

    origin: str = ""
    signal: Signal | None = None
    bits: int | None = None


def activation_signal(entries: Entries, keys: Keys, timesteps: int, read: Read) -> Signal:
    """Return an activation: as the layer states it, else as its producer fires it, else by the defaults.

    Raises:
        InputError: a form, width or density is missing or cannot be, or contradicts the producer.
    """
    if read.signal is None or len(read.signal.density) != timesteps:
        word = _word(entries, keys, tuple(FORMS))
        return _signal(entries, keys, word, timesteps, read.bits)
    fired = read.signal
    if entries.given.get(keys.form) is not None:
        word = _word(entries, keys, tuple(FORMS))
        if FORMS[word][0] != fired.form:
            entries.refuse(f"{keys.form} is {word}, but {read.origin} fires {fired.form} values; remove it.")
    own = Entries(entries.place, entries.given, {})
    for key, stated, known in (
        (keys.density, own.shares(keys.density, timesteps), fired.density),
        (keys.units, own.shares(keys.units, timesteps, most=float("inf")), fired.units),
    ):
        if stated is not None and stated != known:
            entries.refuse(f"{key} differs from what {read.origin} fires; state it in one place only.")
    return fired._replace(bits=own_bits) if (own_bits := own.size(keys.bits)) else fired


def weight_signal(entries: Entries) -> Signal:
    """Return the weight's form, width and density."""
    return _signal(entries, WEIGHT, _word(entries, WEIGHT, WEIGHT_FORMS), 1, None)


def fired_signal(entries: Entries, timesteps: int) -> Signal:
    """Return the spikes that a neuron layer fires; binary unless stated."""
    return _signal(entries, FIRED, entries.word(FIRED.form, FIRED_FORMS) or "binary", timesteps, None)


def _word(entries: Entries, keys: Keys, known: tuple[str, ...]) -> str:
    word = entries.word(keys.form, known)
    if word is None:
        entries.missing(keys.form, f"the values of an operand ({', '.join(known)})")
    return word


def _signal(entries: Entries, keys: Keys, word: str, timesteps: int, producer_bits: int | None) -> Signal:
    form, own_bits, signed = FORMS[word]
    density = _density(entries, keys, word, timesteps)
    bits = _bits(entries, keys, word, own_bits, producer_bits)
    units = _units(entries, keys, word, density, bits)
    return Signal(form, bits, signed, density, units)


def _bits(entries: Entries, keys: Keys, word: str, own: int | None, producer: int | None) -> int:
    """A form that has a width by itself takes another one from the layer only, not from the defaults."""
    stated = Entries(entries.place, entries.given, {}).size(keys.bits) or (producer if own is None else None)
    bits = stated or own or entries.size(keys.bits)
    if bits is None:
        entries.missing(keys.bits, f"the width of {word} values")
    least, most = _SIGN_AND_LEVEL if word == "power-of-two" else (own or 1, _WIDEST)
    if not least <= bits <= most:
        entries.refuse(f"{keys.bits} is {bits}; {word} values have {least} to {most} bits.")
    return bits


def _density(entries: Entries, keys: Keys, word: str, timesteps: int) -> tuple[float, ...]:
    density = entries.shares(keys.density, timesteps)
    one = (1.0,) * timesteps
    if word == "sign":
        if entries.given.get(keys.density) is not None and density != one:
            entries.refuse(f"{keys.density} cannot be below 1, for no sign is zero; use ternary, or remove it.")
        return one
    if density is None and word in FIRED_FORMS:
        entries.missing(keys.density, f"the operations that {word} values cause (their share that is not zero)")
    return one if density is None else density


def _units(entries: Entries, keys: Keys, word: str, density: tuple[float, ...], bits: int) -> tuple[float, ...] | None:
    """Return the mean unit spikes of a value; None of values that are multiplied."""
    if word != "spikes":
        if keys.units and entries.given.get(keys.units) is not None:
            entries.refuse(f"{keys.units} belongs to values of the form spikes, not {word}; remove it.")
        return density if word in (*FIRED_FORMS, "sign") else None
    units = entries.shares(keys.units, len(density), most=float("inf"))
    if units is None:
        entries.missing(keys.units, "the accumulates of integer spikes (mean unit spikes of a value, zeros included)")
    highest = 2**bits - 1
    if not all(share <= mean <= share * highest for share, mean in zip(density, units, strict=True)):
        entries.refuse(
            f"{keys.units} does not fit {keys.density}: a value of {bits} bits that is not zero holds 1 to {highest} "
            "unit spikes; mend one of them."
        )
    return units
