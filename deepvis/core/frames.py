"""What flows from an input to the network: one picture, and where it came from."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Photo:
    """Where an image of a data set is, or a moment that was collected.

    Attributes:
        root: folder of the data set; of a moment empty.
        name: the file's, relative to it; "shard.tar!member" for one in an archive; of a moment its own.
        pixels: what the network saw at the moment, uint8 RGB, once to twice the size of its input; None of a file's.
    """

    root: str
    name: str
    pixels: np.ndarray | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of an input. Two frames are the same if they are the same object.

    Attributes:
        image: uint8 RGB, height x width x 3, owned by the frame and never written to again.
        name: what to call it on the screen ("camera 0", "cat.jpg", "clip.mp4 0:12").
        index: 0, 1, 2 … in the order in which the input produced them.
        live: true if newer frames follow by themselves (camera, playing video).
        source: path of the file it comes from; empty for a camera.
        seconds: when it was taken: a video's own time, for a camera that of a clock; 0 for a photo.
        bands: H×W×C, uint8 or float32, what the network gets where that is not the image, which
            then shows three of them (see `deepvis.inputs.bands`).
    """

    image: np.ndarray
    name: str
    index: int
    live: bool
    source: str = ""
    seconds: float = 0.0
    bands: np.ndarray | None = None

    @property
    def pixels(self) -> np.ndarray:
        """What the network gets."""
        return self.image if self.bands is None else self.bands
