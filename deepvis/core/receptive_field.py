"""Receptive fields: the part of the input that a unit depends on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ReceptiveField:
    """The receptive field of a layer's units, in input pixels.

    Attributes:
        height, width: size of one unit's field; may be larger than the input.
        clipped: the input's borders cut off the field everywhere on the map, so the true field may be larger.
        stride: how far the field moves (down, right) from one (row, column) of the map to the next; may be a
            fraction; 0 for a vector.
        start: (top, left) of the field at row 0, column 0 of the map; may be negative.
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
        """Left, top, width and height of the field at a place of the map; a part may lie outside the input."""
        top, left = (round(start + stride * i) for start, stride, i in zip(self.start, self.stride, (row, column)))
        return left, top, self.width, self.height
