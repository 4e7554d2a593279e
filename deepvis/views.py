"""How a module's output lies on the screen: which of its numbers belong to which unit.

A view turns an output into units by permuting and slicing alone, so a gradient flows through it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

MOST_EXTRAS = 16  # class, distillation and register tokens before the patches


@dataclass(frozen=True)
class View:
    """One way to look at an output.

    Attributes:
        name: what is added to the layer's name, for tokens that stand apart ("/cls"); else empty.
        units, height, width: what there is to see; height = width = 1 for a vector.
        look: output (B×…) -> B×units×height×width, or B×units for a vector.
    """

    name: str
    units: int
    height: int
    width: int
    look: Callable[[Tensor], Tensor]


def views(shape: tuple[int, ...], aspect: float) -> list[View]:
    """The views of an output.

    Args:
        shape: of the output, without the batch.
        aspect: width / height of the network's input, which tells rows and columns from channels.
    Returns:
        A vector of N, a map C×H×W or H×W×C: one view. Tokens N×D: D maps on the patch grid, and
        a vector for each class or register token. Anything else: none.
    """
    if len(shape) == 1:
        return [View("", shape[0], 1, 1, lambda out: out)]
    if len(shape) == 3:
        return [_map(shape, aspect)]
    return _tokens(*shape, aspect) if len(shape) == 2 else []


def _map(shape: tuple[int, ...], aspect: float) -> View:
    first, last = _fits(shape[1], shape[2], aspect), _fits(shape[0], shape[1], aspect)
    if last and not first:
        return View("", shape[2], shape[0], shape[1], lambda out: out.permute(0, 3, 1, 2))
    return View("", *shape, lambda out: out)


def _tokens(count: int, units: int, aspect: float) -> list[View]:
    extras, height, width = patches(count, aspect)
    grid = View("", units, height, width, lambda out: out[:, extras:].transpose(1, 2).reshape(-1, units, height, width))
    return [grid, *(_token(i, units) for i in range(extras))]


def _token(index: int, units: int) -> View:
    name = "/cls" if index == 0 else f"/reg{index}"
    return View(name, units, 1, 1, lambda out: out[:, index])


def patches(count: int, aspect: float) -> tuple[int, int, int]:
    """Number of tokens before the patches, rows and columns of patches; one row if they are no grid."""
    for extras in range(min(MOST_EXTRAS, count - 1)):
        patches = count - extras
        height = round(math.sqrt(patches / aspect))
        if height > 1 and patches % height == 0 and _fits(height, patches // height, aspect):
            return extras, height, patches // height
    return 0, 1, count


def _fits(height: int, width: int, aspect: float) -> bool:
    return abs(width - height * aspect) <= 1
