"""The status bar: what is shown, how fast, and the last message."""

from __future__ import annotations

from deepvis.attribution.methods import label
from deepvis.core.layers import unit_id
from deepvis.interface.commands import COMMANDS
from deepvis.interface.hints import Hint, shown, text_of
from deepvis.interface.state import (
    BOOSTS,
    COLORS,
    GAMMAS,
    ComparedPhoto,
    Control,
    FacetPhoto,
    LiveMoment,
    Target,
    TopImage,
)
from deepvis.render import text
from deepvis.render.colors import Theme
from deepvis.render.draw import Canvas
from deepvis.render.heat import heat_words
from deepvis.render.mosaic import look
from deepvis.render.palettes import Color
from deepvis.render.panes.chips import Chip, chip_at, draw_chips, placed
from deepvis.render.panes.facets import facet_words
from deepvis.render.panes.pane import Key, Pane, extent_text, number
from deepvis.render.panes.recipe_grid import tile_words
from deepvis.render.scene import LoadingScene, Scene


def _hover_text(scene: Scene) -> str:
    hover = scene.hover
    if isinstance(hover, TopImage):
        return _top_image_text(scene, hover)
    if isinstance(hover, Control):
        return _control_text(scene, hover)
    if isinstance(hover, FacetPhoto):
        return facet_words(scene, hover)
    if isinstance(hover, ComparedPhoto):
        return f"{hover.photo.name}   click: this photo is the input"
    if isinstance(hover, LiveMoment):
        return _moment_text(scene)
    if hover is None:
        return ""
    if hover.tile is not None:
        return tile_words(scene, hover.tile)
    layer = scene.layers[hover.layer]
    if hover.unit is None:
        return f"{layer.name}: {layer.kind}, {extent_text(layer)}"
    words = " ".join(filter(None, (unit_id(layer.name, hover.unit), layer.label(hover.unit))))
    if hover.other is not None:
        other = " ".join(filter(None, (unit_id(layer.name, hover.other), layer.label(hover.other))))
        statistics = scene.own_statistics
        correlation = None if statistics is None else statistics.correlation
        if correlation is None or len(correlation) != layer.units:
            return f"{words}   and   {other}"
        r = f"{correlation[hover.unit, hover.other]:.2f}".replace("-", "−")
        return f"{words}   and   {other}   r = {r}"
    activations = scene.activations
    if activations is not None and hover.layer == scene.state.layer and hover.unit < len(activations):
        values = activations[hover.unit]
        words += f"   {'max ' if layer.is_map else ''}{number(float(values.max()))}"
        words += f"   mean {number(float(values.mean()))}" if layer.is_map else ""
    return words


def _control_text(scene: Scene, control: Control) -> str:
    """What a click on a tab or chip does, and the key that does it too."""
    keys = scene.keys.get(control.call.partition("=")[0], "")
    return f"{control.words}   key {keys}" if keys else control.words


def _moment_text(scene: Scene) -> str:
    curve = scene.own_curve
    if curve is None:
        return ""
    when = f"{abs(curve.peak_seconds):.1f} s before the newest picture"
    return f"strongest moment: {number(curve.peak)}, {when}   a click shows it to the network"


def _top_image_text(scene: Scene, hover: TopImage) -> str:
    tops = scene.own_tops
    if tops is None:
        return ""
    patch = tops.patches[hover.number]
    if not tops.root and not patch.name:
        return "a picture from the original toolbox; its photo is not known"
    what = "moment" if tops.seen else "whole photo"
    invitation = f"   a click shows the {what} to the network" if hover.photo and not patch.error else ""
    return f"{patch.error or patch.name}   {number(patch.value)}{invitation}"


def _status_key(scene: Scene) -> Key:
    s = scene.state
    control = s.hover if isinstance(s.hover, Control) else None
    selection = (s.layer, s.unit, s.method, s.filter, s.origin, s.gamma, s.boost, s.layer_gradient, s.collecting)
    words = (heat_words(scene), _colors_text(scene), _field_text(scene), _bad_text(scene), _hover_text(scene))
    said = (scene.status, s.message, s.message_is_error, scene.busy, id(scene.layers), s.debug)
    return (selection, words, *said, s.hints, control)


def _field_text(scene: Scene) -> str:
    field = scene.receptive_field
    if not field:
        return ""
    down, right = (f"{round(stride, 1):g}" for stride in field.stride)
    stride = f", stride {right if right == down else f'{right}×{down}'}"
    return f"receptive field {field.text}{stride if any(field.stride) else ''}"


def _bad_text(scene: Scene) -> str:
    """A text that counts the layer's values that are NaN or infinite; empty if there are none."""
    result, activations = scene.own_result, scene.activations
    if result is None or activations is None or not result.bad:
        return ""
    return f"{result.bad} of {activations.size} values are NaN or infinite"


def _colors_text(scene: Scene) -> str:
    """The chosen colours, and where they do not count."""
    if scene.state.colors == COLORS[0]:
        return ""
    words = f"colours {scene.state.colors}"
    result = scene.own_result
    is_signed = result is not None and look(result).signed
    return f"{words}, but {COLORS[0]} here: this layer has values below 0" if is_signed else words


def _facts(scene: Scene) -> list[str]:
    s, layer = scene.state, scene.layer
    words = [layer.label(s.unit), heat_words(scene), layer.shape_text, _field_text(scene)]
    if s.method:
        words.append(f"{label(s.method)}, {s.filter}" + (f", origin {scene.origin_unit} frozen" if s.origin else ""))
    if s.layer_gradient:
        words.append("backward values")
    if s.gamma:
        words.append(f"gamma {GAMMAS[s.gamma]:g}")
    if s.boost:
        words.append(f"boost {BOOSTS[s.boost]:g}")
    words.append(_colors_text(scene))
    return [w for w in words if w]


