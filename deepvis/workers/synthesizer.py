"""Images that grow in the window: gradient ascent in a thread of its own, for as long as it is requested."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from deepvis.core.errors import UserError
from deepvis.core.layers import find_layer
from deepvis.store.unit_images import PROVISIONAL
from deepvis.synthesis.recipe import NO_GRADIENT
from deepvis.workers.leisure import Leisure
from deepvis.workers.messages import Grown, GrowthWish
from deepvis.workers.own_replica import OwnReplica, leave_cores
from deepvis.workers.worker import MUCH_MEMORY, Task, WishOf, Worker

if TYPE_CHECKING:
    from deepvis.core.layers import Layer
    from deepvis.networks.network import Network
    from deepvis.store.unit_images import Store
    from deepvis.synthesis.objectives import Objective
    from deepvis.synthesis.targets import SynthesisCanvas

BY_ITSELF = 128  # steps of images that nobody asked for
QUIET = 0.5  # seconds that a unit must stay selected before these begin to grow
PUBLISH = 0.1  # seconds between two updates of the shown images; an update takes a fraction of a step's time


class GrowthWorker(Worker["WishOf[Network, GrowthWish]", Grown]):
    """Synthesizes the images of the newest request; when the request changes, it stops after the current step.

    Images that nobody asked for wait until the request has stood for QUIET seconds, and rest after each step.
    torch is imported in the thread. On Linux it runs at a lower priority than the live view.
    """

    has_low_priority = True
    modules = ("deepvis.synthesis.ascent", "deepvis.synthesis.targets")

    def __init__(
        self, leisure: Leisure | None = None, keep: Callable[[Grown, Network], None] = lambda grown, network: None
    ) -> None:
        """
        Args:
            leisure: says when images that nobody asked for may grow on.
            keep: called in the thread with such images when they are finished, or with the reason why they cannot be.
        """
        super().__init__()
        self._replica = OwnReplica()
        self._leisure, self._keep = leisure or Leisure(lambda: False), keep

    def want(self, wish: WishOf[Network, GrowthWish] | None) -> None:
        """Request images to grow (None: no images); never blocks."""
        with self._changed:
            answer = self.answer
            if wish is None and answer is not None and answer.error:
                self.renew()  # so that the same request is tried again later
            super().want(wish)

    def failed(self, wish: WishOf[Network, GrowthWish], why: str) -> Grown:
        return Grown(wish.wish, error=why)

    def work(self, task: Task[WishOf[Network, GrowthWish]]) -> Generator[Grown | None, None, None]:
        from deepvis.synthesis.ascent import Ascent
        from deepvis.synthesis.presets import named
        from deepvis.synthesis.targets import cut, draft

        wish = task.wish.wish
        yield Grown(wish)
        if wish.by_itself and not self._stands(task, QUIET):
            return
        network = self._copy_of(task.wish.source)
        layer = network.layers[find_layer(wish.layer, network.layers)]
        with MUCH_MEMORY:
            place, aim = _aim(network, layer, wish)
        if wish.recipes and network.device.type == "cpu":
            place = draft(network, layer, place)
        changes = {"steps": BY_ITSELF} if wish.by_itself else {}
        recipes = wish.recipes or [named(wish.preset, changes)] * len(wish.seeds)
        ends = bool(wish.recipes) or wish.by_itself
        ascent = Ascent(network, aim(place), recipes, wish.seeds, place.size)
        shown, done = 0.0, False
        while not done:
            with MUCH_MEMORY:
                ascent.step()
            done = ends and ascent.count >= recipes[0].steps
            if wish.by_itself:
                self._leisure.rest(lambda: not self._is_wanted(task))
            if not done and time.monotonic() - shown <= PUBLISH:
                yield None
                continue
            if ascent.count >= recipes[0].redirect and bool(ascent.dead.all()):
                yield self._kept(Grown(wish, error=NO_GRADIENT, recipe=recipes[0], done=ends), task)
                return
            images = tuple(cut(ascent.images(), place))
            with MUCH_MEMORY:  # only for "best": exact scores cost a pass each time
                scores = ascent.final_scores() if recipes[0].keep == "best" else ascent.scores
            grown = Grown(wish, images, tuple(scores.tolist()), ascent.count, recipe=recipes[0], done=done)
            yield self._kept(grown, task) if done else grown
            shown = time.monotonic()

    def _kept(self, grown: Grown, task: Task[WishOf[Network, GrowthWish]]) -> Grown:
        """Finished images, after they have been kept if nobody asked for them."""
        if grown.wish.by_itself and self._is_wanted(task):
            self._keep(grown, task.wish.source)
        return grown

    def _copy_of(self, network: Network) -> Network:
        """A replica of the network for this thread alone."""
        leave_cores(network)
        return self._replica.of(network)


def _aim(
    network: Network, layer: Layer, wish: GrowthWish
) -> tuple[SynthesisCanvas, Callable[[SynthesisCanvas], Objective]]:
    """The canvas, and the objective on it (or on a smaller one): the unit's, or that of both units."""
    from deepvis.synthesis.targets import canvas, objective
    from deepvis.synthesis.two_units import of_both

    count = len(wish.seeds)
    if wish.also is None:
        place = canvas(network, layer, network.receptive_field(layer.name))
        return place, lambda on: objective(layer, [wish.unit] * count, on)
    other = network.layers[find_layer(wish.also[0], network.layers)]
    place, beside = (canvas(network, one, network.receptive_field(one.name), True) for one in (layer, other))
    if place != beside:  # of different sizes: on the whole input
        place, beside = (canvas(network, one, network.receptive_field(one.name), False) for one in (layer, other))
    second = objective(other, [wish.also[1]] * count, beside)
    return place, lambda on: of_both(objective(layer, [wish.unit] * count, on), second, (layer, other))


