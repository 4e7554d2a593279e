"""Computing the backward images of a unit's top images in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from deepvis.core.runtime import cpu_plan
from deepvis.inputs.datasets import Photos
from deepvis.scan.results import Patch
from deepvis.workers.messages import TopImagesWish, TopPictures
from deepvis.workers.own_replica import OwnReplica
from deepvis.workers.worker import MUCH_MEMORY, Task, WishOf, Worker

if TYPE_CHECKING:
    from deepvis.networks.network import Network

AT_A_TIME = 3  # photos in one batch of a backward pass: all nine would take too much memory


@dataclass(frozen=True, eq=False)
class PatchPass:
    """A request for the backward images of a unit's patches.

    Attributes:
        task: the task that the patches answer.
        quiet_until: time from which the pass may start, if it is still wanted then (`time.monotonic`).
        pictures: the patches.
        photos: the photos that they were cut from; None for moments, which include what the network saw.
    """

    task: Task[WishOf[Network, TopImagesWish]]
    quiet_until: float
    pictures: TopPictures
    photos: Photos | None


class PatchPassesWorker(Worker[PatchPass, TopPictures]):
    """Computes the backward images of the newest patches, and gives them to the worker that cut the patches."""

    has_low_priority = True
    modules = ("deepvis.scan.patch_backward",)

    def __init__(
        self,
        lasts: Callable[[Task[WishOf[Network, TopImagesWish]], float], bool],
        give_back: Callable[[Task[WishOf[Network, TopImagesWish]], TopPictures], None],
    ) -> None:
        """
        Args:
            lasts: waits until a time, and returns whether the task is still wanted then.
            give_back: takes the answer to a task; also called if it is no longer wanted.
        """
        super().__init__()
        self._lasts, self._give_back = lasts, give_back
        self._replica = OwnReplica()

    def failed(self, wish: PatchPass, why: str) -> TopPictures:
        """The answer if memory ran out or the network's code raised."""
        return replace(wish.pictures, backward_note=why)

    def work(self, task: Task[PatchPass]) -> Generator[TopPictures | None, None, None]:
        one = task.wish
        if not self._lasts(one.task, one.quiet_until):
            return
        network, wish = self._copy_of(one.task.wish.source), one.task.wish.wish
        pictures = yield from _with_passes(network, wish, one)
        if wish.or_deconv and not any(image is not None and image.any() for image in pictures.backward):
            pictures = yield from _with_passes(network, replace(wish, method="deconv"), one)
            pictures = replace(pictures, method="deconv")
        yield pictures

    def _hand_out(self, task: Task[PatchPass], answer: TopPictures | None) -> bool:
        if answer is not None:
            self._give_back(task.wish.task, answer)
        return super()._hand_out(task, answer)

    def _copy_of(self, network: Network) -> Network:
        """A replica of the network for this thread alone, and its share of the cores."""
        from deepvis.networks.threads import use_threads

        workers, threads = cpu_plan()
        use_threads(workers * threads if network.device.type == "cpu" else 1)
        return self._replica.of(network)


def _with_passes(
    network: Network, wish: TopImagesWish, one: PatchPass
) -> Generator[TopPictures | None, None, TopPictures]:
    """The patches with the backward image and the activations of each; None where its photo is missing.

    Between two batches it yields None, where the work ends if it is no longer wanted.
    """
    from deepvis.scan.patch_backward import patch_backward

    seen = [patch for patch in one.pictures.patches if patch.pixels is not None]
    whole_photos = _photos(one, seen)
    boxes = [patch.box for patch in seen]
    whole = (0, 0, network.input.width, network.input.height)
    # The pass starts at the place of the map whose patch is shown; if a patch is the whole photo, at all places.
    places = None if all(box == whole for box in boxes) else [(patch.row, patch.column) for patch in seen]
    images: list[np.ndarray] = []
    maps: list[np.ndarray] = []
    for first in range(0, len(seen), AT_A_TIME):
        yield None
        some = slice(first, first + AT_A_TIME)
        with MUCH_MEMORY:
            starts = places and places[some]
            images += patch_backward(
                network, whole_photos[some], wish.layer, wish.unit, wish.method, boxes[some], starts, maps.append
            )
    made, heard = iter(images), iter(maps)
    patches = one.pictures.patches
    return replace(
        one.pictures,
        backward=tuple(None if patch.pixels is None else next(made) for patch in patches),
        maps=tuple(None if patch.pixels is None else next(heard, None) for patch in patches),
    )


def _photos(one: PatchPass, patches: list[Patch]) -> list[np.ndarray]:
    """The pictures to run the network on: the moments, or the photos of the patches."""
    if one.pictures.seen or one.photos is None:
        return list(one.pictures.seen)
    return [one.photos.read(patch.image) for patch in patches]
