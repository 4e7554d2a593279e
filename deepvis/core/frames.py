"""Frames, which flow from an input to the network, photos, which say where an image of a data set is, and
the list of the files that the input goes through."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Files:
    """The files that the input goes through, in order.

    Attributes:
        names: their names; empty before they are listed.
        position: of the current one.
    """

    names: tuple[str, ...] = ()
    position: int = 0


@dataclass(frozen=True)
class Photo:
    """Where an image of a data set is, or a collected moment with its pixels.

    Attributes:
        root: folder of the data set; empty for a moment.
        name: of a file: its path relative to `root`, "shard.tar!member" in an archive; of a moment: its name.
        pixels: of a moment: what the network saw, uint8 RGB, of one to two times its input's size, or
            a live frame as it was; else None.
    """

    root: str
    name: str
    pixels: np.ndarray | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of an input. Frames are compared by identity.

    Attributes:
        image: uint8 RGB, height x width x 3, owned by the frame and never written to again.
        name: what to call it on the screen ("camera 0", "cat.jpg", "clip.mp4 0:12").
        index: 0, 1, 2 … in the order in which the input produced them.
        live: true if newer frames follow by themselves (camera, playing video).
        source: path of the file it comes from; empty for a camera.
        seconds: when it was taken: the time in the video, or a clock's time for a camera; 0 for a photo.
        bands: H×W×C, uint8 or float32, if the network gets bands in place of `image`, which then shows
            three of them (see `deepvis.inputs.bands`); else None.
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
