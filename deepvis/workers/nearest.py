"""Whether the selected unit's synthesized images only repeat photos: the photos nearest to each."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from cachetools import LRUCache

from deepvis.core.errors import UserError
from deepvis.core.geometry import cut, reduced
from deepvis.workers.nearest_messages import COUNT, NearestPhotos, NearestWish, NearPhoto
from deepvis.workers.own_replica import OwnReplica, leave_cores
from deepvis.workers.worker import Task, WishOf, Worker

if TYPE_CHECKING:
    from deepvis.inputs.datasets import Images
    from deepvis.networks.network import Network

SIDE = 160  # pixels of a photo's longer side
KEPT = 8  # answers that are kept


class NearestWorker(Worker["WishOf[Network, NearestWish]", NearestPhotos]):
    """Compares images with the photos of the network's index, or with the bundled ones. The newest answers are kept."""

    has_low_priority = True

    def __init__(self) -> None:
        super().__init__()
        self._replica = OwnReplica()
        self._kept: LRUCache[tuple[str, NearestWish], NearestPhotos] = LRUCache(KEPT)

    def serves(self, answered: WishOf[Network, NearestWish], wish: WishOf[Network, NearestWish]) -> bool:
        one, other = answered.wish, wish.wish
        return answered.source is wish.source and (one.layer, one.of) == (other.layer, other.of)

    def failed(self, wish: WishOf[Network, NearestWish], why: str) -> NearestPhotos:
        return NearestPhotos(wish.wish, note=why)

    def work(self, task: Task[WishOf[Network, NearestWish]]) -> Generator[NearestPhotos, None, None]:
        from deepvis.networks.capture import Abandoned

        key = task.wish.source.fingerprint, task.wish.wish
        if key not in self._kept:
            try:
                self._kept[key] = self._compared(task)
            except Abandoned:
                return
        yield self._kept[key]

    def _compared(self, task: Task[WishOf[Network, NearestWish]]) -> NearestPhotos:
        from deepvis.networks.capture import Abandoned
        from deepvis.scan.nearest_photos import nearest_to_each
        from deepvis.synthesis.decoder import photos_for

        wish = task.wish.wish
        network = self._replica.of(task.wish.source)
        leave_cores(network)
        images = photos_for(network)
        total, before = len(images.names), self.answer or NearestPhotos(wish)

        def progress(done: int) -> None:
            if not self._is_wanted(task):
                raise Abandoned
            self._hand_out(task, replace(before, note=f"comparing with {done:,} of {total:,} photos …"))

        progress(0)
        found, broken = nearest_to_each(network, wish.images, images, [wish.layer], COUNT, progress)
        aspect = network.input.width / network.input.height
        rows = tuple(
            {
                space: tuple(
                    NearPhoto(
                        str(images.root), images.names[one.number], one.distance, _small(images, one.number, aspect)
                    )
                    for one in near
                )
                for space, near in spaces.items()
            }
            for spaces in found
        )
        return replace(NearestPhotos(wish, rows), count=total - len(broken))


def _small(images: Images, number: int, aspect: float) -> np.ndarray | None:
    """A photo as it was compared: the middle of it, small."""
    try:
        return reduced(cut(images.read(number)[..., :3], aspect, crop=True), SIDE)
    except UserError:
        return None