def keep_grown(grown: Grown, store: Store, network: Network) -> str:
    """Put grown images into the user's own store (see `own_images.keep`); return a message that says what was done.

    The images are ordered by their last scores. With a recipe that has random transforms, each score is of a randomly
    transformed image.
    """
    from deepvis.store.own_images import keep
    from deepvis.synthesis.jobs import Plan, record

    if grown.recipe is None:
        raise UserError("nothing to keep yet")
    if grown.wish.also is not None:
        raise UserError(
            "images of two units are not kept: p saves a picture; deepvis synthesize --units A+B makes some"
        )
    order = np.argsort([-score for score in grown.scores], kind="stable")
    plan = Plan(replace(grown.recipe, steps=grown.steps), grown.wish.preset, len(order))
    made = {
        **record(plan, network, grown.wish.layer),
        "scores": [round(float(grown.scores[i]), 4) for i in order],
        "seeds": [grown.wish.seeds[i] for i in order],
    }
    return keep(store, grown.wish.layer, grown.wish.unit, np.stack([grown.images[i] for i in order]), made, "live")


def keep_by_itself(grown: Grown, store: Store, network: Network) -> None:
    """Put images that nobody asked for, or why there are none, into the user's own store, if it has no others of them.

    Their record says that they are provisional: images that the user makes replace them.
    """
    from deepvis.synthesis.jobs import Plan, record

    layer, unit = grown.wish.layer, grown.wish.unit
    have = store.records.get((layer, unit))
    if grown.recipe is None or have is not None and not have.get(PROVISIONAL):
        return
    plan = Plan(grown.recipe, grown.wish.preset, len(grown.wish.seeds))
    made = {**record(plan, network, layer), PROVISIONAL: True, "scores": []}
    if grown.error:
        store.add(layer, unit, np.zeros((0, 1, 1, 3), np.uint8), {**made, "failed": grown.error}, "live")
    else:
        order = np.argsort([-score for score in grown.scores], kind="stable")
        made["scores"] = [round(float(grown.scores[i]), 4) for i in order]
        store.add(layer, unit, np.stack([grown.images[i] for i in order]), made, "live")
    store.finish()
