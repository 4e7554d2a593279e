"""What the state asks of the network, the store, the index, the collected moments and the synthesizer.

All functions are pure; `layers` are the network's layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from deepvis.attribution.methods import METHODS
from deepvis.attribution.requests import Request
from deepvis.core.frames import Frame
from deepvis.core.layers import Layer, stands_for
from deepvis.core.receptive_field import ReceptiveField
from deepvis.core.weights import InputWeights
from deepvis.interface.contents import Needs
from deepvis.interface.settings import DreamSettings
from deepvis.interface.state import State
from deepvis.store.unit_images import PROVISIONAL, Key
from deepvis.synthesis import recipe, recipe_grid
from deepvis.workers.messages import (
    FacetsWish,
    GrowthWish,
    InputWeightsWish,
    LayerImagesWish,
    MomentsWish,
    TopImagesWish,
    TopPictures,
    UnitImagesWish,
)
from deepvis.workers.nearest_messages import IMAGES as MOST_COMPARED
from deepvis.workers.nearest_messages import NearestWish, mark_of
from deepvis.workers.picture_messages import CurvesWish, DreamWish, RememberedWish

FIRST_COMPARED = 31  # steps of growing images after which they are compared with the photos for the second time
SEEDS = 4  # images that grow side by side for key x
NEIGHBOURS = 8  # units after the selected one whose images grow by themselves
FEEDING = 10  # units that feed the selected one, as the weights view lists them
SIDE = 128  # pixels of their top images
RECIPE = "modern"  # recipe of images that grow by themselves


def needs_still(state: State, frame: Frame | None) -> bool:
    """Whether the backward method takes many passes and the picture would change before they are done."""
    many = state.method is not None and METHODS[state.method].passes > 1
    return many and frame is not None and frame.live and not state.frozen


def request_for(
    state: State, frame: Frame | None, layers: Sequence[Layer], weights: InputWeights | None = None
) -> Request | None:
    """The request to the network that fits the state; None before there is a frame and a network.

    Args:
        weights: of the units that feed a unit; if they are shown, the maps of these units are asked for too.
    """
    if frame is None or not layers:
        return None
    layer, unit = state.backward_origin
    method = None if needs_still(state, frame) else state.method
    origin = (layers[layer].name, unit) if method else None
    name = layers[state.layer].name
    peaks, others = state.collecting, _feeding(state, layers, weights)
    return Request(frame, state.crop, name, method, origin, state.layer_gradient, peaks, others=others)


def _feeding(state: State, layers: Sequence[Layer], weights: InputWeights | None) -> tuple[tuple[str, int], ...]:
    """The units that the weights view shows."""
    wish = weights_wish(state, layers)
    if weights is None or wish is None or (weights.layer, weights.unit) != (wish.layer, wish.unit):
        return ()
    return tuple((one.layer, one.unit) for one in weights.inputs[:FEEDING])


def weights_wish(state: State, layers: Sequence[Layer]) -> InputWeightsWish | None:
    """The unit whose weights the layer pane shows; None if it shows none."""
    if not layers or state.shown.needs is not Needs.WEIGHTS or state.help:
        return None
    return InputWeightsWish(stands_for(layers, state.layer), state.unit)


def held_request(state: State, layers: Sequence[Layer]) -> Request | None:
    """The same request for the held picture; None if there is none."""
    request = request_for(state, state.held, layers)
    return None if request is None else replace(request, peaks=False, held=True)


def unit_images_wish(state: State, layers: Sequence[Layer], cells: Sequence[int], side: int) -> UnitImagesWish | None:
    """The stored images that the state shows.

    Args:
        cells, side: the units that the layer pane has room for, and the side of their cells in pixels.
    """
    if not layers:
        return None
    shown = state.shown.needs is Needs.STORED_IMAGES and not state.help
    return UnitImagesWish(
        stands_for(layers, state.layer), state.unit, tuple(cells) if shown else (), side if shown else 0
    )


def top_images_wish(
    state: State, layers: Sequence[Layer], usual: str = "deconv", moments: TopPictures | None = None
) -> TopImagesWish:
    """The request for the selected unit's top images and their backward images.

    Args:
        usual: the backward method to use if none is on.
        moments: the newest collected moments. Their backward images are requested only after collecting has stopped.
    """
    layer, unit = stands_for(layers, state.layer), state.unit
    is_own = moments is not None and bool(moments.seen) and (moments.layer, moments.unit) == (layer, unit)
    stay = is_own and state.moments and not state.collecting
    return TopImagesWish(
        layer, unit, state.method or usual, moments if stay else None, or_deconv=not state.method and usual != "deconv"
    )


def layer_images_wish(
    state: State, layers: Sequence[Layer], cells: Sequence[int], side: int, weights: InputWeights | None = None
) -> LayerImagesWish:
    """The request for what the layer pane shows from the index: top images, histograms or correlation.

    Args:
        weights: of the units that feed a unit; if they are shown, so are top images of the layer that feeds it most.
    """
    feeding = _feeding(state, layers, weights)
    if feeding:
        of = feeding[0][0]
        return LayerImagesWish(pictures_of=of, units=tuple(unit for layer, unit in feeding if layer == of), side=SIDE)
    of = stands_for(layers, state.layer)
    if state.shown.needs is Needs.TOP_IMAGES:
        return LayerImagesWish(pictures_of=of, units=() if state.moments else tuple(cells), side=side)
    has_statistics = state.shown.needs is Needs.STATISTICS
    return LayerImagesWish(layers[state.layer].name if has_statistics else "", state.shown.is_sorted, of)


def moments_wish(
    state: State, layers: Sequence[Layer], cells: Sequence[int], side: int, field: ReceptiveField | None
) -> MomentsWish:
    """The request for the collected moments that the state shows."""
    units = tuple(cells) if state.shown.needs is Needs.TOP_IMAGES else ()
    return MomentsWish(stands_for(layers, state.layer), state.unit, field, units, side)


def growth_wish(state: State, layers: Sequence[Layer]) -> GrowthWish | None:
    """The request for images to synthesize now: for key x or the recipe grid; None if both are off."""
    if not layers or not (state.growing or state.recipe_grids):
        return None
    layer = stands_for(layers, state.layer)
    if not state.recipe_grids:
        also = None if state.partner is None else (stands_for(layers, state.partner[0]), state.partner[1])
        return GrowthWish(layer, state.unit, state.preset, _seeds(state.unit, SEEDS), also=also)
    shown = state.recipe_grids[-1]
    recipes = recipe_grid.table(shown).recipes
    return GrowthWish(
        layer, state.unit, shown.preset, (recipe.image_seed(shown.seed, state.unit, 0),) * len(recipes), recipes
    )


def facets_wish(state: State, layers: Sequence[Layer]) -> FacetsWish | None:
    """The request for the selected unit's facets; None if they are not shown."""
    if not layers or state.zoom != "facets" or state.recipe_grids or state.help:
        return None
    return FacetsWish(stands_for(layers, state.layer), state.unit, state.facet_count)


