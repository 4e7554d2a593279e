"""Which axes of a module's output are units and which are rows and columns.

Units are taken out of an output by permuting and slicing alone, so a gradient flows through.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

MOST_EXTRAS = 16  # most tokens without a place (class, distillation, register, object tokens)

Grid = tuple[int, int]  # rows and columns


@dataclass(frozen=True)
class TokenPlaces:
    """Where the tokens of an output lie on the picture.

    Attributes:
        before: number of tokens without a place before those of the patch grid; more may follow after it.
        height, width: size of the patch grid, whose tokens come row by row; 0 and 0 if no token has a place.
    """

    before: int
    height: int
    width: int

    def others(self, count: int) -> list[int]:
        """The indices of the tokens without a place, out of `count` tokens."""
        patches = range(self.before, self.before + self.height * self.width)
        return [i for i in range(count) if i not in patches]


@dataclass(frozen=True)
class UnitAxes:
    """Which axes of an output hold units, rows and columns.

    Attributes:
        name: added to the layer's name for a token without a place ("/cls"); else empty.
        units, height, width: number of units, and size of their maps; height = width = 1 for a vector.
        look: output (B×…) -> B×units×height×width, or B×units for a vector.
    """

    name: str
    units: int
    height: int
    width: int
    look: Callable[[Tensor], Tensor]


def axes_of(
    shape: tuple[int, ...], aspect: float, grids: Sequence[Grid] = (), places: TokenPlaces | None = None
) -> list[UnitAxes]:
    """The units in an output: how to take them out of it.

    Args:
        shape: of the output, without the batch.
        aspect: width / height of the network's input; it helps to tell rows and columns from channels.
        grids: rows and columns of the maps before it, the latest first; they help too.
        places: where its tokens lie, if that is known.
    Returns:
        A vector of N or N×1, a map C×H×W or H×W×C: one. Tokens N×D, or D×N on a grid that is known: D maps
        on the patch grid, and a vector for each class, register or object token. Anything else: none.
    """
    if len(shape) == 1:
        return [UnitAxes("", shape[0], 1, 1, lambda out: out)]
    if len(shape) == 2 and places is None and shape[1] == 1:  # tokens that were averaged, channels first
        return [UnitAxes("", shape[0], 1, 1, lambda out: out[:, :, 0])]
    if len(shape) == 2 and places is None and (grid := channels_first(shape, grids)):
        return [UnitAxes("", shape[0], *grid, lambda out: out.reshape(-1, shape[0], *grid))]
    if len(shape) == 3:
        return [_map(shape, aspect, grids)]
    return _tokens(*shape, places or patches(shape[0], aspect, grids)) if len(shape) == 2 else []


def _map(shape: tuple[int, ...], aspect: float, grids: Sequence[Grid]) -> UnitAxes:
    seen = {*grids, *_halved(grids)}
    first, last = shape[1:] in seen, shape[:2] in seen
    if first == last:
        first, last = _fits(shape[1], shape[2], aspect), _fits(shape[0], shape[1], aspect)
    if last and not first:
        return UnitAxes("", shape[2], shape[0], shape[1], lambda out: out.permute(0, 3, 1, 2))
    return UnitAxes("", shape[0], shape[1], shape[2], lambda out: out)


def _tokens(count: int, units: int, places: TokenPlaces) -> list[UnitAxes]:
    start, height, width = places.before, places.height, places.width
    end = start + height * width

    def grid(out: Tensor) -> Tensor:
        return out[:, start:end].transpose(1, 2).reshape(-1, units, height, width)

    apart = [_token(number, index, units) for number, index in enumerate(places.others(count)[:MOST_EXTRAS])]
    return [UnitAxes("", units, height, width, grid), *apart] if end > start else apart


def _token(number: int, index: int, units: int) -> UnitAxes:
    return UnitAxes(f"/reg{number}" if number else "/cls", units, 1, 1, lambda out: out[:, index])


def patches(count: int, aspect: float, grids: Sequence[Grid] = ()) -> TokenPlaces:
    """Where `count` tokens lie, perhaps with a few tokens without a place before the grid.

    On a grid of an earlier map, or on such a grid halved once or more; if there were no maps, on a grid with the
    input's proportions; else in one row.
    """
    smaller = _halved(grids)
    for known in grids, smaller:
        if (grid := next((g for g in known if g[0] * g[1] == count), None)) is not None:
            return TokenPlaces(0, *grid)
    for known, most in (grids, MOST_EXTRAS), (smaller, 2):
        for height, width in known:
            if 0 < count - height * width <= most:
                return TokenPlaces(count - height * width, height, width)
    for extras in range(min(MOST_EXTRAS, count - 1) if not grids else 0):
        if grid := _proportional(count - extras, aspect):
            return TokenPlaces(extras, *grid)
    return TokenPlaces(0, 1, count)


def channels_first(shape: tuple[int, int], grids: Sequence[Grid]) -> Grid | None:
    """The grid of an output D×N if N, and not D, is the size of a grid of an earlier map; else None."""
    counts = {height * width: (height, width) for height, width in reversed(grids)}
    return None if shape[0] in counts or shape[0] - 1 in counts else counts.get(shape[1])


def spread(start: int, count: int, aspect: float, grids: Sequence[Grid]) -> TokenPlaces:
    """Where tokens lie if it is known that those with a place are `count` tokens from `start` on."""
    known = next((g for g in (*grids, *_halved(grids)) if g[0] * g[1] == count), None)
    return TokenPlaces(start, *(known or _proportional(count, aspect) or (1, count)))


def _proportional(count: int, aspect: float) -> Grid | None:
    """The grid of `count` patches with the input's proportions; None if there is none."""
    height = round(math.sqrt(count / aspect))
    fits = height > 1 and count % height == 0 and _fits(height, count // height, aspect)
    return (height, count // height) if fits else None


def _halved(grids: Sequence[Grid]) -> list[Grid]:
    """The grids halved again and again, as in a feature pyramid, as long as they are large enough to be told apart."""
    found: dict[Grid, None] = {}
    for height, width in grids:
        while min(height, width) > 4:
            height, width = math.ceil(height / 2), math.ceil(width / 2)
            found[height, width] = None
    return [grid for grid in found if grid not in grids]


def _fits(height: int, width: int, aspect: float) -> bool:
    return abs(width - height * aspect) <= 1
