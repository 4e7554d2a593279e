"""Requests about the picture in view, and their answers: what a layer remembers of it and dreams of it, and which
backward method is true for it.

All are immutable, as those in `deepvis.workers.messages`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from deepvis.core.frames import Frame
from deepvis.core.geometry import RelativeBox

# ---- what a layer remembers, and what it dreams ---------------------------------------------------


@dataclass(frozen=True)
class RememberedWish:
    """A request for the picture that a layer's code still tells of.

    Attributes:
        layer: the layer.
        unit: of this unit's part of the code alone, the others at their mean; None for the whole code.
        frame, crop: the picture, and whether its centre is cropped to the network's input.
        still: the picture stays, so that the rebuilt one may be sharpened.
    """

    layer: str
    unit: int | None
    frame: Frame
    crop: bool
    still: bool = True


@dataclass(frozen=True, eq=False)
class Remembered:
    """A picture rebuilt from a code.

    Attributes:
        wish: the request.
        seen: the picture as the network sees it, uint8 H×W×3 RGB; None before there is one.
        picture: the rebuilt one.
        psnr: in decibels.
        error: the code error.
        steps: of gradient ascent; 0 for the closed form.
        held_out: the closed form's mean PSNR over photos that it was not learned from; NaN if not known.
        note: a text that says what is being done, or why there is no picture; empty if there is one.
        done: nothing more will come.
    """

    wish: RememberedWish
    seen: np.ndarray | None = None
    picture: np.ndarray | None = None
    psnr: float = 0.0
    error: float = 0.0
    steps: int = 0
    held_out: float = math.nan
    note: str = ""
    done: bool = False


@dataclass(frozen=True)
class DreamWish:
    """A request for a dream.

    Attributes:
        layer: the layer.
        unit: this unit stronger; None for what the layer sees.
        mode: "picture", "zoom" or "live".
        frame, crop: the picture; a live dream sees its crop as the network does.
        guide: a picture whose features guide the dream; None for none.
        side: longest side of the dreamed picture in pixels.
        zoom, turn, drift: of an endless zoom, as in `deepvis.synthesis.moving_dreams.Zoom`.
        running: go on; if false the picture so far stays.
        rounds: how often the user has asked to dream on from the result.
        box: this part of the guide alone; None for all of it.
        walk: after so many frames an endless zoom of a unit goes on with the layer's next one; 0: never.
    """

    layer: str
    unit: int | None
    mode: str
    frame: Frame
    crop: bool
    guide: Frame | None = None
    side: int = 1100
    zoom: float = 0.05
    turn: float = 0.0
    drift: tuple[float, float] = (0.0, 0.0)
    running: bool = True
    rounds: int = 0
    box: RelativeBox | None = None
    walk: int = 0

    @property
    def dream(self) -> tuple[object, ...]:
        """What decides which dream this is: stopping and dreaming on do not, nor does a live dream's newest frame."""
        frame = None if self.mode == "live" else self.frame
        return (
            self.layer,
            self.unit,
            self.mode,
            frame,
            self.crop,
            self.guide,
            self.box,
            self.side,
            self.zoom,
            self.turn,
            self.drift,
            self.walk,
        )

    def goes_on_from(self, before: DreamWish) -> bool:
        """Whether this dream begins in the picture so far of another one: an endless zoom of another layer or unit."""
        zooms = self.mode == before.mode == "zoom"
        return zooms and (self.frame, self.crop, self.side) == (before.frame, before.crop, before.side)


@dataclass(frozen=True, eq=False)
class DreamView:
    """A dream so far.

    Attributes:
        wish: the request.
        picture: uint8 H×W×3 RGB; None before there is one.
        words: how far it is.
        note: a text that says why there is no picture, or what was changed; empty if nothing.
        done: nothing more will come.
    """

    wish: DreamWish
    picture: np.ndarray | None = None
    words: str = ""
    note: str = ""
    done: bool = False


# ---- which backward method is true ---------------------------------------------------------------


@dataclass(frozen=True)
class CurvesWish:
    """A request for the deletion and insertion curves of backward methods.

    Attributes:
        frame, crop: the picture, and whether its centre is cropped to the network's input.
        methods: keys of `deepvis.attribution.methods.METHODS`, in the order in which they are measured.
    """

    frame: Frame
    crop: bool
    methods: tuple[str, ...]


RANDOM_BLOCKS = "random"  # in place of a method: blocks in a random order, the floor


@dataclass(frozen=True)
class MethodCurve:
    """A method's curves: the class's probability on the way.

    Attributes:
        name: the method, or RANDOM_BLOCKS.
        deletion, insertion: see `deepvis.attribution.curves.Curves`; empty if the method gave no map.
        note: why it gave none.
    """

    name: str
    deletion: tuple[float, ...] = ()
    insertion: tuple[float, ...] = ()
    note: str = ""

    @property
    def areas(self) -> tuple[float, float]:
        """The mean probability on both ways."""
        deletion, insertion = (sum(way) / max(1, len(way)) for way in (self.deletion, self.insertion))
        return deletion, insertion


@dataclass(frozen=True, eq=False)
class MethodCurves:
    """The curves of a `CurvesWish` so far.

    Attributes:
        wish: the request.
        layer, unit: the class that the network predicts.
        probability: of that class.
        curves: those of random blocks, then of the methods that have been measured.
        note: why there are none.
        done: there is no more to come.
    """

    wish: CurvesWish
    layer: str = ""
    unit: int = 0
    probability: float = 0.0
    curves: tuple[MethodCurve, ...] = ()
    note: str = ""
    done: bool = False
