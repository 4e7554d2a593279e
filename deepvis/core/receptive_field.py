"""What part of the input a unit depends on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ReceptiveField:
    """What part of the input the units of a layer depend on, in input pixels.

    Attributes:
        height, width: of one unit's field; may be more than the input's.
        clipped: the field reaches the border of the input all round the map, so that it may be larger.
        stride: how far the field moves (down, right) to the next (row, column) of the map. A fraction
            where it is only known to be even; 0 for a vector.
        start: (top, left) of the field of the unit at row 0, column 0; may be negative.
    """

    height: int
    width: int
    clipped: bool
    stride: tuple[float, float] = (0, 0)
    start: tuple[float, float] = (0, 0)

    @property
    def text(self) -> str:
        size = f"{self.width}×{self.height}"
        return f"{size} or more" if self.clipped else size

    def box(self, row: int, column: int) -> tuple[int, int, int, int]:
        """Left, top, width and height of the field of the unit at a place of the map.

        Not clipped to the input: a part of it may lie outside.
        """
        top, left = (round(start + stride * i) for start, stride, i in zip(self.start, self.stride, (row, column)))
        return left, top, self.width, self.height
