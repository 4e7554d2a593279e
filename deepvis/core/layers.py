"""The description of a network's layers that the rest of the program uses, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deepvis.core.errors import UserError
from deepvis.core.nearest import did_you_mean


@dataclass(frozen=True)
class Layer:
    """One layer as the user sees it.

    Attributes:
        name: short name, unique in the network, the first half of a unit's id (``head:151``).
        kind: class name of the module behind it ("Conv2d", "InvertedResidual" …).
        units: number of units: channels of a map, entries of a vector.
        height, width: size of each unit's map in positions; both 1 for a vector.
        labels: names of the units in order; empty if they have none.
    """

    name: str
    kind: str
    units: int
    height: int = 1
    width: int = 1
    labels: tuple[str, ...] = ()

    @property
    def is_map(self) -> bool:
        return self.height * self.width > 1

    @property
    def shape_text(self) -> str:
        return f"{self.units}×{self.height}×{self.width}" if self.is_map else f"{self.units}"

    def label(self, unit: int) -> str:
        """The unit's label; "class 7" if its label is blank; empty if the layer has no label for it."""
        return self.labels[unit] or f"class {unit}" if unit < len(self.labels) else ""


def unit_id(layer: str, unit: int) -> str:
    """The id of a unit, as commands and prompts take it: ``head:151``."""
    return f"{layer}:{unit}"


def find_layer(name: str, layers: Sequence[Layer]) -> int:
    """Position of the layer called `name`; raises UserError with similar names if there is none."""
    names = [layer.name for layer in layers]
    if name in names:
        return names.index(name)
    folded = [n.lower() for n in names]
    if folded.count(name.lower()) == 1:  # in the window only lower case letters can be typed
        return folded.index(name.lower())
    shown = names if len(names) <= 24 else [*names[:12], "…", *names[-6:]]
    raise UserError(f"unknown layer {name!r}.{did_you_mean(name, names)} This network has {', '.join(shown)}.")


def parse_unit(text: str, layers: Sequence[Layer], layer_alone: bool = False) -> tuple[int, int]:
    """Read a unit's id.

    Args:
        text: ``layer:number``, or ``layer:label`` on a labelled layer.
        layer_alone: a layer's name alone will do; it stands for its unit 0.
    Returns:
        Position of the layer in `layers`, number of the unit.
    Raises:
        UserError: unknown layer, number out of range, no such label; it says what exists.
    """
    name, colon, unit = text.strip().rpartition(":")
    if not colon:
        index = find_layer(unit, layers)
        if not layer_alone:
            raise UserError(
                f"unit {text!r}: expected one unit of the layer, {unit_id(layers[index].name, 0)} to "
                f"{unit_id(layers[index].name, layers[index].units - 1)}{' or a label' if layers[index].labels else ''}"
            )
        return index, 0
    index = find_layer(name.strip(), layers)
    layer, unit = layers[index], unit.strip()
    if unit.isdecimal():
        if int(unit) < layer.units:
            return index, int(unit)
        raise UserError(f"layer {layer.name} has no unit {unit}: its units are 0 to {layer.units - 1}.")
    lowered = [label.lower() for label in layer.labels]
    if unit and unit.lower() in lowered:
        return index, lowered.index(unit.lower())
    raise UserError(
        f"layer {layer.name} has no unit {unit!r}: expected a number from 0 to {layer.units - 1}"
        f"{' or a label' if layer.labels else ''}.{did_you_mean(unit, layer.labels)}"
    )


def stands_for(layers: Sequence[Layer], index: int) -> str:
    """The name of the layer whose images are shown for a layer: for a softmax the layer of scores before it."""
    layer = layers[index]
    before = layers[index - 1] if index else layer
    return before.name if layer.kind == "Softmax" and before.units == layer.units else layer.name
