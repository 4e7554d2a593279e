"""Dreams of the picture in view, step by step: of the picture, in an endless zoom, or live."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from deepvis.core.geometry import crop_box, fit, reduced, resize
from deepvis.core.layers import find_layer
from deepvis.workers.own_replica import OwnReplica, leave_cores
from deepvis.workers.picture_messages import DreamView, DreamWish
from deepvis.workers.worker import MUCH_MEMORY, Task, WishOf, Worker

if TYPE_CHECKING:
    from deepvis.networks.network import InputSpec, Network
    from deepvis.synthesis.dream import Dreamed, Dreamer

RATE_OVER = 2.0  # seconds over which the rate of frames is told
NOTHING = "no gradient reaches the picture, so that this layer has nothing to dream"


class DreamWorker(Worker["WishOf[Network, DreamWish]", DreamView]):
    """Dreams for as long as it is requested. A dream that was stopped goes on where it was.

    Its thread has the usual priority: with a lower one, a live network would leave it one frame a second, and the dream
    is what the user looks at.
    """

    def __init__(self) -> None:
        super().__init__()
        self._replica = OwnReplica()
        self._dream: tuple[object, ...] = ()  # the dream that the attributes below belong to
        self._rounds = 0
        self._views: Iterator[DreamView] = iter(())
        self._following: Callable[[np.ndarray], np.ndarray] | None = None  # of a live dream
        self._last: DreamView | None = None
        self._times: list[float] = []

    def serves(self, answered: WishOf[Network, DreamWish], wish: WishOf[Network, DreamWish]) -> bool:
        return answered.source is wish.source and answered.wish.dream == wish.wish.dream

    def failed(self, wish: WishOf[Network, DreamWish], why: str) -> DreamView:
        self._dream = ()
        return DreamView(wish.wish, note=why, done=True)

    def work(self, task: Task[WishOf[Network, DreamWish]]) -> Generator[DreamView | None, None, None]:
        wish = task.wish.wish
        self._turn_to(task.wish)
        if not wish.running:
            if self._last is not None:
                yield replace(self._last, wish=wish)
            return
        if self._following is not None:
            yield self._live(wish, self._following)
            return
        while True:
            with MUCH_MEMORY:
                view = next(self._views, None)
            if view is None:
                break
            self._last = view
            yield replace(view, wish=wish)
        if self._last is not None:
            yield replace(self._last, wish=wish, done=True)

    def _turn_to(self, wanted: WishOf[Network, DreamWish]) -> None:
        """Begin the dream that is asked for, or dream on from its result; the same dream goes on."""
        wish, network = wanted.wish, self._replica.of(wanted.source)
        leave_cores(network)
        dream = (network.fingerprint, *wish.dream)
        same, again, last = dream == self._dream, wish.rounds != self._rounds, self._last
        if same and not (again and last is not None and last.picture is not None):
            return
        goes_on = last is not None and self._dream[:1] == dream[:1] and wish.goes_on_from(last.wish)
        picture = last.picture if last is not None and (same or goes_on) else None
        self._dream, self._rounds, self._following = (), wish.rounds, None
        if picture is None:
            self._last = None
            picture = reduced(wish.frame.image, wish.side)
        dreamer = _dreamer(network, wish)
        if wish.mode == "live":
            from deepvis.synthesis.moving_dreams import LiveDream

            spec, live = network.input, LiveDream(dreamer)

            def following(image: np.ndarray) -> np.ndarray:
                return live.next(np.ascontiguousarray(fit(image, spec.width, spec.height, wish.crop)))

            self._following = following
            self._times = []
        else:
            self._views = _views(wish, dreamer, picture)
        self._dream = dream

    def _live(self, wish: DreamWish, following: Callable[[np.ndarray], np.ndarray]) -> DreamView:
        with MUCH_MEMORY:
            picture = following(wish.frame.image)
        now = time.monotonic()
        self._times = [*(t for t in self._times if now - t < RATE_OVER), now]
        rate = (len(self._times) - 1) / (now - self._times[0]) if len(self._times) > 2 else 0.0
        words = f"live, {rate:.{int(rate < 10)}f} frames a second" if rate else "live"
        self._last = DreamView(wish, picture, words, done=True)
        return self._last


def _dreamer(network: Network, wish: DreamWish) -> Dreamer:
    from deepvis.synthesis.dream import Dreamer, guided_by, of_layer, of_unit

    dreamer = Dreamer(network, wish.layer, of_layer if wish.unit is None else of_unit(wish.unit))
    if wish.guide is not None:
        guide = _as_dreamed(wish, wish.guide.image, network.input)
        dreamer.pull = guided_by(dreamer, guide, None if wish.box is None else wish.box.in_pixels(*guide.shape[:2]))
    return dreamer


def _as_dreamed(wish: DreamWish, image: np.ndarray, spec: InputSpec) -> np.ndarray:
    """A guiding picture at the scale at which the picture is dreamed."""
    if wish.mode != "live":
        return reduced(image, wish.side)
    if not wish.crop:
        return resize(image, spec.width, spec.height)
    _, _, width, height = crop_box(image.shape[0], image.shape[1], spec.aspect)
    wide, high = round(image.shape[1] * spec.width / width), round(image.shape[0] * spec.height / height)
    return resize(image, wide, high)


def _views(wish: DreamWish, dreamer: Dreamer, picture: np.ndarray) -> Iterator[DreamView]:
    from deepvis.synthesis.dream import DreamPlan, as_bytes, dream, of_unit
    from deepvis.synthesis.moving_dreams import Zoom, endless

    if wish.mode == "zoom":
        yield DreamView(wish, picture, "frame 0")
        units = _walk(wish, dreamer)
        pulls = [of_unit(unit) for unit in units]
        zoom = Zoom(wish.zoom, wish.turn, wish.drift)
        for i, now in enumerate(endless(dreamer, picture, zoom, pulls=pulls, each=max(1, wish.walk))):
            at = f" · unit {units[i // wish.walk % len(units)]}" if units else ""
            yield DreamView(wish, as_bytes(now.picture), f"frame {i + 1}{at}", _note(now))
        return
    for now in dream(dreamer, picture, DreamPlan()):
        words = f"octave {now.octave} of {now.octaves} · step {now.done} of {now.total}"
        yield DreamView(wish, as_bytes(now.picture), words, _note(now))


def _walk(wish: DreamWish, dreamer: Dreamer) -> list[int]:
    """The units that an endless zoom walks through, in order; empty if it stays with one thing."""
    if not wish.walk or wish.unit is None or wish.guide is not None:
        return []
    layers = dreamer.network.layers
    count = layers[find_layer(wish.layer, layers)].units
    return [(wish.unit + i) % count for i in range(count)]


def _note(now: Dreamed) -> str:
    return now.note if now.moved else NOTHING
