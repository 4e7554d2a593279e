"""A request for the photos nearest to images of a unit, and its answer. Immutable, as those in
`deepvis.workers.messages`."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

COUNT = 3  # photos of each image and space
IMAGES = 4  # most images that are compared


@dataclass(frozen=True)
class NearestWish:
    """A request for the photos nearest to images.

    Attributes:
        layer: in whose code they are compared, besides the pixels.
        of: (layer, unit) whose images they are.
        mark: tells these images from others of the same unit.
        images: uint8 H×W×3 RGB each.
    """

    layer: str
    of: tuple[str, int]
    mark: int
    images: tuple[np.ndarray, ...] = field(compare=False, repr=False)


@dataclass(frozen=True)
class NearPhoto:
    """A photo near an image.

    Attributes:
        root, name: where it is (see `deepvis.core.frames.Photo`).
        distance: relative to the length of the image's own code.
        picture: uint8 H×W×3 RGB, small; None if it cannot be read again.
    """

    root: str
    name: str
    distance: float
    picture: np.ndarray | None = field(compare=False, repr=False)


@dataclass(frozen=True, eq=False)
class NearestPhotos:
    """The photos nearest to images.

    Attributes:
        wish: the request.
        found: for each image {space: photos, nearest first}; empty until all photos were seen.
        count: how many photos were compared.
        note: how far it is, or why there are none.
    """

    wish: NearestWish
    found: tuple[Mapping[str, tuple[NearPhoto, ...]], ...] = ()
    count: int = 0
    note: str = ""


def mark_of(images: Sequence[np.ndarray]) -> int:
    """A number that other images hardly have."""
    return zlib.crc32(b"".join(np.ascontiguousarray(image[::4, ::4]).tobytes() for image in images))
