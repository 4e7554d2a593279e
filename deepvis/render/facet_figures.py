"""Figures of facets as pictures (Nguyen et al. 2016, "Multifaceted Feature Visualization", Figures 2, 4, 6 and S9)."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from deepvis.core.geometry import resize
from deepvis.core.layers import unit_id
from deepvis.facets.facet_map import FacetMap, in_words
from deepvis.interface.unit_grid import PaneView
from deepvis.render import text
from deepvis.render.colors import DARK
from deepvis.render.draw import Canvas
from deepvis.render.figures import GAP, Block, labelled, stacked
from deepvis.render.panes.facets import draw_facet_list, ink, map_picture
from deepvis.workers.messages import FacetsWish, Thumbs, UnitFacets

Patches = Sequence[np.ndarray | None]
_SIDE = 224


def map_with_facets(found: FacetMap, patches: Patches, side: int) -> np.ndarray:
    """Figures 2 and S5: the map in the middle, the facets at both sides, uint8 BGR.

    Args:
        side: of the map, in pixels.
    """
    thumbs, width = Thumbs(tuple(patches)), round(side * 0.45)
    middle = map_picture(found, thumbs, side, side, PaneView(), side / 800, DARK.ground)
    picture = np.empty((side, side + 2 * width, 3), np.uint8)
    picture[:, width : width + side] = middle
    shown = UnitFacets(FacetsWish(found.layer, found.unit), found, found, thumbs)
    half = -(-len(found.facets) // 2)
    for left, clusters in ((0, range(half)), (width + side, range(half, len(found.facets)))):
        canvas = Canvas(picture[:, left : left + width], side / 800)
        canvas.fill()
        draw_facet_list(canvas, shown, clusters)
    return picture


def below_their_photos(
    maps: Sequence[FacetMap], patches: Sequence[Patches], names: Sequence[str], most: int
) -> np.ndarray:
    """Figure 4: for each unit the photo nearest to each cluster's centre, and the facet below it, uint8 BGR.

    Args:
        patches: the photos of each map.
        names: of the units.
        most: facets of each unit, the largest clusters first.
    """
    rows, titles = [], []
    for found, photos, name in zip(maps, patches, names):
        facets = found.facets[:most]
        empty = [np.full((_SIDE, _SIDE, 3), DARK.ground, np.uint8)] * (most - len(facets))
        nearest = [_square(photos[facet.nearest[0]]) for facet in facets]
        images = [_square(facet.image) for facet in facets]
        rows += [np.stack([*nearest, *empty]), np.stack([*images, *empty])]
        words = [f"{name}   facet {i + 1}: {facet.size} photos" if i == 0 else f"facet {i + 1}: {facet.size} photos"
                 for i, facet in enumerate(facets)]  # fmt: skip
        titles += [words + [""] * len(empty), [in_words(facet.called) for facet in facets] + [""] * len(empty)]
    return labelled(rows, titles)


def _square(image: np.ndarray | None) -> np.ndarray:
    """The picture in a square; a dark one if there is none."""
    if image is None:
        return np.full((_SIDE, _SIDE, 3), DARK.ground, np.uint8)
    return resize(np.ascontiguousarray(image), _SIDE, _SIDE)


def at_true_sizes(maps: Sequence[FacetMap], most: int) -> np.ndarray:
    """Figure 6: facets of units of several layers at their true sizes, the last layer named on top, uint8 BGR."""
    layers: dict[str, list[Block]] = {}
    for found in maps:
        images = [facet.image for facet in found.facets[:most] if facet.image is not None]
        layers.setdefault(found.layer, []).append((unit_id(found.layer, found.unit), images))
    return stacked([layers[name] for name in reversed(layers)])


def by_cluster(found: FacetMap, patches: Patches, below: Patches, columns: int, side: int = 72) -> np.ndarray:
    """Figure S9: all photos of a unit, cluster by cluster, the strongest first, uint8 BGR.

    Args:
        below: what is shown below the photos, such as their backward images; empty for nothing.
        columns: photos in a row.
    """
    line, step = 20, side + GAP
    parts = []
    for cluster, facet in enumerate(found.facets):
        own = [i for i, member in enumerate(found.members) if member.cluster == cluster]
        head = np.full((line, columns * step, 3), DARK.ground, np.uint8)
        words = f"{cluster + 1}   {facet.size} photos   {in_words(facet.photos_called, 3)}"
        text.put(head, text.shorten(words, columns * step - GAP, 13, 600), GAP, 0, 13, ink(cluster), 600)
        parts.append(head)
        for first in range(0, len(own), columns):
            some = own[first : first + columns]
            for pictures in (patches, below):
                if pictures:
                    parts.append(_strip([pictures[i] for i in some], columns, side))
    return np.concatenate(parts)


def _strip(pictures: Patches, columns: int, side: int) -> np.ndarray:
    strip = np.full((side + GAP, columns * (side + GAP), 3), DARK.ground, np.uint8)
    for column, picture in enumerate(pictures):
        if picture is not None:
            small = cv2.cvtColor(resize(np.ascontiguousarray(picture), side, side), cv2.COLOR_RGB2BGR)
            strip[:side, column * (side + GAP) :][:, :side] = small
    return strip
