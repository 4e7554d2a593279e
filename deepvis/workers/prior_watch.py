"""Watches the training of the selected layer's prior, which another process does."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING

from deepvis.core import paths
from deepvis.store.watched_priors import WatchedPrior, stamp_of, watched
from deepvis.workers.worker import Task, WishOf, Worker

if TYPE_CHECKING:
    from deepvis.networks.network import Network

LOOK_AGAIN = 1.0  # seconds between two looks at the files' times


class PriorWatchWorker(Worker["WishOf[Network, str]", WatchedPrior]):
    """Reads what the folder of a layer's prior holds, and again whenever that has changed. The wish is the layer."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: tuple[object, ...] = ()

    def failed(self, wish: WishOf[Network, str], why: str) -> WatchedPrior:
        return WatchedPrior(wish.wish, note=why)

    @property
    def patience(self) -> float | None:
        return None if self._wish is None else LOOK_AGAIN

    def look_around(self) -> None:
        """If what was read has changed, read it again."""
        wish = self._wish
        if wish is None or stamp_of(paths.precomputed(), wish.source.name, wish.wish) == self._seen:
            return
        with self._changed:
            self._done = None

    def work(self, task: Task[WishOf[Network, str]]) -> Generator[WatchedPrior, None, None]:
        network, layer, places = task.wish.source, task.wish.wish, paths.precomputed()
        self._seen = stamp_of(places, network.name, layer)  # before reading: what changes meanwhile is read again
        found = watched(places, network.name, network.fingerprint, layer)
        if found.record is None and not found.note and (why := _why_never(network, layer)):
            found = replace(found, note=why)
        yield found


def _why_never(network: Network, layer: str) -> str:
    """Why no prior of a layer can be trained; empty if it can, as far as that is known without running the network."""
    from deepvis.synthesis.decoder import MOST_FEATURES, can_have_decoder

    if network.input.channels != 3:
        return f"a network of {network.input.channels} channels: priors are trained on colour pictures"
    if not can_have_decoder(network, layer):
        return f"layer {layer} has more than {MOST_FEATURES:,} units: too many for a prior. Choose another layer"
    return ""
