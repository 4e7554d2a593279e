"""What a layer remembers, and what it dreams, in threads of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import small as files
from smallnets import layer, small
from waiting import until

from deepvis.core import paths
from deepvis.core.frames import Frame
from deepvis.core.geometry import Box, RelativeBox
from deepvis.interface.requests import dream_wish, remembered_wish
from deepvis.interface.settings import DreamSettings
from deepvis.interface.state import State
from deepvis.networks.network import InputSpec, Network
from deepvis.store.decoders import decoder_path
from deepvis.synthesis import decoder as decoders
from deepvis.synthesis import dream as dreams
from deepvis.synthesis import moving_dreams
from deepvis.synthesis.inversion import Code
from deepvis.synthesis.presets import PRESETS
from deepvis.workers.dreams import NOTHING, DreamWorker
from deepvis.workers.picture_messages import DreamWish, RememberedWish
from deepvis.workers.remembered import RememberedWorker
from deepvis.workers.worker import WishOf


def frame(seed: int = 0, live: bool = False) -> Frame:
    image = np.random.default_rng(seed).integers(0, 256, (32, 48, 3), np.uint8)
    return Frame(image, f"{seed}.png", seed, live)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    files.write_images(tmp_path / "photos", 16)
    monkeypatch.setattr(paths, "PHOTOS", tmp_path / "photos")
    monkeypatch.setitem(PRESETS, "invert", replace(PRESETS["invert"], steps=4))
    paths.use(str(tmp_path / "data"))
    yield tmp_path / "data"
    paths.use(paths.USUAL)


@pytest.fixture
def network() -> Network:
    return small()


def test_a_picture_is_rebuilt_at_once_and_then_sharpened(photos: Path, network: Network) -> None:
    worker, wish = RememberedWorker(), RememberedWish("conv2", None, frame(), True)
    seen = []
    yielded = worker._hand_out
    worker._hand_out = lambda task, answer: seen.append(answer) or yielded(task, answer)  # type: ignore[method-assign]
    worker.want(WishOf(network, wish))
    until(lambda: worker.idle)
    answers = [one for one in seen if one is not None and one.picture is not None]
    assert any("learning what layer conv2 remembers, from" in one.note for one in seen if one is not None)
    assert [one.steps for one in answers][0] == 0 and answers[-1].steps == 4 and answers[-1].done
    assert worker.answer is answers[-1] and answers[0].held_out > 5
    path = decoder_path(photos / "precomputed", network.name, "conv2")
    assert path.is_file()
    code = Code(network, "conv2", answers[0].seen)
    closed = code.judged(code.decoded(decoders.stored_decoder(network, "conv2", photos / "precomputed")))
    assert answers[0].psnr == pytest.approx(closed.psnr, abs=0.05)
    assert answers[-1].error == pytest.approx(code.judged(answers[-1].picture).error)
    worker.close()


def test_a_live_picture_has_the_closed_form_alone(photos: Path, network: Network) -> None:
    worker = RememberedWorker()
    for seed in (0, 1):
        worker.want(WishOf(network, RememberedWish("conv3", 2, frame(seed, live=True), True, still=False)))
        until(lambda: worker.idle)
        assert worker.answer.wish.frame.index == seed and worker.answer.steps == 0 and worker.answer.done
    worker.want(WishOf(network, RememberedWish("conv3", 3, frame(1), True)))
    assert worker.answer is None  # of another unit
    worker.close()


def test_what_cannot_be_rebuilt_is_said(photos: Path, network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    worker = RememberedWorker()
    monkeypatch.setattr("deepvis.core.files.os.fsync", full)
    worker.want(WishOf(network, RememberedWish("conv2", None, frame(), True)))
    until(lambda: worker.idle)
    assert worker.answer.picture is not None and "No space left" in worker.answer.note
    monkeypatch.setattr(decoders, "can_have_decoder", lambda *_: False)
    worker.want(WishOf(network, RememberedWish("conv3", None, frame(), True)))
    until(lambda: worker.idle)
    assert worker.answer.steps == 4  # by ascent alone
    for weight in network.module.parameters():
        weight.data.zero_()
    worker.want(WishOf(network, RememberedWish("conv1", None, frame(), True)))
    until(lambda: worker.idle)
    assert "layer conv1 keeps nothing of this picture" in worker.answer.note
    five = small(InputSpec(32, 32, (0.5,) * 5, (0.2,) * 5))
    worker.want(WishOf(five, RememberedWish("conv1", None, frame(), True)))
    until(lambda: worker.idle)
    assert "5 channels" in worker.answer.note
    worker.close()


def test_learning_ends_when_another_layer_is_asked_for(
    photos: Path, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, learned = RememberedWorker(), []
    real = decoders.learn

    def learn(net: Network, layers: list[str], images: object, progress: object, pace: object) -> object:
        learned.append(layers[0])
        if layers == ["conv1"]:
            worker.want(WishOf(network, RememberedWish("conv2", None, frame(), True)))
            pace()  # raises
            raise AssertionError("not given up")
        return real(net, layers, images, progress, pace)

    monkeypatch.setattr(decoders, "learn", learn)
    worker.want(WishOf(network, RememberedWish("conv1", None, frame(), True)))
    until(lambda: worker.idle and learned == ["conv1", "conv2"])
    assert worker.answer.wish.layer == "conv2" and worker.answer.done
    worker.close()


def test_a_dream_stops_goes_on_and_dreams_on(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    worker, begun = DreamWorker(), []
    real = dreams.dream

    def dream(dreamer: dreams.Dreamer, picture: np.ndarray, plan: dreams.DreamPlan) -> Iterator[dreams.Dreamed]:
        begun.append(picture)
        for i, one in enumerate(real(dreamer, picture, dreams.DreamPlan(octaves=1, iterations=(6,), jitter=2))):
            if len(begun) == 1 and i == 2:
                worker.want(WishOf(network, replace(wish, running=False)))
            yield one

    monkeypatch.setattr(dreams, "dream", dream)
    wish = DreamWish("conv2", None, "picture", frame(), True, side=40)
    worker.want(WishOf(network, wish))
    until(lambda: worker.answer is not None and worker.idle)
    assert worker.answer.words == "octave 1 of 1 · step 3 of 6" and not worker.answer.done
    assert begun[0].shape == (27, 40, 3)
    worker.want(WishOf(network, wish))
    until(lambda: worker.idle)
    assert worker.answer.words == "octave 1 of 1 · step 6 of 6" and worker.answer.done and len(begun) == 1
    result = worker.answer.picture
    worker.want(WishOf(network, replace(wish, rounds=1)))
    until(lambda: worker.idle)
    assert len(begun) == 2 and np.array_equal(begun[1], result)
    worker.want(WishOf(network, replace(wish, unit=3, rounds=1)))
    until(lambda: worker.idle)
    assert len(begun) == 3 and begun[2].shape == (27, 40, 3) and np.array_equal(begun[2], begun[0])
    worker.close()


def test_endless_zoom_live_and_guided(network: Network) -> None:
    worker = DreamWorker()
    zoom = DreamWish("conv2", 1, "zoom", frame(), True, side=40, zoom=0.1)
    worker.want(WishOf(network, zoom))
    until(lambda: worker.answer is not None and worker.answer.words == "frame 3")
    guide = frame(9)
    for seed in (0, 1, 2):
        live = DreamWish("conv2", None, "live", frame(seed, live=True), True, guide=guide)
        worker.want(WishOf(network, live))
        until(lambda: worker.idle)
        assert worker.answer.picture.shape == (32, 32, 3) and worker.answer.wish.frame.index == seed
    assert worker.answer.words.endswith("frames a second")
    worker.close()


def test_an_endless_zoom_goes_on_with_another_unit_and_walks(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, pulled = [], []
    real = moving_dreams.endless

    def endless(
        dreamer: dreams.Dreamer, picture: np.ndarray, *args: object, **more: object
    ) -> Iterator[dreams.Dreamed]:
        begun.append(picture)
        pulled.append(len(more["pulls"]))
        return islice(real(dreamer, picture, *args, **more), 2)

    monkeypatch.setattr(moving_dreams, "endless", endless)
    worker, wish = DreamWorker(), DreamWish("conv2", 4, "zoom", frame(), True, side=40)
    last = None
    for one in (
        wish,
        replace(wish, unit=5),
        replace(wish, layer="conv3", unit=1, walk=1),
        replace(wish, frame=frame(2)),
    ):
        worker.want(WishOf(network, one))
        until(lambda: worker.idle)
        goes_on = last is not None and one.frame is wish.frame
        assert np.array_equal(begun[-1], last) is goes_on
        assert worker.answer.words == ("frame 2 · unit 2" if one.walk else "frame 2")
        last = worker.answer.picture
    assert pulled == [0, 0, layer(network, "conv3").units, 0]
    worker.close()


def test_a_drawn_box_guides_at_the_scale_of_the_dream(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = dreams.guided_by

    def guided_by(dreamer: dreams.Dreamer, guide: np.ndarray, box: Box | None) -> dreams.Pull:
        asked.append((guide.shape[:2], box))
        return real(dreamer, guide, box)

    monkeypatch.setattr(dreams, "guided_by", guided_by)
    worker, of, box = DreamWorker(), frame(), RelativeBox(0.5, 0.25, 0.75, 0.5)
    for mode, crop in (("picture", True), ("live", True), ("live", False)):
        worker.want(WishOf(network, DreamWish("conv2", None, mode, of, crop, of, side=24, box=box)))
        until(lambda: worker.idle)
        assert worker.answer.picture is not None
    # of 32×48 pixels; live the network sees its middle as 32×32, or all of it as that
    assert asked == [((16, 24), (12, 4, 6, 4)), ((32, 48), (24, 8, 12, 8)), ((32, 32), (16, 8, 8, 8))]
    worker.close()


def test_a_dream_without_a_gradient_is_said(network: Network) -> None:
    for weight in network.module.parameters():
        weight.data.zero_()
    worker = DreamWorker()
    worker.want(WishOf(network, DreamWish("conv2", None, "picture", frame(), True, side=40)))
    until(lambda: worker.idle)
    assert worker.answer.note.endswith(NOTHING) or worker.answer.note == NOTHING
    worker.close()


def test_requests_follow_the_state(network: Network) -> None:
    layers, of = network.layers, frame()
    assert remembered_wish(State(), layers, of) is None and dream_wish(State(), layers, of, DreamSettings()) is None
    state = State(layer=1, unit=2, content="remembered", part="unit")
    assert remembered_wish(state, layers, of) == RememberedWish(layers[1].name, 2, of, True, True)
    live = frame(1, live=True)
    assert (
        not remembered_wish(state, layers, live).still
        and remembered_wish(replace(state, frozen=True), layers, live).still
    )
    held = frame(3)
    state = State(layer=1, content="dream", held=held, guided=True, dream_mode="zoom", dreaming=False, dream_rounds=2)
    wish = dream_wish(state, layers, of, DreamSettings(zoom_side=300, zoom=0.1, drift_x=2.0))
    assert wish == DreamWish(
        layers[1].name, None, "zoom", of, True, held, 300, 0.1, 0.0, (2.0, 0.0), running=False, rounds=2
    )
    assert layer(network, layers[1].name).units


def test_a_moving_picture_is_dreamed_as_it_was_when_the_dream_began(network: Network) -> None:
    first, second, settings = frame(1, live=True), frame(2, live=True), DreamSettings()

    def wish(state: State, of: Frame, before: DreamWish | None) -> DreamWish | None:
        return dream_wish(state, network.layers, of, settings, before)

    state = State(layer=1, content="dream")
    begun = wish(state, first, None)
    assert wish(state, second, begun) == begun and wish(replace(state, dreaming=False), second, begun).frame is first
    assert wish(replace(state, layer=2), second, begun).frame is second
    stopped = wish(replace(state, frozen=True), second, begun)
    assert stopped.frame is second and wish(state, frame(3, live=True), stopped) == stopped
    zoom = replace(state, dream_mode="zoom")
    assert wish(replace(zoom, layer=2), second, wish(zoom, first, None)).frame is first
    live = replace(state, dream_mode="live")
    assert wish(live, second, wish(live, first, None)).frame is second
    assert wish(state, frame(4), begun).frame.index == 4  # another photo
