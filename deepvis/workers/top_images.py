"""The selected unit's top images, from the index of a scan, and what in them excites the unit.

Two threads: one cuts the patches, which takes milliseconds; one carries the unit back to their
pixels, which takes a pass of the network. So patches never wait for a pass, and no key for either.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepvis.core.errors import UserError, words
from deepvis.core.runtime import be_patient, cpu_plan
from deepvis.inputs.datasets import Images, Photos
from deepvis.scan.index import INDEX, Index
from deepvis.scan.index_file import load
from deepvis.scan.patches import patches
from deepvis.scan.results import Patch
from deepvis.store.original_folders import DECONV, TOP, read_jpeg, thirds
from deepvis.workers.messages import TopPictures
from deepvis.workers.worker import MUCH_MEMORY, Background

if TYPE_CHECKING:
    from deepvis.networks.network import Network

CACHE = 48 << 20  # bytes of patches and backward images that are kept
SIDE = 256  # pixels of a patch's longer side: as much as a tile has on a large screen
READERS = 4  # photos that are decoded at the same time
AT_A_TIME = 3  # photos that go back through the network together: nine would take the memory of nine passes
QUIET = 0.05  # seconds that a selection has to last before a pass is spent on it
LOOK_AGAIN = 1.0  # seconds after which it is looked whether the index on the disk is another one


@dataclass(frozen=True)
class Wish:
    """Whose top images are shown.

    Attributes:
        layer, unit: the unit.
        method: backward method, a key of `deepvis.attribution.methods.METHODS`.
        moments: of the unit, that were collected and are shown instead of the index's.
        or_deconv: where that method carries nothing back, as from behind a ReLU6 that is at its limit, deconv does.
    """

    layer: str
    unit: int
    method: str = "deconv"
    moments: TopPictures | None = None
    or_deconv: bool = False


def open_index(folder: Path, network: Network, model: str = "") -> Index:
    """The index in a folder, if it is of this network.

    Args:
        model: what the user calls the network.
    Raises:
        UserError: there is none, it cannot be read, or it is of another network or input.
    """
    if not (folder / INDEX).is_file():
        raise UserError(f"None yet. This finds them: deepvis scan --model {model or network.name} --images DIR")
    index = load(folder / INDEX).check(network.fingerprint, network.name, network.layers)
    size, spec = (index.settings["width"], index.settings["height"]), network.input
    if size != (spec.width, spec.height):
        raise UserError(
            f"the index was made with an input of {size[0]}×{size[1]} pixels, the network now takes {spec.width}×{spec.height}. "
            f"Remove {folder} and scan again."
        )
    return index


class Tops(Background):
    """Hands out the top images of the newest wish; those of an older one, of an index that has been replaced or of
    another network are never shown under its name.

    An index that is made or replaced meanwhile is taken up within LOOK_AGAIN seconds. torch is used in the
    second thread only, on a replica of the network and, on Linux, at a lower priority than the live view.
    """

    def __init__(self, folder: Callable[[Network], Path], model: str = "") -> None:
        """
        Args:
            folder: where a network's index is.
            model: what the user calls the network.
        """
        super().__init__()
        self._folder, self._model = folder, model
        self._network: Network | None = None
        self._wish: Wish | None = None
        self._wished = 0.0
        self._pictures: TopPictures | None = None
        self._done: Wish | None = None  # whose patches have been cut
        self._carried: Wish | None = None  # whose backward images have been made, or cannot be
        self._cache: OrderedDict[Wish, TopPictures] = OrderedDict()
        self._index: Index | None = None
        self._note = ""
        self._photos: Photos | None = None  # of the index
        self._stamp: tuple = ()  # what the index was opened for and from

    @property
    def pictures(self) -> TopPictures | None:
        """The newest; perhaps of an older wish."""
        return self._pictures

    @property
    def index(self) -> Index | None:
        """The network's index; None if there is none (see `note`) or it is not open yet."""
        return self._index

    @property
    def note(self) -> str:
        """Why there is no index, in words; empty if there is one."""
        return self._note

    @property
    def idle(self) -> bool:
        """The pictures are those of the newest wish, all of them."""
        return self._wish == self._done == self._carried

    def want(self, network: Network, wish: Wish) -> None:
        """Ask for a unit's top images; never blocks."""
        with self._changed:
            if network is not self._network:
                self._network = network
                self._pictures = self._done = self._carried = None
                self._changed.notify_all()
            if wish != self._wish:
                self._wish, self._wished = wish, time.monotonic()
                self._changed.notify_all()
            self._begin(self._cut, self._carry)

    # ---- patches -----------------------------------------------------------------------------

    def _cut(self) -> None:
        with ThreadPoolExecutor(READERS, thread_name_prefix="deepvis-photos") as readers:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._stopping or self._wish != self._done, LOOK_AGAIN)
                    if self._stopping:
                        return
                    network, wish = self._network, self._wish
                self._open(network)
                if wish == self._done:
                    continue
                try:
                    pictures = self._cache.get(wish) or self._cut_out(wish, readers)
                except Exception as error:  # the thread must outlive whatever a photo holds
                    pictures = TopPictures(wish.layer, wish.unit, note=words(error))
                with self._changed:
                    if network is not self._network:
                        continue
                    self._pictures, self._done = pictures, wish
                    self._carried = (
                        wish if pictures.backward or pictures.backward_note or not pictures.patches else None
                    )
                    self._keep(wish, pictures)
                    self._changed.notify_all()

    def _open(self, network: Network) -> None:
        """Open the index if it is not the one that is open; then nothing that was made from the one before is shown or kept."""
        stamp: tuple = (network,)
        try:
            folder = self._folder(network)
            stamp = (network, folder)
            stat = (folder / INDEX).stat()
            stamp = (network, folder, stat.st_ino, stat.st_mtime_ns, stat.st_size)
        except Exception:  # opening it says why
            pass
        if stamp == self._stamp:
            return
        index, photos, note = None, None, ""
        try:
            index = open_index(self._folder(network), network, self._model)
            least = (2 * network.input.width, 2 * network.input.height)
            photos = Photos(Images(Path(index.root), tuple(index.files), reading=index.reading), least=least)
        except Exception as error:
            note = words(error)
        with self._changed:
            self._stamp, self._index, self._photos, self._note = stamp, index, photos, note
            self._cache.clear()
            self._pictures = self._done = self._carried = None

    def _cut_out(self, wish: Wish, readers: ThreadPoolExecutor) -> TopPictures:
        if wish.moments is not None:
            return replace(wish.moments, method=wish.method)
        index = self._index
        if index is None:
            return self._from_jpegs(wish) or TopPictures(wish.layer, wish.unit, note=self._note)
        found = patches(index, wish.layer, wish.unit, self._photos, side=SIDE, map=readers.map)
        found = [patch for patch in found if patch.value != 0]  # an answer of exactly 0 is none
        note = ""
        if not found:
            note = f"The unit is dead: none of the {index.count:,} images that were scanned excites it."
        elif all(patch.pixels is None for patch in found):
            note, found = _why_missing(index, found), []
        return TopPictures(wish.layer, wish.unit, index.root, tuple(found), wish.method, note=note)

    def _from_jpegs(self, wish: Wish) -> TopPictures | None:
        """The original toolbox's pictures, of which neither values nor photos are known; None if it has none of the unit."""
        root = self._folder(self._network).parent
        whole = read_jpeg(root, TOP, wish.layer, wish.unit)
        if whole is None:
            return None
        found = [Patch(-1, "", 0, 0, math.nan, (0, 0, *part.shape[1::-1]), part) for part in thirds(whole)]
        pictures = TopPictures(wish.layer, wish.unit, "", tuple(found), wish.method)
        if wish.method not in ("deconv", self._network.telling_backward):
            return replace(pictures, backward_note="the original toolbox's folders hold deconvs only")
        whole = read_jpeg(root, DECONV, wish.layer, wish.unit)
        if whole is None:
            return replace(pictures, backward_note=f"no {DECONV} of this unit in {root}")
        around_gray = [part.astype(np.float32) / 127.5 - 1 for part in thirds(whole)]
        return replace(pictures, method="deconv", backward=tuple(around_gray))

    def _keep(self, wish: Wish, pictures: TopPictures) -> None:
        """To be called with `_changed` held, and with pictures from the index that is open."""
        if not pictures.patches or any(
            patch.pixels is None for patch in pictures.patches
        ):  # may be there the next time
            return
        self._cache[wish] = pictures
        self._cache.move_to_end(wish)
        while len(self._cache) > 1 and sum(map(_size, self._cache.values())) > CACHE:
            self._cache.popitem(last=False)

    # ---- backward images ---------------------------------------------------------------------

    def _carry(self) -> None:
        be_patient()
        mine, replica = None, None
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._wish == self._done != self._carried)
                wish = self._wish
                if not self._stopping:
                    self._changed.wait_for(
                        lambda: self._stopping or self._wish != wish, self._wished + QUIET - time.monotonic()
                    )
                if self._stopping:
                    return
                if self._wish != wish:
                    continue
                network, begun, photos, stamp = self._network, self._pictures, self._photos, self._stamp
            pictures = begun
            try:
                if network is not mine:
                    import torch

                    mine, replica = network, network.replica()
                    workers, threads = cpu_plan()
                    torch.set_num_threads(workers * threads if network.device.type == "cpu" else 1)
                backward = self._backward(replica, wish, pictures, photos)
                if wish.or_deconv and not any(image is not None and image.any() for image in backward):
                    wished = replace(wish, method="deconv")
                    pictures, backward = (
                        replace(pictures, method="deconv"),
                        self._backward(replica, wished, pictures, photos),
                    )
                pictures = replace(pictures, backward=backward)
            except BaseException as error:  # out of memory, or whatever a network's code raises, be it `sys.exit`
                pictures = replace(pictures, backward_note=words(error))
            with self._changed:
                if self._pictures is begun:  # else they are of an older wish, index or network
                    self._pictures, self._carried = pictures, wish
                if pictures.backward and self._stamp is stamp:
                    self._keep(wish, pictures)

    def _backward(self, network: Network, wish: Wish, pictures: TopPictures, photos: Photos | None) -> tuple:
        from deepvis.scan.patch_backward import patch_backward

        seen = [patch for patch in pictures.patches if patch.pixels is not None]
        whole_photos = pictures.seen or [photos.read(patch.image) for patch in seen]
        boxes = [patch.box for patch in seen]
        whole = (0, 0, network.input.width, network.input.height)
        # From the place alone whose patch is shown; where that is all of the photo, from all of the map, as live.
        cells = None if all(box == whole for box in boxes) else [(patch.row, patch.column) for patch in seen]
        images: list[np.ndarray] = []
        for first in range(0, len(seen), AT_A_TIME):
            some = slice(first, first + AT_A_TIME)
            with MUCH_MEMORY:
                images += patch_backward(
                    network, whole_photos[some], wish.layer, wish.unit, wish.method, boxes[some], cells and cells[some]
                )
        made = iter(images)
        return tuple(None if patch.pixels is None else next(made) for patch in pictures.patches)


def _why_missing(index: Index, found: list[Patch]) -> str:
    missing = index.missing(among=[patch.image for patch in found])
    if not missing:
        return found[0].error
    return (
        f"Photos of the index are not in {index.root}: {', '.join(missing[:3])}{' …' if len(missing) > 3 else ''}. "
        "deepvis scan --images DIR, with the folder that they are in now, finds them again."
    )


def _size(pictures: TopPictures) -> int:
    arrays = [patch.pixels for patch in pictures.patches] + list(pictures.backward) + list(pictures.seen)
    return sum(array.nbytes for array in arrays if array is not None)
