"""The panes, one module each. A pane has three functions: `draw` draws it, `key` returns everything that its
picture depends on, and `ready` says whether a new picture can be drawn.

While a pane waits for a result it keeps its old picture and title, which belong together, until the result
arrives or the network is so slow that the pane has to say so.
"""

from deepvis.render.panes.backward import BACKWARD
from deepvis.render.panes.input import INPUT
from deepvis.render.panes.layer import LAYER
from deepvis.render.panes.pane import Pane
from deepvis.render.panes.status import STATUS
from deepvis.render.panes.strip import LAYERS
from deepvis.render.panes.unit import UNIT
from deepvis.render.panes.unit_images import UNIT_IMAGES

PANES: dict[str, Pane] = {
    "input": INPUT,
    "layers": LAYERS,
    "layer": LAYER,
    "unit": UNIT,
    "backward": BACKWARD,
    "unit_images": UNIT_IMAGES,
    "status": STATUS,
}
