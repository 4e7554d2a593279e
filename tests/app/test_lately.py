"""What the selected unit did lately."""

from __future__ import annotations

import numpy as np
import pytest

from deepvis.app.lately import Lately
from deepvis.attribution.requests import Request, Result
from deepvis.core.frames import Frame, Photo
from deepvis.interface.state import State
from deepvis.render.panes.unit import SECONDS


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def result(value: float, number: int, layer: str = "map", live: bool = True, **more) -> Result:
    image = np.full((4, 4, 3), number % 250, np.uint8)
    values = np.full((3, 2, 2), -50, np.float32)
    values[1, 0, 1] = value
    return Result(Request(Frame(image, "camera 0", number, live), True, layer, **more), values)


def test_the_curve_has_the_values_of_the_last_seconds_and_the_picture_of_the_largest() -> None:
    rng, clock = np.random.default_rng(0), Clock()
    lately, state, seen = Lately(clock), State(unit=1), []
    for number in range(400):
        clock.now += float(rng.random()) * 0.2
        value = float(np.float32(rng.normal() - number / 50))  # falls, so that the strongest goes out of sight
        seen.append((clock.now, value, number))
        lately.take(result(value, number), "map", state)
        kept = [one for one in seen if one[0] >= int(clock.now) - SECONDS + 1]
        curve = lately.curve
        assert curve.values.tolist() == pytest.approx([value for _, value, _ in kept])
        best = max(kept, key=lambda one: one[1])
        assert curve.peak == pytest.approx(best[1])
        assert curve.peak_seconds == pytest.approx(best[0] - clock.now)
        assert curve.photo.pixels[0, 0, 0] == best[2] % 250
        assert len(lately._strongest) <= SECONDS
        assert -SECONDS <= curve.seconds[0] <= curve.seconds[-1] == 0


def test_moments_of_one_camera_are_told_apart() -> None:
    lately, state = Lately(Clock()), State(unit=1)
    lately.take(result(1, 5), "map", state)
    first = lately.curve.photo
    lately.take(result(2, 6), "map", state)
    assert lately.curve.photo != first


def test_another_unit_layer_or_a_still_picture_begins_anew() -> None:
    lately = Lately(Clock())

    def fill() -> None:
        for number in range(3):
            lately.take(result(1, number), "map", State(unit=1))
        assert len(lately.curve.values) == 3

    fill()
    lately.take(result(1, 9), "map", State(unit=2))
    assert len(lately.curve.values) == 1 and lately.curve.unit == 2
    fill()
    lately.take(result(1, 9, layer="other"), "other", State(unit=1))
    assert len(lately.curve.values) == 1 and lately.curve.layer == "other"
    fill()
    lately.take(result(1, 9, live=False), "map", State(unit=1))
    assert lately.curve is None


def test_what_is_not_of_the_live_picture_and_the_selected_unit_is_left_out() -> None:
    lately, state = Lately(Clock()), State(unit=1)
    for number in range(2):
        lately.take(result(1, number), "map", state)
    known = lately.curve
    lately.take(result(9, 1), "map", state)  # the same frame again, with its receptive field
    lately.take(result(9, 7, layer="other"), "map", state)  # the layer before
    lately.take(result(9, 8, held=True), "map", state)
    lately.take(result(9, 9, live=False), "map", State(unit=1, photo=Photo("", "moment")))
    lately.take(result(float("nan"), 10), "map", state)
    lately.take(Result(result(9, 11).request, error="failed"), "map", state)
    assert lately.curve is known
