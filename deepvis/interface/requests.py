"""From the state to what is asked of the network, the store, the index and the collected moments.

All functions are pure; `layers` are the network's.
"""

from __future__ import annotations

from collections.abc import Sequence

from deepvis.attribution.requests import Request
from deepvis.core.frames import Frame
from deepvis.core.layers import Layer
from deepvis.core.receptive_field import ReceptiveField
from deepvis.interface.contents import Needs
from deepvis.interface.state import State
from deepvis.synthesis import recipe, recipe_grid
from deepvis.workers.layer_images import Wish as OverviewWish
from deepvis.workers.messages import Growth, TopPictures
from deepvis.workers.moments import Wish as MomentWish
from deepvis.workers.top_images import Wish as TopWish
from deepvis.workers.unit_images import Wish as PictureWish
from deepvis.workers.unit_images import stands_for

SEEDS = 4  # images that grow at a time


def request_for(state: State, frame: Frame | None, layers: Sequence[Layer]) -> Request | None:
    """The question that the state asks of the network; None while there is nothing to ask with."""
    if frame is None or not layers:
        return None
    layer, unit = state.backward_origin
    origin = (layers[layer].name, unit) if state.method else None
    name = layers[state.layer].name
    return Request(frame, state.crop, name, state.method, origin, state.layer_gradient, peaks=state.collecting)


def picture_wish_for(state: State, layers: Sequence[Layer], cells: range, side: int) -> PictureWish | None:
    """The stored pictures that the state shows.

    Args:
        cells, side: units that the layer pane has room for, and how large (pixels).
    """
    if not layers:
        return None
    shown = state.shown.needs is Needs.STORED_IMAGES and not state.help
    return PictureWish(stands_for(layers, state.layer), state.unit, tuple(cells) if shown else (), side if shown else 0)


def top_wish_for(
    state: State, layers: Sequence[Layer], usual: str = "deconv", moments: TopPictures | None = None
) -> TopWish:
    """The top images that the state shows, with the backward method that is on, or else the usual one.

    Args:
        moments: the newest that were collected. While these still change, no pass is spent on them.
    """
    layer, unit = stands_for(layers, state.layer), state.unit
    stay = (
        state.moments
        and not state.collecting
        and moments
        and moments.seen
        and (moments.layer, moments.unit) == (layer, unit)
    )
    return TopWish(
        layer, unit, state.method or usual, moments if stay else None, or_deconv=not state.method and usual != "deconv"
    )


def overview_wish_for(state: State, layers: Sequence[Layer], cells: range, side: int) -> OverviewWish:
    """What of the index the layer pane shows."""
    of = stands_for(layers, state.layer)
    if state.shown.needs is Needs.TOP_IMAGES:
        return OverviewWish(pictures_of=of, units=() if state.moments else tuple(cells), side=side)
    has_statistics = state.shown.needs is Needs.STATISTICS
    return OverviewWish(layers[state.layer].name if has_statistics else "", state.shown.is_sorted, of)


def moment_wish_for(
    state: State, layers: Sequence[Layer], cells: range, side: int, field: ReceptiveField | None
) -> MomentWish:
    """The collected moments that the state shows."""
    units = tuple(cells) if state.shown.needs is Needs.TOP_IMAGES else ()
    return MomentWish(stands_for(layers, state.layer), state.unit, field, units, side)


def growth_for(state: State, layers: Sequence[Layer]) -> Growth | None:
    """What the state wants to be synthesized now; None if nothing."""
    if not layers or not (state.growing or state.recipe_grids):
        return None
    layer = stands_for(layers, state.layer)
    if not state.recipe_grids:
        return Growth(layer, state.unit, state.preset, tuple(recipe.image_seed(0, state.unit, i) for i in range(SEEDS)))
    shown = state.recipe_grids[-1]
    recipes = recipe_grid.table(shown).recipes
    return Growth(
        layer, state.unit, shown.preset, (recipe.image_seed(shown.seed, state.unit, 0),) * len(recipes), recipes
    )
