"""Images that grow before the user's eyes: gradient ascent in a thread of its own, for as long as it is wished."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from deepvis.core.errors import words
from deepvis.core.runtime import be_patient
from deepvis.workers.messages import Grown, Growth
from deepvis.workers.worker import MUCH_MEMORY, Background

if TYPE_CHECKING:
    from deepvis.networks.network import Network
    from deepvis.store.unit_images import Store

PUBLISH = 0.1  # seconds between two pictures: making them takes the time of a fraction of a step


class Grower(Background):
    """Synthesizes what was wished last, and stops at the next step when the wish changes.

    torch is imported in the thread. On Linux it runs at a lower priority than the live view.
    """

    def __init__(self) -> None:
        super().__init__()
        self._network: Network | None = None
        self._wish: Growth | None = None
        self._grown: Grown | None = None
        self._grown_by: Network | None = None

    @property
    def grown(self) -> Grown | None:
        """The newest images, of the newest wish and network; None if nothing is wished."""
        with self._changed:
            return self._grown if self._wish is not None and self._is_of(self._wish, self._network) else None

    def _is_of(self, wish: Growth, network: Network | None) -> bool:
        return self._grown is not None and self._grown.wish == wish and self._grown_by is network

    def want(self, network: Network | None, wish: Growth | None) -> None:
        """Say what is to grow (None: nothing); never blocks."""
        with self._changed:
            if wish == self._wish and (wish is None or network is self._network):
                return
            if wish is None and self._grown is not None and self._grown.error:
                self._grown = None  # wished again, it is tried again
            self._wish = wish
            self._changed.notify()
            if wish is not None and network is not None:
                self._network = network
                self._begin(self._work)

    def close(self, timeout: float = 5.0) -> bool:
        """Stop after the step that runs. Returns whether the thread has ended."""
        with self._changed:
            self._wish = None
        return super().close(timeout)

    def keep(self, grown: Grown, store: Store, network: Network) -> str:
        """Put images of the network's unit into the user's own store (see `stores.keep`), and say what was done.

        They are ordered by what the network saw last of each, which was a random view where the recipe has such.
        """
        import numpy as np

        from deepvis.store.own_images import keep
        from deepvis.synthesis.jobs import Plan, record

        order = np.argsort([-score for score in grown.scores], kind="stable")
        plan = Plan(replace(grown.recipe, steps=grown.steps), grown.wish.preset, len(order))
        scores = [round(float(grown.scores[i]), 4) for i in order]
        made = {
            **record(plan, network, grown.wish.layer),
            "scores": scores,
            "seeds": [grown.wish.seeds[i] for i in order],
        }
        return keep(store, grown.wish.layer, grown.wish.unit, np.stack([grown.images[i] for i in order]), made, "live")

    def _work(self) -> None:
        import torch

        if self._network.device.type == "cpu":  # of this thread alone; the rest is the live view's
            torch.set_num_threads(max(1, torch.get_num_threads() // 2))
        be_patient()
        original = replica = None
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or (self._wish and not self._answered()))
                if self._stopping:
                    return
                wish, network = self._wish, self._network
            try:
                if network is not original:
                    original = replica = None
                    original, replica = network, network.replica()
                self._grow(replica, wish, network)
            except BaseException as error:  # the thread must outlive whatever a network's code raises, be it `sys.exit`
                self._publish(Grown(wish, error=words(error)), network)

    def _answered(self) -> bool:
        return self._is_of(self._wish, self._network) and (bool(self._grown.error) or self._grown.done)

    def _is_wanted(self, wish: Growth, by: Network) -> bool:
        return self._wish == wish and self._network is by and not self._stopping

    def _publish(self, grown: Grown, by: Network) -> None:
        with self._changed:
            if self._is_wanted(grown.wish, by):
                self._grown, self._grown_by = grown, by

    def _grow(self, network: Network, wish: Growth, by: Network) -> None:
        """Ascend on `network`, a replica of `by`, for as long as it is wished."""
        from deepvis.core.layers import find_layer
        from deepvis.synthesis.ascent import Ascent
        from deepvis.synthesis.recipe import named
        from deepvis.synthesis.targets import canvas, cut, draft, objective

        self._publish(Grown(wish), by)
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
        while self._is_wanted(wish, by) and not done:
            with MUCH_MEMORY:
                ascent.step()
            done = bool(wish.recipes) and ascent.count >= recipes[0].steps
            if done or time.monotonic() - shown > PUBLISH:
                if ascent.count >= recipes[0].redirect and bool(ascent.dead.all()):
                    self._publish(
                        Grown(wish, error="no gradient reaches the image: the unit is dead, or it is not finite"), by
                    )
                    return
                images = cut(ascent.images(), place)
                with MUCH_MEMORY:
                    scores = (
                        ascent.final_scores() if recipes[0].keep == "best" else ascent.scores
                    )  # a pass each time is too dear
                self._publish(
                    Grown(wish, tuple(images), tuple(scores.tolist()), ascent.count, recipe=recipes[0], done=done), by
                )
                shown = time.monotonic()
