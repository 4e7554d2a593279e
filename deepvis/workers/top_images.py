"""The selected unit's top images, from the index of a scan, and their backward images.

Two workers: one cuts the patches, which takes milliseconds; the other, in `patch_passes`, carries the unit back to
their pixels, which takes a pass of the network. So patches never wait for a pass, and no key for either.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from cachetools import LRUCache

from deepvis.core.caches import byte_cache, keep
from deepvis.core.errors import UserError, words
from deepvis.inputs.datasets import Images, Photos
from deepvis.scan.index import INDEX, Index
from deepvis.scan.index_file import load
from deepvis.scan.patches import patches
from deepvis.scan.results import Patch
from deepvis.store.original_folders import DECONV, TOP, read_jpeg, thirds
from deepvis.workers.layer_images import OpenIndex
from deepvis.workers.messages import TopImagesWish, TopPictures
from deepvis.workers.patch_passes import PatchPass, PatchPassesWorker
from deepvis.workers.worker import Task, WishOf, Worker

if TYPE_CHECKING:
    from deepvis.networks.network import Network

CACHE = 48 << 20  # bytes of patches and backward images that are kept
SIDE = 256  # pixels of a patch's longer side: as much as a tile has on a large screen
READERS = 4  # photos that are decoded at the same time
QUIET = 0.05  # seconds that a unit must stay selected before its backward images are computed
LOOK_AGAIN = 1.0  # seconds between two checks whether the index on the disk has changed


def open_index(folder: Path, network: Network) -> Index:
    """Open the index in a folder and check that it belongs to this network.

    Raises:
        UserError: there is no index, it cannot be read, or it is of another network or input size.
    """
    if not (folder / INDEX).is_file():
        raise UserError(f"There are none yet. To find them: {network.command('scan --images DIR')}")
    index = load(folder / INDEX).check(network.fingerprint, network.name, network.layers)
    size, spec = (index.settings["width"], index.settings["height"]), network.input
    if size != (spec.width, spec.height):
        raise UserError(
            f"the index was made with an input of {size[0]}×{size[1]} pixels, the network now takes "
            f"{spec.width}×{spec.height}. Remove {folder} and scan again."
        )
    return index


@dataclass(frozen=True, eq=False)
class _Opened:
    """The network's index on the disk, as it was opened last.

    Attributes:
        stamp: the network and the file that it was opened for; if one of these changes it is opened again.
        photos: the index's photos.
    """

    stamp: tuple[object, ...] = ()
    index: OpenIndex = OpenIndex()
    photos: Photos | None = None


class TopImagesWorker(Worker["WishOf[Network, TopImagesWish]", TopPictures]):
    """Provides the selected unit's top images: first the patches, then also their backward images.

    Images of an older request, index or network are never handed out as those of the newest one. If the index on the
    disk is created or replaced, it is opened within LOOK_AGAIN seconds. torch is used in the second thread only, on a
    replica of the network and, on Linux, at a lower priority than the live view.
    """

    def __init__(
        self,
        folder: Callable[[Network], Path],
        so_far: Callable[[Network], Index | None] = lambda network: None,
    ) -> None:
        """
        Args:
            folder: gives the folder of a network's index.
            so_far: gives the index that is used until there is one in the folder: that of a scan that still runs.
        """
        super().__init__()
        self._folder, self._so_far = folder, so_far
        self._wished = 0.0  # time of the request
        self._opened = _Opened()
        self._cache: LRUCache[TopImagesWish, TopPictures] = byte_cache(CACHE, _size)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="deepvis-photos")
        self._passes = PatchPassesWorker(self._lasts, self._take_back)

    @property
    def opened(self) -> OpenIndex:
        """The index of the network in the newest request, or a note that says why there is none."""
        with self._changed:
            opened = self._opened
            is_right = self._wish is not None and opened.stamp[:1] == (self._wish.source,)
            return opened.index if is_right else OpenIndex()

    @property
    def idle(self) -> bool:
        return super().idle and self._passes.idle

    def want(self, wish: WishOf[Network, TopImagesWish] | None) -> None:
        with self._changed:
            if wish != self._wish:
                self._wished = time.monotonic()
            super().want(wish)

    def close(self, timeout: float = 5.0) -> bool:
        until = time.monotonic() + timeout
        self._passes.close(0)
        has_ended = super().close(timeout)
        return self._passes.close(max(0.0, until - time.monotonic())) and has_ended

    def serves(self, answered: WishOf[Network, TopImagesWish], wish: WishOf[Network, TopImagesWish]) -> bool:
        """The unit's patches stay visible while the pass of another backward method runs."""
        same = (answered.wish.layer, answered.wish.unit) == (wish.wish.layer, wish.wish.unit)
        return same and answered.source is wish.source

    def failed(self, wish: WishOf[Network, TopImagesWish], why: str) -> TopPictures:
        return TopPictures(wish.wish.layer, wish.wish.unit, note=why)

    # ---- patches -----------------------------------------------------------------------------

    def _run(self) -> None:
        with self._readers:
            super()._run()

    @property
    def patience(self) -> float | None:
        return LOOK_AGAIN

    def look_around(self) -> None:
        """Open the index if it is new or has changed, and drop everything that was made from the one before."""
        wish = self._wish
        if wish is None or (stamp := self._stamp(wish.source)) == self._opened.stamp:
            return
        opened = self._open(wish.source, stamp)
        with self._changed:
            self._opened = opened
            self._cache.clear()
            self.renew()

    def work(self, task: Task[WishOf[Network, TopImagesWish]]) -> Generator[TopPictures, None, None]:
        network, wish, opened = task.wish.source, task.wish.wish, self._opened
        with self._changed:
            pictures = self._cache.get(wish)
        if pictures is None:
            pictures = self._cut_out(network, wish, opened)
        self._keep(task, pictures)
        yield pictures
        if pictures.patches and not pictures.backward and not pictures.backward_note:
            self._passes.want(PatchPass(task, self._wished + QUIET, pictures, opened.photos))

    def _stamp(self, network: Network) -> tuple[object, ...]:
        try:
            folder = self._folder(network)
            stat = (folder / INDEX).stat()
        except Exception:  # `open_index` below will say why
            index = self._so_far(network)
            return (network,) if index is None else (network, index)
        return network, folder, stat.st_ino, stat.st_mtime_ns, stat.st_size

    def _open(self, network: Network, stamp: tuple[object, ...]) -> _Opened:
        try:
            running = [part for part in stamp if isinstance(part, Index)]
            index = running[0] if running else open_index(self._folder(network), network)
            photos = self._photos(network, Images(Path(index.root), tuple(index.files), reading=index.reading))
        except Exception as error:
            return _Opened(stamp, OpenIndex(note=words(error)))
        return _Opened(stamp, OpenIndex(index), photos)

    def _photos(self, network: Network, images: Images) -> Photos:
        """A cache for these photos: the one before, if it is of the same photos."""
        before = self._opened.photos
        if before is not None and (before.images.root, before.images.names) == (images.root, images.names):
            return before
        return Photos(images, least=(2 * network.input.width, 2 * network.input.height))

    def _cut_out(self, network: Network, wish: TopImagesWish, opened: _Opened) -> TopPictures:
        if wish.moments is not None:
            return replace(wish.moments, method=wish.method)
        index = opened.index.index
        if index is None or opened.photos is None:
            nothing = TopPictures(wish.layer, wish.unit, note=opened.index.note)
            return self._from_jpegs(network, wish) or nothing
        found = patches(index, wish.layer, wish.unit, opened.photos, side=SIDE, map=self._readers.map)
        found = [patch for patch in found if patch.value != 0]  # an activation of exactly 0 is no response
        note = ""
        if not found:
            note = f"The unit is dead: none of the {index.count:,} scanned images excites it."
        elif all(patch.pixels is None for patch in found):
            note, found = _why_missing(network, index, found), []
        return TopPictures(wish.layer, wish.unit, index.root, tuple(found), wish.method, note=note)

    def _from_jpegs(self, network: Network, wish: TopImagesWish) -> TopPictures | None:
        """The unit's images in the original toolbox's folders, without values and photos; None if there are none."""
        root = self._folder(network).parent
        whole = read_jpeg(root, TOP, wish.layer, wish.unit)
        if whole is None:
            return None
        found = [Patch(-1, "", 0, 0, math.nan, (0, 0, part.shape[1], part.shape[0]), part) for part in thirds(whole)]
        pictures = TopPictures(wish.layer, wish.unit, "", tuple(found), wish.method)
        if wish.method not in ("deconv", network.telling_backward):
            return replace(pictures, backward_note="the original toolbox's folders have deconv images only")
        whole = read_jpeg(root, DECONV, wish.layer, wish.unit)
        if whole is None:
            return replace(pictures, backward_note=f"no {DECONV} of this unit in {root}")
        around_gray = [part.astype(np.float32) / 127.5 - 1 for part in thirds(whole)]
        return replace(pictures, method="deconv", backward=tuple(around_gray))

    def _keep(self, task: Task[WishOf[Network, TopImagesWish]], pictures: TopPictures) -> None:
        """Cache images from the open index, unless a photo is missing, which may be back the next time."""
        if not pictures.patches or any(patch.pixels is None for patch in pictures.patches):
            return
        with self._changed:
            if task.generation == self._generation:
                keep(self._cache, task.wish.wish, pictures)

    # ---- for the passes, in their thread ------------------------------------------------------

    def _lasts(self, task: Task[WishOf[Network, TopImagesWish]], until: float) -> bool:
        """Wait until that time; return whether the task is still wanted then."""
        with self._changed:
            return not self._changed.wait_for(lambda: not self._is_wanted(task), until - time.monotonic())

    def _take_back(self, task: Task[WishOf[Network, TopImagesWish]], pictures: TopPictures) -> None:
        """Take patches with their backward images, or with a note that says why there are none."""
        if pictures.backward:
            self._keep(task, pictures)
        with self._changed:
            if self._is_wanted(task):  # else the newest request may have been answered completely
                self._hand_out(task, pictures)


def _why_missing(network: Network, index: Index, found: list[Patch]) -> str:
    missing = index.missing(among=[patch.image for patch in found])
    if not missing:
        return found[0].error
    return (
        f"Photos of the index are not in {index.root}: {', '.join(missing[:3])}{' …' if len(missing) > 3 else ''}. "
        f"If they have moved, name the folder that they are in now: {network.command('scan --images DIR')}"
    )


def _size(pictures: TopPictures) -> int:
    arrays = [patch.pixels for patch in pictures.patches] + list(pictures.backward) + list(pictures.seen)
    return sum(array.nbytes for array in arrays if array is not None)
