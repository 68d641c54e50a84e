"""Packets that wait for their receivers on a mesh that blocks: the time that the traffic of a wire takes at least.

A core reads the synapses of one packet after another. Meanwhile the packets behind it stand on their way, and when
the way is full their senders stop. Three rules, read off the traces of messages that the detailed timing of SANA-FE
2.2.9 writes for Loihi (J. Boyle et al., SANA-FE, IEEE TCAD 2025); what follows from them is worked out here:

- A route of h hops has h + 2 places: its sender's port, h links, its receiver's port. A packet on its way fills
  1 / (h + 2) of each.
- A route is full at B (h + 1) packets; its sender is blocked until it is not.
- A packet is on its way for (packets on the places of its route) / (h + 1) receipts.

Little's law, packets on the way = packets per second * seconds on the way, closes them. Let f, g be pairs of cores of
one wire (a population and what it feeds), w the share of its receipts that fall to each, a_f the seconds on the way,
and W the seconds that all packets of the timestep take to receive, one after another. While the wire takes t seconds,

    a = W/t M a,      M_fg = (places that f and g share) / (h_f + 1) * w_g / (h_g + 2)

so that t = L W with L the largest eigenvalue of M; B cancels, and nothing is fitted. Because M is symmetric but for
scaling, every a gives a lower bound (Rayleigh), which one step of power iteration brings to some percent:

    L >= sum_places load^2 / sum_f w_f a_f^2 (h_f + 1) / (h_f + 2),   load = sum_{f over the place} w_f a_f / (h_f + 2)

Senders that have sent all drop out, and the busiest is alone at last. As L is a sum over senders, but for its change
of shape, with W_s the seconds of the busiest sender's packets, n senders, and L_1 the L of one sender,

    t = L W + L_1 (W_s - W / n)

(a last core that is not full counts in n as the part that it holds). Which core is the busiest is not known: it is
taken as lying in the middle of its population. Left out are the wait for the first packet, routes of one wire that
fill unevenly, and packets of other wires on the same links.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hardware_models.event_driven.mesh import Mesh, Tiles, expand, tiles_of

Array = npt.NDArray[Any]

BLOCK: Final = 2_000_000
"""Links and routes that are held at a time."""


@dataclass(frozen=True)
class Waiting:
    """Share of the seconds of its receipts, one after another, that the traffic between two ranges takes, `[N]`.

    Zero between different chips, where nothing is known to block.

    Attributes:
        together: L, all cores of the first range sending alike to all of the second.
        alone: L_1, one core in the middle of the first range sending.
    """

    together: Array
    alone: Array


def waiting(first: Array, cores: Array, filled: Array, pairs: Array, mesh: Mesh) -> Waiting:
    """Return how long packets between ranges of cores wait for each other.

    Args:
        first: `[R]` first core of each range.
        cores: `[R]` its cores, at least 1.
        filled: `[R]` how many cores its work would fill: all but the last are full, above cores - 1.
        pairs: `[N, 2]` range that sends and range that receives.
        mesh: the chip; sizes are integers or `[R]`.
    """
    tiles = tiles_of(first, cores, mesh)
    work = _work_of(tiles, cores, filled)
    number = np.bincount(tiles.item, minlength=len(first))
    start = np.cumsum(number) - number
    on_one_chip = np.minimum(number, mesh.columns * mesh.rows)
    held = number[pairs[:, 0]] * on_one_chip[pairs[:, 1]] + 4 * tiles.width * tiles.height
    block = (np.cumsum(held) - held) // BLOCK
    together, alone = np.zeros(len(pairs)), np.zeros(len(pairs))
    for index in np.unique(block):
        here = np.flatnonzero(block == index)
        senders, receivers = (_Ends(start[side], number[side]) for side in pairs[here].T)
        every = _ways(tiles, senders, receivers, work)
        together[here] = _bound(every, len(here))
        one = np.ones_like(here)
        lone = _ways(tiles, _Ends(senders.tile + senders.tiles // 2, one), receivers, work, alone=True)
        alone[here] = _bound(lone, len(here))
    return Waiting(together, alone)


@dataclass(frozen=True)
class _Ends:
    """Where wires begin or end, `[N]`: first tile, tiles."""

    tile: Array
    tiles: Array


@dataclass(frozen=True)
class _Work:
    """Of each tile `[I]`: its share of its range's work, and on how many even cores the ports were as loaded."""

    share: Array
    ports: Array


def _work_of(tiles: Tiles, cores: Array, filled: Array) -> _Work:
    last = np.append(tiles.item[1:] != tiles.item[:-1], True)
    missing = np.where(last, (cores - filled)[tiles.item], 0.0)
    work = tiles.cores - missing
    # Sum of squares: all cores full but for the last one of the range.
    squares = tiles.cores - last + last * (1.0 - missing) ** 2
    return _Work(work / filled[tiles.item], work**2 / squares)


