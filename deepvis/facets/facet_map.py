"""What is known of a unit's facets: the photos that excite it, where they lie on a map, and an image of each cluster.

Without torch, because the window shows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Names = tuple[tuple[str, float], ...]  # names, each with its probability or its share


@dataclass(frozen=True)
class Member:
    """A photo that excites the unit.

    Attributes:
        name: the photo's, relative to the map's folder of photos.
        row, column: where on the layer's map the unit is strongest (0 for a vector).
        value: the unit's activation there.
        called: what the network calls the photo; empty if it has no names.
        x, y: its place on the facet map.
        cluster: the number of its cluster.
    """

    name: str
    row: int
    column: int
    value: float
    called: str = ""
    x: float = 0.0
    y: float = 0.0
    cluster: int = 0


@dataclass(frozen=True, eq=False)
class Facet:
    """A cluster of the photos, and the image that gradient ascent makes of it.

    Attributes:
        size: number of photos in the cluster.
        nearest: numbers of the members nearest to the cluster's centre, nearest first: those of the mean image.
        mean: their mean image, uint8 H×W×3 RGB.
        photos_called: what the network calls the cluster's photos, the most frequent name first, with its share.
        image: the facet, uint8 H×W×3 RGB; None if it has not been made.
        score: the unit's activation for that image.
        mean_score: the same for the mean image.
        called: what the network calls the image, with probabilities, the most probable first.
    """

    size: int
    nearest: tuple[int, ...]
    mean: np.ndarray
    photos_called: Names = ()
    image: np.ndarray | None = None
    score: float = 0.0
    mean_score: float = 0.0
    called: Names = ()


@dataclass(frozen=True, eq=False)
class FacetMap:
    """A unit's facets, the largest cluster first.

    Attributes:
        layer, unit: the unit.
        root: the folder that the members' names are relative to.
        code: the layer whose features are compared.
        members: the photos.
        facets: one for each cluster.
        silhouettes: (number of clusters, mean silhouette): the number with the largest fits the photos best.
    """

    layer: str
    unit: int
    root: str
    code: str
    members: tuple[Member, ...]
    facets: tuple[Facet, ...]
    silhouettes: tuple[tuple[int, float], ...] = ()

    @property
    def suggested(self) -> int:
        """The number of clusters with the largest silhouette."""
        return suggested(self.silhouettes)

    @property
    def silhouette(self) -> float | None:
        """The silhouette for the map's own number of clusters; None if it is not known."""
        return dict(self.silhouettes).get(len(self.facets))


def suggested(silhouettes: Sequence[tuple[int, float]]) -> int:
    """The number of clusters with the largest silhouette, the smallest among equals; 1 if there is none."""
    return max(silhouettes, key=lambda pair: (pair[1], -pair[0]))[0] if silhouettes else 1


def in_words(names: Names, most: int = 2) -> str:
    """Names with their shares: "bell pepper .62, strawberry .20"; after the first only those of a hundredth or more."""
    told = [pair for i, pair in enumerate(names[:most]) if i == 0 or pair[1] >= 0.01]
    return ", ".join(f"{name} {share:.2f}".replace(" 0.", " .") for name, share in told)