def draw_status(canvas: Canvas, scene: LoadingScene) -> None:
    """Draw the status bar in two lines: what is shown and how fast, then the last message; in one if it is very low."""
    canvas.fill(canvas.theme.panel)
    status, margin = scene.status, canvas.px(8)
    size, low = _text_size(canvas), _is_low(canvas)
    if low:
        size = min(canvas.px(13), max(1, int(canvas.height / 1.4)))
    line = text.line_height(size)
    gap = max(0, canvas.height - (1 if low else 2) * line) // (2 if low else 3)
    words, color = _second_line(scene, canvas.theme)
    rates = [
        _rate("network", status.network_rate),
        _rate("screen", status.screen_rate) if status.network_rate else "",
        status.model, status.device,
    ]  # fmt: skip
    right = "" if low and words else text.shorten(" · ".join(r for r in rates if r), canvas.width // 2, size)
    end = canvas.width - margin - text.width(right, size)
    y = gap
    text.put(canvas.image, right, end, y, size, canvas.theme.dim)
    x = margin
    marks = (
        ("● REC", status.recording, canvas.theme.bad),
        (_moments_text(scene), status.moments is not None, canvas.theme.good),
        ("busy …", scene.busy, canvas.theme.accent),
    )
    for mark, on, ink in marks:
        if on:
            x = text.put(canvas.image, mark, x, y, size, ink, 600) + canvas.px(14)
    if isinstance(scene, Scene):
        unit = text.shorten(scene.unit, max(0, end - x - margin), size, 600)
        x = text.put(canvas.image, unit, x, y, size, canvas.theme.accent, 600) + canvas.px(14)
    if low and words:
        x = text.put(canvas.image, text.shorten(words, max(0, end - x), size), x, y, size, color) + canvas.px(14)
    if isinstance(scene, Scene):
        if bad := _bad_text(scene):
            bad = text.shorten(bad, max(0, end - x - margin), size)
            x = text.put(canvas.image, bad, x, y, size, canvas.theme.bad) + canvas.px(14)
        facts = text.shorten("  ·  ".join(_facts(scene)), max(0, end - x - margin), size)
        text.put(canvas.image, facts, x, y, size, canvas.theme.text)
    if not low:
        below = _below(canvas)
        chips = _chips_beside(below, scene)
        draw_chips(below, chips, scene.state.hover, at_right=True)
        room = min((box[0] for _, box in placed(below, chips, at_right=True)), default=below.width) - margin
        text.put(canvas.image, text.shorten(words, max(0, room), size), margin, 2 * gap + line, size, color)


def _text_size(canvas: Canvas) -> int:
    """The size of the text in two lines."""
    return min(canvas.px(13), int((canvas.height - canvas.px(2)) / 2.7))


def _below(canvas: Canvas) -> Canvas:
    """The part of the second line that text and chips share."""
    line, top = text.line_height(_text_size(canvas)), _top_of_below(canvas)
    return canvas.part(
        (canvas.px(8), top, canvas.width - 2 * canvas.px(8), min(line + canvas.px(2), canvas.height - top))
    )


def _top_of_below(canvas: Canvas) -> int:
    line = text.line_height(_text_size(canvas))
    return 2 * (max(0, canvas.height - 2 * line) // 3) + line


def _chips_beside(below: Canvas, scene: LoadingScene) -> tuple[Chip, ...]:
    """The hint line at the right; a long message leaves only its last parts."""
    words, hints = _second_line(scene, below.theme)[0], shown(scene.state)
    chips = tuple(Chip(text_of(hint, scene.keys), hint.commands[-1], _hint_words(hint)) for hint in hints)
    taken = sum(box[2] for _, box in placed(below, chips))
    if text.width(words, _text_size(below)) + taken > below.width - below.px(20):
        return tuple(chip for chip, hint in zip(chips, hints) if hint.stays)
    return chips


def _hint_words(hint: Hint) -> str:
    return COMMANDS[hint.commands[-1]].help


def _target(canvas: Canvas, scene: LoadingScene, x: int, y: int) -> Target:
    if _is_low(canvas):
        return None
    below = _below(canvas)
    left, top = canvas.px(8), _top_of_below(canvas)
    return chip_at(below, _chips_beside(below, scene), x - left, y - top, at_right=True)


def _is_low(canvas: Canvas) -> bool:
    """Whether there is room for one line only."""
    return _text_size(canvas) < canvas.px(9)


def _moments_text(scene: LoadingScene) -> str:
    count = scene.status.moments or 0
    words = f"{count:,} moment{'' if count == 1 else 's'}"
    return f"collecting: {words}" if scene.state.collecting else words


def _rate(name: str, rate: float | None) -> str:
    return "" if rate is None else f"{name} {rate:.0f}/s" if rate else f"{name} idle"


def _second_line(scene: LoadingScene, theme: Theme) -> tuple[str, Color]:
    """The text and colour of the second line: a message, else what the mouse points at, else timings."""
    s, status = scene.state, scene.status
    if s.message:
        return s.message, theme.bad if s.message_is_error else theme.text
    if status.message:
        return status.message, theme.bad if status.is_error else theme.text
    if isinstance(scene, Scene) and (hover := _hover_text(scene)):
        return hover, theme.text
    return (status.timings, theme.dim) if s.debug else ("", theme.text)


STATUS = Pane(draw_status, draw_status, _status_key, target=_target, loading_target=_target)
