"""How the training of the selected layer's prior goes: photos set aside, what is made of their codes, and a curve."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from deepvis.core.geometry import Box
from deepvis.render import text
from deepvis.render.draw import Canvas
from deepvis.render.panes.big_view import BigView
from deepvis.render.panes.pane import number
from deepvis.render.scene import Scene
from deepvis.store.training_records import PHASES, PREPARING, STOPPED, HeldOutLook, TrainingRecord
from deepvis.store.watched_priors import WatchedPrior

_SIZE, _MARGIN = 12, 8  # of words; around everything; unscaled pixels
_LEAST_TILE, _LEAST_PLOT, _MOST_PLOT = 24, 70, 300  # sides of pictures; heights of the curve; unscaled pixels
_PLOT = 0.3  # of the height


def _draw_prior(canvas: Canvas, scene: Scene) -> None:
    found, title = scene.own_prior, f"{scene.layer.name}   a learned prior, and how its training goes"
    if found is None:
        canvas.caption(title).words("looking for a training …", size=15)
        return
    record = found.record
    if record is None and not found.pictures.shape[1]:
        canvas.caption(title).words(_nothing_words(found, scene), size=14)
        return
    body = canvas.caption(title, "training now" if found.is_running else "")
    margin, line = body.px(_MARGIN), text.line_height(body.px(_SIZE))
    inner = body.part((margin, margin // 2, body.width - 2 * margin, body.height - margin))
    top = _draw_words(inner, _state_words(found, scene))
    rest = inner.part((0, top, inner.width, inner.height - top))
    looks = record.looks if record is not None else ()
    plot = round(rest.height * _PLOT) if looks else 0
    if plot < body.px(_LEAST_PLOT):
        plot = 0
    used = _draw_rows(rest.part((0, 0, rest.width, rest.height - plot)), found, line)
    if plot:
        plot = min(rest.height - used, body.px(_MOST_PLOT))
        _draw_curve(rest.part((0, rest.height - plot, rest.width, plot)), looks)


# ---- words --------------------------------------------------------------------------------------


def _nothing_words(found: WatchedPrior, scene: Scene) -> str:
    """What a pane without a training says: what there is, and how to begin."""
    parts = [found.note] if found.note else [f"no training of a prior of layer {found.layer} was begun here"]
    if found.about:
        parts.append(_about_words(found))
    if not found.note:
        parts.append(f"{_begin(found, scene)}\nbegins one, and this pane watches it")
    return "\n\n".join([*parts, *_others(found)])


def _others(found: WatchedPrior) -> list[str]:
    return [f"other layers with a prior: {', '.join(found.others)}"] if found.others else []


def _begin(found: WatchedPrior, scene: Scene) -> str:
    return f"deepvis train-prior{scene.status.options} --layer {found.layer} --images DIR"


def _about_words(found: WatchedPrior) -> str:
    """How good the prior is that recipes use."""
    about, whose = found.about, "the prior that comes with the program" if found.is_bundled else "the prior here"
    photos, steps, base = about.get("photos"), about.get("steps"), about.get("closed_form")
    words = f"{whose}: {photos:,} photos, {steps:,} steps" if _are_counts(photos, steps) else whose
    numbers = about.get("psnr"), base.get("psnr") if isinstance(base, dict) else None
    if all(isinstance(one, float) for one in numbers):
        words += f"; {numbers[0]:.1f} dB at photos set aside, where the closed form has {numbers[1]:.1f}"
    return words


def _are_counts(*values: object) -> bool:
    return all(type(value) is int for value in values)


def _state_words(found: WatchedPrior, scene: Scene) -> list[str]:
    """How it goes, in a few lines."""
    record, notes = found.record, [found.note] if found.note else []
    if found.is_foreign:
        notes.append("of other weights of this network: recipes do not use it")
    if record is None:
        return [_about_words(found), f"{_begin(found, scene)} goes on", *notes]
    if record.status == PREPARING and found.is_running:
        return ["preparing: the closed form is learned from the photos …", *notes]
    done = [f"step {record.step:,}", f"{record.minutes:.1f} minutes", f"phase: {PHASES[record.phase]}"]
    if found.is_running and record.spent:
        done.append(f"{min(1, record.spent):.0%} of its limit")
    done.append(f"{record.photos:,} photos of {record.size} pixels")
    return [" · ".join(done), *_end_words(found, record), *notes]


def _end_words(found: WatchedPrior, record: TrainingRecord) -> list[str]:
    """Whether it runs, and if not, how it goes on."""
    if found.is_running:
        return []
    again = f": {record.command}" if record.command else ", begun from Python, goes on with the same call"
    if record.is_open:
        return [f"it broke off; what was done until the last minute goes on with{again}"]
    if record.status == STOPPED:
        return [f"stopped{f' ({record.why})' if record.why != 'it was stopped' else ''}; goes on with{again}"]
    more = "with a larger --minutes or --steps it goes on" if record.spent >= 1 else "it goes on with"
    return [f"ended: {record.why}; {more}{again}"]


def _draw_words(canvas: Canvas, lines: Sequence[str]) -> int:
    """Draw lines, the first brighter; returns where they end. They take at most a third of the canvas."""
    size, y = canvas.px(_SIZE), 0
    step = text.line_height(size)
    for number_, words in enumerate(lines):
        for line in text.wrap(words, max(1, canvas.width), size):
            if y + step > max(step, canvas.height // 3):
                return y
            text.put(canvas.image, line, 0, y, size, canvas.theme.dim if number_ else canvas.theme.text)
            y += step
    return y + canvas.px(4)


# ---- pictures -----------------------------------------------------------------------------------


def _row_words(found: WatchedPrior) -> list[str]:
    """What stands above the rows of pictures."""
    record, words = found.record, ["photos set aside", "closed form of their codes", "generator"]
    if record is not None and record.closed_form is not None:
        words[1] += f": {_numbers(record.closed_form)}"
        words[2] += f": {_numbers(record.looks[-1])}" if record.looks else ": begins as the closed form"
    return words


def _numbers(look: HeldOutLook) -> str:
    return f"{look.psnr:.2f} dB, feature error {number(look.features)}"


def _draw_rows(canvas: Canvas, found: WatchedPrior, line: int) -> int:
    """The rows of pictures, each below its words: as many columns as fit. Returns where they end."""
    words, pictures, gap = _row_words(found), found.pictures, canvas.px(2)
    rows, count, side = map(int, pictures.shape[:3])
    tile = min(canvas.height // rows - line - gap, max(2 * side, canvas.width // max(1, count) - gap))
    if not count:
        canvas.words("the first pictures come as soon as the closed form is learned", size=_SIZE)
        return canvas.height
    if tile < canvas.px(_LEAST_TILE):  # words are worth more than pictures of no size
        return _draw_words(canvas, words)
    shown = min(count, max(1, (canvas.width + gap) // (tile + gap)))
    if found.record is not None:
        words[0] += f" ({shown} of {found.record.held_out})"
    size = canvas.px(_SIZE)
    for row in range(rows):
        top = row * (line + tile + gap)
        text.put(canvas.image, text.shorten(words[row], canvas.width, size), 0, top, size, canvas.theme.soft)
        for column in range(shown):
            canvas.part((column * (tile + gap), top + line, tile, tile)).cover(pictures[row, column])
    return rows * (line + tile + gap)


# ---- the curve ----------------------------------------------------------------------------------


def _draw_curve(canvas: Canvas, looks: Sequence[HeldOutLook]) -> None:
    """The error at photos set aside over time; the closed form's is 1."""
    size, line = canvas.px(_SIZE), text.line_height(canvas.px(_SIZE))
    title = "error at photos set aside   pixels and features, the closed form's is 1"
    text.put(canvas.image, text.fitting_parts(title, canvas.width, size), 0, 0, size, canvas.theme.soft)
    points = [(0.0, 1.0), *((one.minutes, one.error) for one in looks)]
    low, high = min(error for _, error in points), max(error for _, error in points)
    margin = max(0.02, 0.08 * (high - low))
    low, high, last = max(0.0, low - margin), high + margin, max(1e-6, points[-1][0])
    left = max(text.width(f"{value:.2f}", size) for value in (low, high, 1.0)) + canvas.px(6)
    box = left, line + canvas.px(2), canvas.width - left, canvas.height - 2 * line - canvas.px(4)
    if box[2] < canvas.px(40) or box[3] < line:
        return
    canvas.bar(box, canvas.theme.panel)

    def place(minutes: float, error: float) -> tuple[int, int]:
        across, down = minutes / last, (high - error) / (high - low)
        return box[0] + round(across * (box[2] - 1)), box[1] + round(down * (box[3] - 1))

    _draw_levels(canvas, box, [place(0, value)[1] for value in (1.0, points[-1][1])], points[-1][1])
    begins = next((one.minutes for one, other in zip(looks, looks[1:]) if other.phase > one.phase), None)
    if begins is not None:
        x = place(begins, 1)[0]
        canvas.bar((x, box[1], 1, box[3]), canvas.theme.dim)
        room = box[0] + box[2] - x - canvas.px(4)
        words = text.shorten("adversarial, too", room, size)
        text.put(canvas.image, words, x + canvas.px(4), box[1], size, canvas.theme.dim)
    cv2.polylines(
        canvas.image, [np.array([place(*one) for one in points], np.int32)], False, canvas.theme.accent,
        canvas.px(2), cv2.LINE_AA,
    )  # fmt: skip
    end = f"{last:.1f} minutes"
    under = box[1] + box[3]
    text.put(canvas.image, "0", box[0], under, size, canvas.theme.dim)
    text.put(canvas.image, end, canvas.width - text.width(end, size), under, size, canvas.theme.dim)


def _draw_levels(canvas: Canvas, box: Box, heights: Sequence[int], newest: float) -> None:
    """A line at 1, and the newest error, if there is room for both."""
    size = canvas.px(_SIZE)
    half, (one, now) = text.line_height(size) // 2, heights
    canvas.bar((box[0], one, box[2], 1), canvas.theme.line)
    text.put(canvas.image, "1", 0, one - half, size, canvas.theme.dim)
    if abs(one - now) > 2 * half:
        text.put(canvas.image, f"{newest:.2f}", 0, now - half, size, canvas.theme.text)


PRIOR_VIEW = BigView(_draw_prior, key=lambda scene: (id(scene.own_prior), scene.status.options))
