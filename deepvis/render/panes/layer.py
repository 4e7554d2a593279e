"""The layer pane: all units of the layer, or an enlarged unit, the backward image, the recipe grid or the help.

VIEWS is the table of everything that it can show. The contents of `deepvis.interface.contents.CONTENTS` have the same
names here.
"""

from __future__ import annotations

from deepvis.interface.contents import CONTENTS, Content, Needs
from deepvis.interface.state import Control, Hover, Spot, State, Target
from deepvis.render.draw import Canvas
from deepvis.render.panes.activations import ACTIVATIONS, LAYER_GRADIENT
from deepvis.render.panes.backward import draw_backward
from deepvis.render.panes.big_view import BigView
from deepvis.render.panes.chips import Chip
from deepvis.render.panes.compared import held_key
from deepvis.render.panes.correlation import CORRELATION
from deepvis.render.panes.curves import CURVES, curves_chips
from deepvis.render.panes.difference import DIFFERENCE
from deepvis.render.panes.dream import DREAM, dream_chips
from deepvis.render.panes.facets import FACETS, facet_chips
from deepvis.render.panes.histograms import HISTOGRAMS
from deepvis.render.panes.nearest import NEAREST, nearest_chips
from deepvis.render.panes.overlays import NAME_PROMPT, UNIT_PROMPT, draw_help, draw_prompt
from deepvis.render.panes.palette_list import draw_palette, entry_at
from deepvis.render.panes.pane import Key, Pane
from deepvis.render.panes.picture import PICTURE
from deepvis.render.panes.pictures import SYNTHESIZED, TOP_IMAGES
from deepvis.render.panes.prior import PRIOR_VIEW
from deepvis.render.panes.recipe_grid import draw_recipe_grid, grid_chips, recipe_at
from deepvis.render.panes.remembered import REMEMBERED
from deepvis.render.panes.strongest import STRONGEST
from deepvis.render.panes.weights import WEIGHTS
from deepvis.render.scene import LoadingScene, Scene

VIEWS: dict[str, BigView] = {
    "help": BigView(draw_help),
    "recipe grid": BigView(draw_recipe_grid, key=lambda scene: (id(scene.own_recipe_grid),), at=recipe_at),
    "backward": BigView(draw_backward, ready=lambda scene: scene.backward is not None),
    "picture": PICTURE,
    "facets": FACETS,
    "curves": CURVES,
    "nearest": NEAREST,
    "layer gradient": LAYER_GRADIENT,
    "activations": ACTIVATIONS,
    "synthesized": SYNTHESIZED,
    "top images": TOP_IMAGES,
    "histograms": HISTOGRAMS,
    "correlation": CORRELATION,
    "correlation, sorted": CORRELATION,
    "strongest": STRONGEST,
    "difference": DIFFERENCE,
    "weights": WEIGHTS,
    "remembered": REMEMBERED,
    "dream": DREAM,
    "prior": PRIOR_VIEW,
}


def _view_name(state: State) -> str:
    """The name in VIEWS of what the layer pane shows."""
    if state.help:
        return "help"
    if state.recipe_grids:
        return "recipe grid"
    if state.zoom in ("backward", "picture", "facets", "curves", "nearest"):
        return state.zoom
    return "layer gradient" if state.layer_gradient and state.content == "activations" else state.content


def _layer_ready(scene: Scene) -> bool:
    return scene.busy or bool(scene.failed) or VIEWS[_view_name(scene.state)].ready(scene)


def _layer_key(scene: Scene) -> Key:
    s, view = scene.state, _view_name(scene.state)
    hover = scene.hover if isinstance(scene.hover, Hover) and scene.hover.layer == s.layer else None
    answer = (id(scene.result), _layer_ready(scene) and scene.busy, scene.waiting, id(scene.layers))
    chosen = (view, s.layer, s.unit, s.in_channels, s.zoom, s.gamma, s.boost, s.view, s.method, s.filter, s.origin)
    entry = s.hover if s.finding and isinstance(s.hover, Control) else None
    over = (hover, entry, scene.found, s.finding, s.picked, s.typing, s.naming, s.moments, s.recipe_grids)
    return (*answer, *chosen, *over, s.order, *held_key(scene), VIEWS[view].key(scene))


