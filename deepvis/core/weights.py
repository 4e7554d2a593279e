"""How strongly units of earlier layers feed a unit, without torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class InputWeight:
    """The weight of one unit of an earlier layer in a unit.

    Attributes:
        layer, unit: the unit of the earlier layer.
        weight: what the fed unit gains if the other one rises by 1 everywhere.
        size: the sum of the absolute weights of all places; it ranks the units.
        kernel: the weight of each place around the fed unit's own, float32 h×w; 1×1 between vectors.
    """

    layer: str
    unit: int
    weight: float
    size: float
    kernel: np.ndarray


@dataclass(frozen=True, eq=False)
class InputWeights:
    """The units of earlier layers that feed a unit.

    Attributes:
        layer, unit: the unit that is fed.
        inputs: those that feed it most, the largest first.
        count: how many feed it in all.
        note: a text that says why there are none.
    """

    layer: str
    unit: int
    inputs: tuple[InputWeight, ...] = ()
    count: int = 0
    note: str = ""

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers of `inputs`, that of the largest one first."""
        return tuple(dict.fromkeys(one.layer for one in self.inputs))