@dataclass(frozen=True)
class _Ways:
    """Ways between tiles on one chip, `[I]`.

    Attributes:
        wire: which wire each is of.
        tiles: of the mesh.
        a, b: tile that it begins and ends on.
        packets: share of the wire's receipts that take it.
        hops: its length.
        out, into: number of its sender's and its receiver's tile, counted through all wires.
        senders, receivers: cores of these tiles that share their load.
    """

    wire: Array
    tiles: Tiles
    a: Array
    b: Array
    packets: Array
    hops: Array
    out: Array
    into: Array
    senders: Array
    receivers: Array

    def load(self, packets: Array) -> Array:
        """Return the load of all places of each way, added up, when so many packets of each are on every place."""
        # One way alone on its wire loads each of its links with all its packets; where there are several, they share.
        load = self.hops * packets
        several, lines = self._shared
        if len(several):
            load[several] = sum(line.load(packets[several]) for line in lines)
        for port, cores in ((self.out, self.senders), (self.into, self.receivers)):
            load += np.bincount(port, packets)[port] / cores if len(port) else 0.0
        return load

    @cached_property
    def _shared(self) -> tuple[Array, tuple[_Lines, ...]]:
        """Which ways share links with others, and the rows and columns of tiles that they follow."""
        number = np.bincount(self.wire)
        several = np.flatnonzero(number[self.wire] > 1)
        wire = (np.cumsum(number > 1) - 1)[self.wire[several]]
        a, b, tiles = self.a[several], self.b[several], self.tiles
        return several, (
            _lines(wire * tiles.height + tiles.y[a], tiles.x[a], tiles.x[b], tiles.width),
            _lines(wire * tiles.width + tiles.x[b], tiles.y[a], tiles.y[b], tiles.height),
        )


@dataclass(frozen=True)
class _Lines:
    """Ways along lines of tiles, each direction of a link by itself: where they begin and end on all lines, `[I]`."""

    low: Array
    high: Array
    lines: int
    length: int

    def load(self, packets: Array) -> Array:
        """Return the packets on all links of each way, added up."""
        room = self.lines * self.length
        change = np.bincount(self.low, packets, room) - np.bincount(self.high, packets, room)
        on_link = change.reshape(-1, self.length).cumsum(axis=1)
        before = (on_link.cumsum(axis=1) - on_link).ravel()
        return np.asarray(before[self.high] - before[self.low])


def _lines(line: Array, start: Array, stop: Array, length: int) -> _Lines:
    """Return ways from `start` to `stop` on `line`, all `[I]`, of `length` tiles."""
    moves = start != stop
    at = 2 * line + (stop > start)
    # Lines that nothing follows are left out; ways of no link add and subtract their packets at one place.
    used = np.zeros(2 * (int(line.max(initial=-1)) + 1), dtype=bool)
    used[at[moves]] = True
    at = np.where(moves, (np.cumsum(used) - 1)[at], 0) * length
    return _Lines(at + np.minimum(start, stop), at + np.maximum(start, stop), int(used.sum()) + 1, length)


def _ways(tiles: Tiles, senders: _Ends, receivers: _Ends, work: _Work, alone: bool = False) -> _Ways:
    """Return the ways of N wires, whose senders are on one tile and one core of it where each is `alone`."""
    wire, a = expand(senders.tile, senders.tiles)
    # Receivers that lie on the sender's chip.
    first = tiles.tile[receivers.tile[wire]]
    low = np.maximum(tiles.chip[a] * tiles.per_chip[a] - first, 0)
    high = np.minimum((tiles.chip[a] + 1) * tiles.per_chip[a] - first, receivers.tiles[wire])
    out, b = expand(receivers.tile[wire] + low, np.maximum(high - low, 0))
    wire, a = wire[out], a[out]
    into = (np.cumsum(receivers.tiles) - receivers.tiles - receivers.tile)[wire] + b
    one = np.ones(len(wire))
    return _Ways(
        wire=wire,
        tiles=tiles,
        a=a,
        b=b,
        packets=(one if alone else work.share[a]) * work.share[b],
        hops=np.abs(tiles.x[a] - tiles.x[b]) + np.abs(tiles.y[a] - tiles.y[b]),
        out=out,
        into=into,
        senders=one if alone else work.ports[a],
        receivers=work.ports[b],
    )


def _bound(ways: _Ways, wires: int) -> Array:
    """Return the lower bound of L for each wire, from one step of power iteration."""
    a = ways.load(ways.packets / (ways.hops + 2)) / (ways.hops + 1)
    packets = ways.packets * a / (ways.hops + 2)
    above = np.bincount(ways.wire, packets * ways.load(packets), wires)
    below = np.bincount(ways.wire, ways.packets * a**2 * (ways.hops + 1) / (ways.hops + 2), wires)
    return np.divide(above, below, out=np.zeros(wires), where=below > 0)
