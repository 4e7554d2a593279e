"""The photos of a facet map, read again from their folder. Without torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from deepvis.core.errors import UserError
from deepvis.core.receptive_field import ReceptiveField
from deepvis.facets.facet_map import FacetMap
from deepvis.inputs.bands import Reading, as_colours
from deepvis.inputs.datasets import Images, Photos
from deepvis.scan.patches import as_cell, cut_out, field_box


def read_patches(
    found: FacetMap,
    field: ReceptiveField | None,
    whole: tuple[int, int],
    reading: Reading,
    shown: tuple[int, ...],
    side: int = 0,
) -> Iterator[np.ndarray | None]:
    """Yield what the unit sees of each of the map's photos, uint8 RGB; None for a photo that cannot be read.

    Args:
        field: the layer's receptive field; None for a vector.
        whole: width and height of the network's input.
        reading, shown: how pictures are read, and which bands are shown.
        side: longer side of the patches, if they are larger; 0: as large as the unit sees them.
    """
    images = Images(Path(found.root), tuple(member.name for member in found.members), reading=reading)
    photos = Photos(images, least=whole)
    for number, member in enumerate(found.members):
        box = field_box(field, member.row, member.column, whole)
        longer = max(box[2:])
        try:
            photo = as_colours(photos.read(number), shown)
        except UserError:
            yield None
            continue
        yield as_cell(cut_out(photo, box, whole), box, min(side or longer, longer))
