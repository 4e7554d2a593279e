"""Which backward method is true for the picture in view: measured in a thread, one method after the other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from smallnets import small
from torch import nn
from waiting import until

from deepvis.attribution import curves
from deepvis.attribution.methods import METHODS
from deepvis.core.frames import Frame
from deepvis.interface.requests import curves_wish
from deepvis.interface.state import State
from deepvis.networks.network import InputSpec, prepare
from deepvis.workers.method_curves import PASSES, CurvesWorker
from deepvis.workers.picture_messages import RANDOM_BLOCKS, CurvesWish, MethodCurves
from deepvis.workers.worker import WishOf


def frame(live: bool = False) -> Frame:
    return Frame(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8), "noise.png", 0, live)


def measured(network, methods: tuple[str, ...]) -> list[MethodCurves]:
    """Everything that the worker hands out."""
    worker, seen = CurvesWorker(), []
    plain = worker._hand_out
    worker._hand_out = lambda task, answer: seen.append(answer) or plain(task, answer)  # type: ignore[method-assign]
    worker.want(WishOf(network, CurvesWish(frame(), True, methods)))
    until(lambda: worker.idle)
    assert worker.close()
    return seen


def test_one_method_after_the_other_from_the_floor_on() -> None:
    network = small()
    seen = measured(network, ("guided", "integrated"))
    assert [[one.name for one in now.curves] for now in seen] == [
        [RANDOM_BLOCKS], [RANDOM_BLOCKS, "guided"], [RANDOM_BLOCKS, "guided", "integrated"],
        [RANDOM_BLOCKS, "guided", "integrated"],
    ]  # fmt: skip
    assert [now.done for now in seen] == [False, False, False, True]
    x = network.see(frame().image, True)
    with torch.no_grad():
        shares = network.module(x).softmax(1)[0]
    last = seen[-1]
    assert (last.layer, last.unit) == ("fc", int(shares.argmax()))
    assert last.probability == pytest.approx(float(shares.max()))
    for one in last.curves[1:]:
        values, _ = curves.explain(network, x, "fc", [last.unit], one.name, PASSES)
        want = curves.curves(network, x, curves.blurred(x), [last.unit], curves.block_means(values))
        assert one.deletion == pytest.approx(want.deletion[0]) and one.insertion == pytest.approx(want.insertion[0])
        assert one.areas == pytest.approx(want.areas[0])


def test_a_method_without_a_map_and_a_network_without_classes_say_why() -> None:
    flat = prepare("flat", nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 5)), InputSpec(8, 8), None)
    one = measured(flat, ("grad-cam",))[-1].curves[1]
    assert "no layer before" in one.note and not one.deletion and one.areas == (0, 0)
    maps = prepare("map", nn.Sequential(nn.Conv2d(3, 4, 3)), InputSpec(8, 8), None)
    (said,) = measured(maps, ("gradient",))
    assert "does not end in class scores" in said.note and said.done


def test_the_wish_is_of_a_still_picture_and_begins_with_the_usual_methods() -> None:
    layers = small().layers
    wish = curves_wish(State(zoom="curves", method="smoothgrad"), layers, frame())
    assert wish is not None and wish.methods[:5] == ("gradient", "deconv", "guided", "lrp", "grad-cam")
    assert sorted(wish.methods) == sorted(METHODS)
    assert curves_wish(State(zoom="curves", method="lrp"), layers, wish.frame) == wish
    assert curves_wish(State(zoom="curves"), layers, frame(live=True)) is None
    assert curves_wish(State(zoom="curves", frozen=True), layers, frame(live=True)) is not None
    for other in (State(), State(zoom="curves", help=True)):
        assert curves_wish(other, layers, frame()) is None
    assert curves_wish(State(zoom="curves"), layers, None) is None
