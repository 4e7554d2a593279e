"""An image of each unit in the layer pane: its preferred image or its top image."""

from __future__ import annotations

from deepvis.core.geometry import resize_for_screen
from deepvis.interface.state import Hover
from deepvis.render.draw import Canvas
from deepvis.render.panes.big_view import BigView
from deepvis.render.panes.cells import draw_pictures, page_text, say_why, unit_at
from deepvis.render.panes.pane import Key, why_no_index
from deepvis.render.panes.unit_images import draw_images
from deepvis.render.scene import Scene


def _draw_synthesized(canvas: Canvas, scene: Scene) -> None:
    """Draw each unit's preferred image in its cell; when zoomed, only the selected unit's images, enlarged."""
    layer, pictures = scene.layer, scene.pictures
    title = f"{layer.name}   synthesized   {page_text(canvas, scene)}"
    if pictures is None or pictures.layer != scene.pictures_of:
        canvas.caption(title).words("looking …", size=15)
        return
    if scene.state.zoom == "unit" and scene.own_pictures and scene.own_pictures.synthesized:
        draw_images(canvas.caption(f"{scene.unit}   synthesized"), scene.own_pictures.synthesized)
        return
    if not pictures.known:
        why = pictures.note or f"No images are stored for layer {layer.name} yet."
        canvas.caption(title).words(
            f"Here each cell shows its unit's preferred image. {why} deepvis synthesize{scene.status.options} "
            f"--layer {scene.pictures_of} makes them; x makes the selected unit's now. "
            f"Press s for the next view.",
            size=15,
        )
        return
    draw_pictures(canvas.caption(title, f"{len(pictures.cells)} stored"), scene, pictures)


def _draw_tops(canvas: Canvas, scene: Scene) -> None:
    """Draw each unit's top image in its cell; when zoomed, the selected unit's top images."""
    cells = scene.own_cells
    what = "strongest moment" if scene.state.moments else "top image"
    title = f"{scene.layer.name}   {what} of each unit   {page_text(canvas, scene)}"
    if cells is None or cells.note:
        note = "looking …" if cells is None else cells.note
        why = note if scene.state.moments else why_no_index(scene, note)
        say_why(canvas.caption(title), "Here each cell shows the picture that excites its unit most.", why)
        return
    patches = scene.own_tops.patches if scene.own_tops else ()
    read = [patch.pixels for patch in patches if patch.pixels is not None]
    if scene.state.zoom == "unit" and read:
        width, height = next(patch.box[2:] for patch in patches if patch.pixels is not None)
        factor = max(canvas.width, canvas.height) / 3 / max(width, height)
        size = max(1, round(width * factor)), max(1, round(height * factor))
        draw_images(canvas.caption(f"{scene.unit}   {what}s"), [resize_for_screen(pixels, *size) for pixels in read])
        return
    body = canvas.caption(title, f"{len(cells.dead):,} dead" if cells.dead else "")
    draw_pictures(body, scene, cells)


def _synthesized_at(body: Canvas, scene: Scene, x: int, y: int) -> Hover | None:
    pictures = scene.pictures
    known = pictures is not None and pictures.layer == scene.pictures_of and pictures.known
    return unit_at(body, scene, x, y) if known else None


def _top_image_at(body: Canvas, scene: Scene, x: int, y: int) -> Hover | None:
    cells = scene.own_cells
    return unit_at(body, scene, x, y) if cells is not None and not cells.note else None


def _tops_key(scene: Scene) -> Key:
    cells = scene.own_cells
    words = scene.scan_words if cells is None or cells.note else ""
    return (id(cells), id(scene.own_tops) if scene.state.zoom == "unit" else 0, words)


def _tops_ready(scene: Scene) -> bool:
    """False while the cells of a scan that still runs are being renewed: until then those before stay."""
    return scene.own_cells is not None or not scene.is_scanning


SYNTHESIZED = BigView(
    _draw_synthesized,
    ready=lambda scene: scene.pictures is not None,  # else the store is opened anew: a unit's images have been kept
    key=lambda scene: (id(scene.pictures),),
    at=_synthesized_at,
)
TOP_IMAGES = BigView(_draw_tops, _tops_ready, _tops_key, _top_image_at)
