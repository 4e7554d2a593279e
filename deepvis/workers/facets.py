"""The facets of the selected unit: stored ones at once, else made in a thread while one watches."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from deepvis.core import paths
from deepvis.core.errors import UserError
from deepvis.core.geometry import reduced
from deepvis.core.layers import find_layer
from deepvis.core.receptive_field import ReceptiveField
from deepvis.facets.facet_map import FacetMap
from deepvis.facets.facet_store import keep, open_facets, own_facets
from deepvis.synthesis.recipe import NO_GRADIENT
from deepvis.workers.messages import FacetsWish, Thumbs, UnitFacets
from deepvis.workers.own_replica import OwnReplica, leave_cores
from deepvis.workers.worker import MUCH_MEMORY, Task, WishOf, Worker

if TYPE_CHECKING:
    from deepvis.facets.making import Ground, Points
    from deepvis.networks.network import Network
    from deepvis.scan.index import Index

PRESET = "facet"
QUIET = 0.5  # seconds that a unit must stay selected before its facets are made
PUBLISH = 0.1  # seconds between two updates of the shown images
THUMB = 96  # pixels of a photo's longer side on the map
LOOK_AGAIN = 0.5  # seconds between two looks whether there is an index
MOST_SCANNED = 2000  # photos of an index that are scanned once more if it keeps too few of each unit

How = Mapping[str, Any]  # how a record describes the making of facets
_Task = Task["WishOf[Network, FacetsWish]"]


class _Unwanted(Exception):
    """There is a newer request."""


class FacetsWorker(Worker["WishOf[Network, FacetsWish]", UnitFacets]):
    """Provides the facets of the newest request's unit.

    Stored ones are read. For another unit, or another number of facets, the photos are laid out and the facets grow,
    and what is finished is put into the user's own store. torch is imported in the thread, which on Linux runs at a
    lower priority than the live view.
    """

    has_low_priority = True
    modules = ("deepvis.facets.jobs", "deepvis.facets.growing", "deepvis.facets.photos")

    def __init__(
        self,
        fields: Callable[[], Mapping[str, ReceptiveField]] = dict,
        is_scanning: Callable[[], bool] = lambda: False,
    ) -> None:
        """
        Args:
            fields: returns the receptive fields that are known already, by layer.
            is_scanning: whether the window makes the network's index, for which it is worth to wait.
        """
        super().__init__()
        self._fields, self._is_scanning, self._replica = fields, is_scanning, OwnReplica()
        self._points: tuple[tuple[Network, str, int], Points, How] | None = None  # of the unit before
        self._said = 0.0

    def want(self, wish: WishOf[Network, FacetsWish] | None) -> None:
        """Request facets (None: no facets); never blocks."""
        with self._changed:
            answer = self.answer
            if wish is None and answer is not None and answer.found is None:
                self.renew()  # so that the same request is tried again later
            super().want(wish)

    def failed(self, wish: WishOf[Network, FacetsWish], why: str) -> UnitFacets:
        return UnitFacets(wish.wish, note=why, done=True)

    def work(self, task: _Task) -> Generator[UnitFacets | None, None, None]:
        wish, network = task.wish.wish, task.wish.source
        stored = open_facets(network)
        found = stored.read(wish.layer, wish.unit)
        if found is not None and wish.k in (0, len(found.facets)):
            yield from self._stored(task, found)
            return
        yield UnitFacets(wish, note=stored.note or "looking at the photos that excite the unit …")
        if not self._stands(task, QUIET):
            return
        try:
            yield from self._made(task)
        except _Unwanted:
            return

    # ---- stored -----------------------------------------------------------------------------------

    def _stored(self, task: _Task, found: FacetMap) -> Generator[UnitFacets | None, None, None]:
        """First the facets, then the photos as they are read."""
        from deepvis.facets.excited import with_photos
        from deepvis.facets.photos import read_patches

        wish, network = task.wish.wish, task.wish.source
        found = with_photos(network, paths.precomputed(), found)
        answer = UnitFacets(wish, found, found, steps=0, is_stored=True)
        yield answer
        spec, field = network.input, self._field(network, wish.layer)
        pictures: list[np.ndarray | None] = []
        for patch in read_patches(found, field, (spec.width, spec.height), spec.reading, spec.places, THUMB):
            pictures.append(patch)
            yield None
        lacking = sum(picture is None for picture in pictures)
        scan = network.command("scan --images DIR")
        note = f"{lacking} of {len(pictures)} photos have moved; {scan} finds them again" if lacking else ""
        yield replace(answer, thumbs=Thumbs(tuple(pictures)), done=True, note=note)

    def _field(self, network: Network, layer: str) -> ReceptiveField | None:
        from deepvis.facets.excited import field_of

        one = network.layers[find_layer(layer, network.layers)]
        return self._fields().get(layer) or field_of(self._copy_of(network), one, paths.precomputed())

    # ---- made now ---------------------------------------------------------------------------------

    def _say(self, task: _Task, words: str) -> None:
        """Hand out now and then how far it is."""
        if time.monotonic() - self._said > PUBLISH:
            self._said = time.monotonic()
            self._hand_out(task, UnitFacets(task.wish.wish, note=words))

    def _made(self, task: _Task) -> Generator[UnitFacets | None, None, None]:
        from deepvis.facets.aims import Clusters
        from deepvis.facets.growing import FacetAscent
        from deepvis.facets.making import facet_map, ground_of
        from deepvis.synthesis.presets import recipe
        from deepvis.synthesis.recipe import as_values

        wish, network, one = task.wish.wish, self._copy_of(task.wish.source), recipe(PRESET)
        layer = network.layers[find_layer(wish.layer, network.layers)]
        with MUCH_MEMORY:
            ground = ground_of(network, layer)
        made, how = self._stored_points(task, network, ground) or self._laid_out(task, network, ground)
        found = facet_map(made, wish.k)
        thumbs = Thumbs(tuple(reduced(patch, THUMB) for patch in made.patches))
        answer = UnitFacets(wish, found, found, thumbs, total=one.steps)
        yield answer
        with MUCH_MEMORY:
            ascent, shown = FacetAscent(network, ground, [Clusters(made, found)], one), time.monotonic()
        for _ in range(one.steps):
            with MUCH_MEMORY:
                ascent.step()
            if time.monotonic() - shown > PUBLISH:
                yield replace(answer, found=ascent.now()[0], steps=ascent.steps)
                shown = time.monotonic()
            else:
                yield None
        if ascent.dead()[0]:
            yield replace(answer, note=NO_GRADIENT, done=True)
            return
        (finished,) = ascent.now(final=True)
        own = {"k": wish.k, "preset": PRESET, "recipe": as_values(one)}
        note = self._keep(task.wish.source, finished, {**how, **own})
        yield replace(answer, found=finished, steps=ascent.steps, done=True, note=note)

    def _stored_points(self, task: _Task, network: Network, ground: Ground) -> tuple[Points, How] | None:
        """The points of the unit's stored map, if there is one: only their clusters are made anew."""
        from deepvis.facets.excited import with_photos
        from deepvis.facets.making import stored_points

        wish = task.wish.wish
        stored = open_facets(network)
        found = stored.read(wish.layer, wish.unit)
        if found is None:
            return None
        made = stored_points(network, ground, with_photos(network, paths.precomputed(), found))
        return (made, stored.record(wish.layer, wish.unit)) if made is not None else None

    def _laid_out(self, task: _Task, network: Network, ground: Ground) -> tuple[Points, How]:
        """The unit's photos on the map, and how a record describes it."""
        from deepvis.facets.excited import Top, candidates
        from deepvis.facets.jobs import FacetPlan, made_how
        from deepvis.facets.making import points, top_of
        from deepvis.inputs.datasets import Photos
        from deepvis.synthesis.presets import recipe

        wish, source = task.wish.wish, task.wish.source
        key = (source, wish.layer, wish.unit)
        if self._points is not None and self._points[0] == key:
            return self._points[1:]  # another number of clusters before the first was stored
        index = self._index(task, network)
        top = top_of(network, index, wish.layer, wish.unit, wish.top)
        among = candidates(index)
        photos = Photos(among.images, least=(network.input.width, network.input.height))

        def progress(done: int, total: int) -> None:
            if not self._is_wanted(task):
                raise _Unwanted
            self._say(task, f"photo {done} of the {total} that excite the unit most …")

        made = points(network, ground, photos, wish.unit, top, progress=progress)
        plan = FacetPlan(recipe(PRESET), PRESET, wish.k, Top(str(wish.top)))
        how = made_how(plan, network, wish.layer, among)
        self._points = (key, made, how)
        return made, how

    def _index(self, task: _Task, network: Network) -> Index:
        """An index that keeps enough photos of each unit; made once if the network's own keeps too few."""
        from deepvis.facets.excited import Top, found_index, index_for
        from deepvis.networks.capture import Abandoned
        from deepvis.scan.options import USUAL, Companion

        places, count = paths.precomputed(), task.wish.wish.top
        have = self._awaited(task, lambda: found_index(places, network))
        if have is None:
            remedy = network.command("scan --images DIR")
            raise UserError(f"There is no index of the photos that excite units. To make one: {remedy}")
        if have.k >= min(count, len(have.files)) or len(have.files) > MOST_SCANNED:
            return have

        def progress(done: int, total: int, _broken: int) -> None:
            self._say(task, f"looking once for the {count} photos that excite each unit most: {done} of {total} …")

        alone = Companion(is_over=lambda: not self._is_wanted(task), fields=self._fields)
        try:
            return index_for(network, places, None, Top(str(count)), USUAL, progress, alone)
        except Abandoned:
            raise _Unwanted from None

    def _awaited(self, task: _Task, found: Callable[[], Index | None]) -> Index | None:
        """The network's index, when the window has made it if it does so now; None if there is none."""
        while self._is_scanning():  # first: it ends when the index is there
            self._say(task, "the photos are looked at for the first time; then come the facets …")
            with self._changed:
                if self._changed.wait_for(lambda: not self._is_wanted(task), LOOK_AGAIN):
                    raise _Unwanted
        return found()

    def _keep(self, network: Network, finished: FacetMap, how: How) -> str:
        """Put finished facets into the user's own store; a text that says why it fails, else empty."""
        from deepvis.store.unit_images import open_store

        try:
            folder = own_facets(paths.precomputed(), network.name)
            store = open_store(folder, network.fingerprint, network.name)
            keep(store, finished, how, "live")
            store.finish()
        except UserError as error:
            return f"not kept: {error}"
        return ""

    def _copy_of(self, network: Network) -> Network:
        """A replica of the network for this thread alone."""
        leave_cores(network)
        return self._replica.of(network)