def _target(canvas: Canvas, scene: Scene, x: int, y: int) -> Target:
    if scene.state.finding:
        return entry_at(canvas, scene, x, y)
    body = layer_body(canvas)
    y -= canvas.px_caption
    is_grid = scene.state.zoom in ("layer", "facets", "curves", "nearest") or bool(scene.state.recipe_grids)
    return VIEWS[_view_name(scene.state)].at(body, scene, x, y) if y >= 0 and is_grid else None


def spot_in_layer(canvas: Canvas, scene: Scene, x: int, y: int) -> Spot | None:
    """Where a box begins or ends that is drawn to a point of the pane; None if no box can be drawn in it."""
    if scene.state.finding or scene.state.zoom != "layer":
        return None
    return VIEWS[_view_name(scene.state)].spot(layer_body(canvas), scene, x, y - canvas.px_caption)


def _loading_target(canvas: Canvas, scene: LoadingScene, x: int, y: int) -> Target:
    return entry_at(canvas, scene, x, y) if scene.state.finding else None


def layer_body(canvas: Canvas) -> Canvas:
    """The part of the pane below its title."""
    return canvas.part((0, canvas.px_caption, canvas.width, canvas.height - canvas.px_caption))


def draw_layer(canvas: Canvas, scene: Scene) -> None:
    """Draw what the layer pane has to show, and the prompt over it while the user types."""
    canvas.fill()
    VIEWS[_view_name(scene.state)].draw(canvas, scene)
    _draw_typing(canvas, scene)


def _draw_loading(canvas: Canvas, scene: LoadingScene) -> None:
    canvas.fill()
    if scene.state.help:
        draw_help(canvas, scene)
    else:
        canvas.caption("units of the layer").words(scene.waiting or "no network", size=15)
    _draw_typing(canvas, scene)


def _draw_typing(canvas: Canvas, scene: LoadingScene) -> None:
    state = scene.state
    if state.finding:
        draw_palette(canvas, scene)
    elif state.typing is not None:
        draw_prompt(canvas, state.typing, *(NAME_PROMPT if state.naming else UNIT_PROMPT))


def _has_tab(row: Content, state: State) -> bool:
    """The sorted correlation has its tab beside the unsorted one, the prior beside what the layer remembers, the
    difference while a picture is held: not all tabs fit at once."""
    now = state.shown
    alone = row.is_sorted and not now.is_matrix or row.needs is Needs.PRIOR and now.needs is not Needs.REMEMBERED
    return now == row or not (alone or row.name == "difference" and state.held is None)


def _chips(scene: LoadingScene) -> tuple[Chip, ...]:
    """The contents as tabs; what enlarges the unit or leads back. In the recipe grid its commands."""
    state = scene.state
    if state.help:
        return (Chip("‹ close help", "help", "close the help"),)
    if state.recipe_grids:
        return grid_chips(state)
    if state.zoom == "facets":
        return facet_chips(scene)
    if state.zoom == "curves":
        return curves_chips()
    if state.zoom == "nearest":
        return nearest_chips(scene)
    grid = state.zoom != "backward"
    tabs = tuple(
        Chip(row.tab or row.name, f"content={row.name}", f"layer pane: {row.name}", grid and row.name == state.content)
        for row in CONTENTS.values()
        if _has_tab(row, state)
    )
    values = Chip(
        "backward values", "layer_gradient", "backward values of the whole layer / off", state.layer_gradient, True
    )
    if grid and state.shown.needs is Needs.REMEMBERED:
        return (*tabs, *dream_chips(scene))
    if grid and state.shown.needs is Needs.PRIOR:  # it is of no single unit
        return tabs
    if grid and state.shown.needs is Needs.DREAM:  # it has many chips of its own
        return dream_chips(scene)
    if state.zoom == "layer":
        zoom = Chip("enlarge unit", "zoom=unit", "the selected unit as large as the pane", apart=True)
    else:
        zoom = Chip("‹ all units", "zoom=layer", "back to all units of the layer", apart=True)
    facets = Chip("facets", "facets", "the different things that the selected unit responds to", apart=True)
    near = Chip("near photos", "nearest", "the photos nearest to the selected unit's images", apart=True)
    of_content = {Needs.ACTIVATIONS: (values,), Needs.STORED_IMAGES: (near,)}.get(state.shown.needs, ())
    return (*tabs, *(of_content if grid else ()), facets, zoom)


LAYER = Pane(draw_layer, _draw_loading, _layer_key, _layer_ready, _target, _chips, True, _loading_target)