def _seeds(unit: int, count: int) -> tuple[int, ...]:
    return tuple(recipe.image_seed(0, unit, i) for i in range(count))


def growth_by_itself(
    state: State, layers: Sequence[Layer], cells: Sequence[int], records: Mapping[Key, Mapping[str, Any]]
) -> GrowthWish | None:
    """The next images that grow while the user asks for none: first the selected unit's, then one image each of the
    units whose preferred images the layer pane shows, or else of the next units. None if all are stored.

    Args:
        cells: the units that the layer pane has room for.
        records: {(layer, unit): how its stored images were made}.
    """
    if not layers or growth_wish(state, layers) is not None:
        return None
    layer, units = stands_for(layers, state.layer), layers[state.layer].units
    shows_images = state.shown.needs is Needs.STORED_IMAGES
    others = cells if shows_images else range(state.unit + 1, min(units, state.unit + 1 + NEIGHBOURS))
    for unit, count in ((state.unit, SEEDS), *((unit, 1) for unit in others)):
        if _lacks(records.get((layer, unit)), count):
            return GrowthWish(layer, unit, RECIPE, _seeds(unit, count), by_itself=True)
    return None


def _lacks(record: Mapping[str, Any] | None, count: int) -> bool:
    """Whether a unit has no stored images, or only fewer than `count` that the window made by itself."""
    if record is None:
        return True
    return bool(record.get(PROVISIONAL)) and "failed" not in record and len(record.get("scores", ())) < count


