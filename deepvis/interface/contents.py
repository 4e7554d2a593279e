"""What the layer pane can show of each unit: CONTENTS is the table of these contents and of what each needs.

To add a content, add a row here, and a row of the same name in `deepvis.render.panes.layer.VIEWS`, which draws it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class Needs(Enum):
    """Where the content comes from."""

    ACTIVATIONS = auto()  # the newest pass of the network
    STORED_IMAGES = auto()  # the store of synthesized images
    TOP_IMAGES = auto()  # the index, or the collected moments
    STATISTICS = auto()  # the index
    WEIGHTS = auto()  # the network alone; the newest pass adds maps
    REMEMBERED = auto()  # the picture rebuilt from the layer's code
    DREAM = auto()  # the picture that is being dreamed
    PRIOR = auto()  # the folder of the layer's learned prior


@dataclass(frozen=True)
class Content:
    """A content of the layer pane.

    Attributes:
        name: its name in the state and in the tables.
        needs: what is loaded while it is shown.
        is_matrix: it is a correlation matrix, and not a grid of units.
        is_sorted: the units are in the order of their similarity.
        tab: what stands on its tab, if not its name.
    """

    name: str
    needs: Needs
    is_matrix: bool = False
    is_sorted: bool = False
    tab: str = ""

    @property
    def has_pictures(self) -> bool:
        """Whether each cell shows a picture, which is loaded for the visible cells."""
        return self.needs in (Needs.STORED_IMAGES, Needs.TOP_IMAGES)


CONTENTS: dict[str, Content] = {  # in the order of the key s
    row.name: row
    for row in (
        Content("activations", Needs.ACTIVATIONS),
        Content("synthesized", Needs.STORED_IMAGES),
        Content("top images", Needs.TOP_IMAGES),
        Content("histograms", Needs.STATISTICS),
        Content("correlation", Needs.STATISTICS, is_matrix=True),
        Content("correlation, sorted", Needs.STATISTICS, is_matrix=True, is_sorted=True, tab="sorted"),
        Content("strongest", Needs.ACTIVATIONS),
        Content("difference", Needs.ACTIVATIONS),
        Content("weights", Needs.WEIGHTS),
        Content("remembered", Needs.REMEMBERED),
        Content("prior", Needs.PRIOR),
        Content("dream", Needs.DREAM),
    )
}
