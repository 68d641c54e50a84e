"""Cores on a two-dimensional mesh: where they lie, how far packets travel, and how full links become.

Cores are numbered from 0 through all chips. A chip is a mesh of `columns x rows` tiles, each a router with
`cores_per_tile` cores; tiles are numbered by `order`:

    row-major      tile t lies at x = t mod columns, y = floor(t / columns)
    column-major   tile t lies at x = floor(t / rows), y = t mod rows
    snake          row-major, every second row from right to left, so that neighbours in number are neighbours

Chips stand in a row, left to right; a packet that changes chips crosses |chip_a - chip_b| borders.
A packet goes first along x, then along y (dimension-ordered, XY).

A population lies on a contiguous range of cores. Between two ranges a packet's source and destination are
taken as even over the cores, so that x and y separate:

    mean |x_a - x_b| = sum_k F(k) (1 - G(k)) + G(k) (1 - F(k))

with F, G the shares of the ranges' cores at x <= k.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Order = Literal["row-major", "column-major", "snake"]


@dataclass(frozen=True)
class Mesh:
    """Tiles of one chip. Sizes are integers, or arrays `[U]` where placements on U meshes are asked for at once."""

    columns: Any
    rows: Any
    cores_per_tile: Any
    order: Order = "row-major"

    @property
    def cores(self) -> Any:
        """Cores of one chip."""
        return self.columns * self.rows * self.cores_per_tile

    @property
    def sizes(self) -> tuple[Any, Any, Any]:
        """Columns, rows and cores per tile."""
        return self.columns, self.rows, self.cores_per_tile

    def resized(self, sizes: Sequence[Any]) -> Mesh:
        """Return a mesh of other `sizes`, in the same order of tiles."""
        columns, rows, cores_per_tile = sizes
        return Mesh(columns, rows, cores_per_tile, self.order)


def positions(tiles: Array, mesh: Mesh) -> tuple[Array, Array]:
    """Return (x, y) of tiles numbered within their chip."""
    if mesh.order == "column-major":
        return tiles // mesh.rows, tiles % mesh.rows
    x, y = tiles % mesh.columns, tiles // mesh.columns
    if mesh.order == "snake":
        x = np.where(y % 2 == 1, mesh.columns - 1 - x, x)
    return x, y


def core_hops(source: Array, target: Array, mesh: Mesh) -> tuple[Array, Array]:
    """Return the hops (along x, along y) of packets between cores of one chip, by core number."""
    x_a, y_a = positions(source // mesh.cores_per_tile, mesh)
    x_b, y_b = positions(target // mesh.cores_per_tile, mesh)
    return np.abs(x_a - x_b), np.abs(y_a - y_b)


@dataclass(frozen=True)
class Hops:
    """Mean hops of a packet between pairs of ranges, `[N]`: along x, along y, borders between chips crossed."""

    x: Array
    y: Array
    chips: Array


@dataclass(frozen=True)
class Tiles:
    """Tiles that ranges of cores lie on, range after range, on meshes of at most `width x height` tiles.

    Attributes:
        item: `[I]` range of each.
        tile: `[I]` its number, counted through all chips.
        per_chip: `[I]` tiles of one chip.
        chip, x, y: `[I]` where it is.
        cores: `[I]` cores of the range that lie on it.
        share: `[I]` share of the range's cores that they are.
    """

    item: Array
    tile: Array
    per_chip: Array
    chip: Array
    x: Array
    y: Array
    cores: Array
    share: Array
    width: int
    height: int


@dataclass(frozen=True)
class _Parts:
    """Ranges cut at chip borders. `start`, `count` `[R]`: first part and number of parts of each range.

    Of each part `[S]`: its chip, its share of the range's cores, and the shares by x `[S, X]` and by y `[S, Y]`.
    Of each row of tiles that a part touches `[A]`: the part, y, and shares by x `[A, X]`; likewise by column `[B]`.
    """

    start: Array
    count: Array
    chip: Array
    share: Array
    by_x: Array
    by_y: Array
    row_part: Array
    row_y: Array
    row_by_x: Array
    column_part: Array
    column_x: Array
    column_by_y: Array


def mean_hops(first: Array, cores: Array, pairs: Array, mesh: Mesh) -> Hops:
    """Return the mean hops of a packet from a core of one range to a core of another.

    Args:
        first: `[R]` first core of each range.
        cores: `[R]` its cores, at least 1.
        pairs: `[N, 2]` range that sends and range that receives.
        mesh: the chip; sizes are integers or `[R]`.
    """
    parts = _parts(first, cores, mesh)
    pair, a, b = _part_pairs(parts, pairs)
    weight = parts.share[a] * parts.share[b]
    border = parts.chip[b] - parts.chip[a]
    columns = np.broadcast_to(mesh.columns, first.shape)[pairs[:, 0]][pair]
    x_of = parts.by_x @ np.arange(parts.by_x.shape[1])
    apart = np.abs(border) * columns + np.sign(border) * (x_of[b] - x_of[a])
    x = np.where(border == 0, _mean_distance(parts.by_x, a, b), apart)
    y = _mean_distance(parts.by_y, a, b)

    def over_parts(values: Array) -> Array:
        return np.bincount(pair, weight * values, len(pairs))

    return Hops(over_parts(x), over_parts(y), over_parts(np.abs(border)))


def link_packets(
    first: Array, cores: Array, pairs: Array, packets: Array, mesh: Mesh, group: Array
) -> tuple[Array, Array]:
    """Return the packets on the busiest link along x, and along y, of each group of ranges.

    Packets that stay on one chip are counted, in each direction of each link by itself.

    Args:
        first: `[R]` first core of each range.
        cores: `[R]` its cores.
        pairs: `[N, 2]` range that sends and range that receives.
        packets: `[N, T]` packets of each pair in each timestep.
        mesh: the chip.
        group: `[N]` placement that a pair belongs to; links of different placements are different links.

    Returns:
        Two arrays `[number of groups, T]`.
    """
    parts = _parts(first, cores, mesh)
    pair, a, b = _part_pairs(parts, pairs)
    same = parts.chip[a] == parts.chip[b]
    pair, a, b = pair[same], a[same], b[same]
    scaled = packets[pair] * (parts.share[a] * parts.share[b])[:, None]
    place = group[pair] * (int(parts.chip.max(initial=0)) + 1) + parts.chip[a]
    busiest = []
    for of_part, line, by, other, owner, reader in (
        (parts.row_part, parts.row_y, parts.row_by_x, parts.by_x, a, b),
        (parts.column_part, parts.column_x, parts.column_by_y, parts.by_y, b, a),
    ):
        # Along x a packet keeps the row of its source; along y it is in the column of its destination.
        first_line, lines = _ranges(of_part, len(parts.chip))
        at, index = expand(first_line[owner], lines[owner])
        before = by[index].cumsum(axis=1)[:, :-1]
        beyond = 1.0 - other[reader[at]].cumsum(axis=1)[:, :-1]
        rest = by[index].sum(axis=1)[:, None] - before
        flows = np.concatenate([before * beyond, rest * (1.0 - beyond)], axis=1)
        busiest.append(
            _busiest(place[at], line[index], flows, scaled[at], group[pair][at], int(group.max(initial=-1)) + 1)
        )
    return busiest[0], busiest[1]


def border_packets(first: Array, cores: Array, pairs: Array, packets: Array, mesh: Mesh, group: Array) -> Array:
    """Return the packets across the busiest border between two chips, in one direction, `[number of groups, T]`.

    Arguments are those of `link_packets`.
    """
    parts = _parts(first, cores, mesh)
    pair, a, b = _part_pairs(parts, pairs)
    scaled = packets[pair] * (parts.share[a] * parts.share[b])[:, None]
    groups, chips = int(group.max(initial=-1)) + 1, int(parts.chip.max(initial=0)) + 1
    most = np.zeros((groups, packets.shape[1]))
    for sign in (1, -1):
        low, high = (parts.chip[a], parts.chip[b])[::sign]
        forward = low < high
        # A packet from chip 1 to chip 3 crosses borders 1 and 2: one more from 1 on, one fewer from 3 on.
        change = np.zeros((groups, chips + 1, packets.shape[1]))
        np.add.at(change, (group[pair][forward], low[forward]), scaled[forward])
        np.add.at(change, (group[pair][forward], high[forward]), -scaled[forward])
        most = np.maximum(most, change.cumsum(axis=1).max(axis=1))
    return most


def _busiest(place: Array, line: Array, flows: Array, packets: Array, group: Array, groups: int) -> Array:
    """Add up `flows[i, link] * packets[i, t]` of each (place, line, link) and return the most of each group."""
    steps = packets.shape[1]
    most = np.zeros((groups, steps))
    if not flows.size:
        return most
    key = place * (int(line.max()) + 1) + line
    order = np.argsort(key, kind="stable")
    start = np.flatnonzero(np.diff(key[order], prepend=-1))
    owner = group[order][start]
    for t in range(steps):
        load = np.add.reduceat(flows[order] * packets[order, t, None], start, axis=0)
        np.maximum.at(most[:, t], owner, load.max(axis=1, initial=0.0))
    return most


def tiles_of(first: Array, cores: Array, mesh: Mesh) -> Tiles:
    """Return the tiles of ranges of cores.

    Args:
        first: `[R]` first core of each range.
        cores: `[R]` its cores, at least 1.
        mesh: the chip; sizes are integers or `[R]`.
    """
    per_tile = np.broadcast_to(mesh.cores_per_tile, first.shape)
    first_tile = first // per_tile
    item, tile = expand(first_tile, (first + cores - 1) // per_tile - first_tile + 1)
    per_chip = np.broadcast_to(mesh.columns * mesh.rows, first.shape)[item]
    low = np.maximum(tile * per_tile[item], first[item])
    held = np.minimum((tile + 1) * per_tile[item], (first + cores)[item]) - low
    sizes = mesh.resized([np.broadcast_to(size, first.shape)[item] for size in mesh.sizes])
    x, y = positions(tile % per_chip, sizes)
    return Tiles(
        item=item,
        tile=tile,
        per_chip=per_chip,
        chip=tile // per_chip,
        x=x,
        y=y,
        cores=held,
        share=held / cores[item],
        width=int(np.max(mesh.columns)),
        height=int(np.max(mesh.rows)),
    )


def _parts(first: Array, cores: Array, mesh: Mesh) -> _Parts:
    """Cut ranges into tiles and gather them by chip, row and column."""
    tiles = tiles_of(first, cores, mesh)
    item, chip, x, y, share = tiles.item, tiles.chip, tiles.x, tiles.y, tiles.share
    width, height = tiles.width, tiles.height

    new = np.ones(len(item), dtype=bool)
    new[1:] = (item[1:] != item[:-1]) | (chip[1:] != chip[:-1])
    part = np.cumsum(new) - 1
    count = int(part[-1]) + 1 if len(part) else 0
    of_range = item[new]
    part_share = np.bincount(part, share, count)
    share = share / part_share[part]
    start, number = _ranges(of_range, len(first))
    row_part, row_y, row_by_x = _lines(part, y, x, share, height, width)
    column_part, column_x, column_by_y = _lines(part, x, y, share, width, height)
    return _Parts(
        start=start,
        count=number,
        chip=chip[new],
        share=part_share,
        by_x=np.bincount(part * width + x, share, count * width).reshape(count, width),
        by_y=np.bincount(part * height + y, share, count * height).reshape(count, height),
        row_part=row_part,
        row_y=row_y,
        row_by_x=row_by_x,
        column_part=column_part,
        column_x=column_x,
        column_by_y=column_by_y,
    )


def _lines(part: Array, line: Array, along: Array, share: Array, lines: int, length: int) -> tuple[Array, Array, Array]:
    """Return (part, line, shares along the line) of each line of tiles that a part touches."""
    key, inverse = np.unique(part * lines + line, return_inverse=True)
    shares = np.bincount(inverse * length + along, share, len(key) * length).reshape(len(key), length)
    return key // lines, key % lines, shares


def _part_pairs(parts: _Parts, pairs: Array) -> tuple[Array, Array, Array]:
    """Return (pair, part of the sender, part of the receiver) of every combination."""
    fan = parts.count[pairs[:, 1]]
    pair, a = expand(parts.start[pairs[:, 0]], parts.count[pairs[:, 0]])
    again, b = expand(parts.start[pairs[pair, 1]], fan[pair])
    return pair[again], a[again], b


def _ranges(sorted_owner: Array, count: int) -> tuple[Array, Array]:
    """Return (first index, number) of each owner's entries in an ascending list."""
    start = np.searchsorted(sorted_owner, np.arange(count), "left")
    return start, np.searchsorted(sorted_owner, np.arange(count), "right") - start


def expand(start: Array, count: Array) -> tuple[Array, Array]:
    """Return (i, start[i] + j) for every i and j < count[i]."""
    item = np.repeat(np.arange(len(count)), count)
    return item, np.repeat(start - np.cumsum(count) + count, count) + np.arange(len(item))


def _mean_distance(shares: Array, a: Array, b: Array) -> Array:
    """Return the mean distance of two places drawn from rows `a` and `b` of `shares`, `[N]`."""
    below = shares.cumsum(axis=1)[:, :-1]
    f, g = below[a], below[b]
    return (f * (1.0 - g) + g * (1.0 - f)).sum(axis=1)