def curves_wish(state: State, layers: Sequence[Layer], frame: Frame | None) -> CurvesWish | None:
    """The request for the curves of all backward methods, first of the usual ones; None if they are not shown, or the
    picture is live. It does not depend on the method that is on, so that one may go through them meanwhile."""
    shown = state.zoom == "curves" and not state.recipe_grids and not state.help
    if not shown or frame is None or not layers or (frame.live and not state.frozen):
        return None
    usual = [row.name for row in METHODS.values() if row.in_cycle]
    return CurvesWish(frame, state.crop, tuple(dict.fromkeys((*usual, *METHODS))))


def remembered_wish(state: State, layers: Sequence[Layer], frame: Frame | None) -> RememberedWish | None:
    """The request for the picture in view rebuilt from the layer's code; None if that is not shown."""
    if state.shown.needs is not Needs.REMEMBERED or frame is None or not layers:
        return None
    still = not frame.live or state.frozen
    return RememberedWish(layers[state.layer].name, _part(state), frame, state.crop, still)


def nearest_wish(
    state: State, layers: Sequence[Layer], images: Sequence[np.ndarray], steps: int | None
) -> NearestWish | None:
    """The request for the photos nearest to the selected unit's images; None if they are not shown.

    Args:
        images: the unit's.
        steps: how far they have grown; None if they do not grow. They are compared again after twice as many, or if
            the user asks.
    """
    if not layers or not images or state.zoom != "nearest" or state.recipe_grids or state.help:
        return None
    of, some = (stands_for(layers, state.layer), state.unit), tuple(images[:MOST_COMPARED])
    mark = mark_of(some) if steps is None else -1 - 64 * state.nearest_round - max(FIRST_COMPARED, steps).bit_length()
    return NearestWish(layers[state.layer].name, of, mark, some)


def prior_wish(state: State, layers: Sequence[Layer]) -> str | None:
    """The layer whose prior's training the layer pane watches; None if it watches none."""
    if state.shown.needs is not Needs.PRIOR or not layers or state.help:
        return None
    return layers[state.layer].name


def dream_wish(
    state: State,
    layers: Sequence[Layer],
    frame: Frame | None,
    settings: DreamSettings,
    before: DreamWish | None = None,
) -> DreamWish | None:
    """The request for the dream of the picture in view; None if that is not shown.

    Args:
        before: the request before. While newer pictures come by themselves, the dream of one stays that of the picture
            that it began with, until the camera or video is stopped at another one.
    """
    if state.shown.needs is not Needs.DREAM or frame is None or not layers:
        return None
    is_zoom, box = state.dream_mode == "zoom", state.guide_box
    wish = DreamWish(
        layers[state.layer].name,
        _part(state),
        state.dream_mode,
        frame,
        state.crop,
        box.frame if box is not None else state.held if state.guided else None,
        settings.zoom_side if is_zoom else settings.side,
        settings.zoom,
        settings.turn,
        (settings.drift_x, settings.drift_y),
        state.dreaming,
        state.dream_rounds,
        None if box is None else box.box,
        settings.walk,
    )
    if before is None or not frame.live or state.frozen or state.dream_mode == "live":
        return wish
    again = replace(wish, frame=before.frame)
    return again if again.dream == before.dream or again.goes_on_from(before) else wish


def _part(state: State) -> int | None:
    """The selected unit if only its part is asked for."""
    return state.unit if state.part == "unit" else None
