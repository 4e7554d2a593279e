"""Images that grow before the user's eyes: gradient ascent in a thread of its own, for as long as it is wished."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from deepvis.core.errors import UserError
from deepvis.core.layers import find_layer
from deepvis.core.runtime import be_patient
from deepvis.workers.messages import Grown, GrowthWish
from deepvis.workers.worker import MUCH_MEMORY, Task, WishOf, Worker

if TYPE_CHECKING:
    from deepvis.networks.network import Network
    from deepvis.store.unit_images import Store

PUBLISH = 0.1  # seconds between two showings: making the images takes the time of a fraction of a step
DEAD = "no gradient reaches the image: the unit is dead, or it is not finite"


class GrowthWorker(Worker["WishOf[Network, GrowthWish]", Grown]):
    """Synthesizes what was wished last, and stops at the next step when the wish changes.

    torch is imported in the thread. On Linux it runs at a lower priority than the live view.
    """

    def __init__(self) -> None:
        super().__init__()
        self._original: Network | None = None
        self._replica: Network | None = None  # of the original, the thread's own
        self._cores = 0  # that the thread uses on a CPU; 0: not set yet

    def want(self, wish: WishOf[Network, GrowthWish] | None) -> None:
        """Say what is to grow (None: nothing); never blocks."""
        with self._changed:
            answer = self.answer
            if wish is None and answer is not None and answer.error:
                self.renew()  # wished again, it is tried again
            super().want(wish)

    def failed(self, wish: WishOf[Network, GrowthWish], why: str) -> Grown:
        return Grown(wish.wish, error=why)

    def _run(self) -> None:
        be_patient()
        super()._run()

    def work(self, task: Task[WishOf[Network, GrowthWish]]) -> Generator[Grown | None, None, None]:
        from deepvis.synthesis.ascent import Ascent
        from deepvis.synthesis.recipe import named
        from deepvis.synthesis.targets import canvas, cut, draft, objective

        network, wish = self._copy_of(task.wish.source), task.wish.wish
        yield Grown(wish)
        layer = network.layers[find_layer(wish.layer, network.layers)]
        with MUCH_MEMORY:
            field = network.receptive_field(layer.name)
        place = canvas(network, layer, field)
        if wish.recipes and network.device.type == "cpu":
            place = draft(network, layer, place)
        units = [wish.unit] * len(wish.seeds)
        recipes = wish.recipes or [named(wish.preset)] * len(units)
        ascent = Ascent(network, objective(layer, units, place), recipes, wish.seeds, place.size)
        shown, done = 0.0, False
        while not done:
            with MUCH_MEMORY:
                ascent.step()
            done = bool(wish.recipes) and ascent.count >= recipes[0].steps
            if not done and time.monotonic() - shown <= PUBLISH:
                yield None
                continue
            if ascent.count >= recipes[0].redirect and bool(ascent.dead.all()):
                yield Grown(wish, error=DEAD)
                return
            images = tuple(cut(ascent.images(), place))
            with MUCH_MEMORY:  # a pass each time is too dear
                scores = ascent.final_scores() if recipes[0].keep == "best" else ascent.scores
            yield Grown(wish, images, tuple(scores.tolist()), ascent.count, recipe=recipes[0], done=done)
            shown = time.monotonic()

    def _copy_of(self, network: Network) -> Network:
        """A replica of the network for this thread alone."""
        import torch

        if self._replica is None or network is not self._original:
            if not self._cores and network.device.type == "cpu":  # of this thread alone; the rest is the live view's
                self._cores = max(1, torch.get_num_threads() // 2)
                torch.set_num_threads(self._cores)
            self._original = self._replica = None  # before another one takes memory
            self._original, self._replica = network, network.replica()
        return self._replica


def keep_grown(grown: Grown, store: Store, network: Network) -> str:
    """Put images of the network's unit into the user's own store (see `own_images.keep`), and say what was done.

    They are ordered by what the network saw last of each, which was a random view where the recipe has such.
    """
    from deepvis.store.own_images import keep
    from deepvis.synthesis.jobs import Plan, record

    if grown.recipe is None:
        raise UserError("nothing to keep yet")
    order = np.argsort([-score for score in grown.scores], kind="stable")
    plan = Plan(replace(grown.recipe, steps=grown.steps), grown.wish.preset, len(order))
    made = {
        **record(plan, network, grown.wish.layer),
        "scores": [round(float(grown.scores[i]), 4) for i in order],
        "seeds": [grown.wish.seeds[i] for i in order],
    }
    return keep(store, grown.wish.layer, grown.wish.unit, np.stack([grown.images[i] for i in order]), made, "live")
