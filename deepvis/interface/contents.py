"""What of a layer's units the layer pane can show: CONTENTS says of each what it needs.

Adding one is a row here and a row in `deepvis.render.panes.layer.VIEWS`, which draws it under the same name.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class Needs(Enum):
    """Where what is shown comes from."""

    ACTIVATIONS = auto()  # the newest pass of the network
    STORED_IMAGES = auto()  # the store of synthesized images
    TOP_IMAGES = auto()  # the index, or the moments that were collected
    STATISTICS = auto()  # the index


@dataclass(frozen=True)
class Content:
    """One row.

    Attributes:
        name: what the state and the tables call it.
        needs: what is fetched while it is shown.
        is_matrix: units by units, and not a grid of units.
        is_sorted: in the order of their similarity.
    """

    name: str
    needs: Needs
    is_matrix: bool = False
    is_sorted: bool = False

    @property
    def has_pictures(self) -> bool:
        """Each cell shows a picture, which is fetched for the cells that are seen."""
        return self.needs in (Needs.STORED_IMAGES, Needs.TOP_IMAGES)


CONTENTS: dict[str, Content] = {  # in the order of the key s
    row.name: row
    for row in (
        Content("activations", Needs.ACTIVATIONS),
        Content("synthesized", Needs.STORED_IMAGES),
        Content("top images", Needs.TOP_IMAGES),
        Content("histograms", Needs.STATISTICS),
        Content("correlation", Needs.STATISTICS, is_matrix=True),
        Content("correlation, sorted", Needs.STATISTICS, is_matrix=True, is_sorted=True),
    )
}
