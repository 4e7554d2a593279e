"""The panes: one module each, with a function that draws it, one that names all it depends on, and
one that says whether there is something new to draw at all.

A pane whose answer has not come yet keeps its picture and its title, which belong together, until
the answer comes or the network is so slow that the pane has to say so.
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
