"""Methods of many passes wait for a still picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from deepvis.core.frames import Frame
from deepvis.core.layers import Layer
from deepvis.interface.requests import needs_still, request_for
from deepvis.interface.state import State

LAYERS = (Layer("map", "Conv2d", 3, 2, 2),)
LIVE = Frame(np.zeros((4, 4, 3), np.uint8), "camera", 0, True)


def test_on_a_live_picture_they_are_not_asked_for_until_it_is_frozen() -> None:
    state = State(method="integrated")
    assert needs_still(state, LIVE) and request_for(state, LIVE, LAYERS).method is None
    frozen = replace(state, frozen=True)
    assert not needs_still(frozen, LIVE) and request_for(frozen, LIVE, LAYERS).method == "integrated"
    assert not needs_still(state, replace(LIVE, live=False)) and not needs_still(replace(state, method="lrp"), LIVE)
