"""The picture in view, rebuilt from the selected layer's code: at once in closed form, then sharpened by ascent."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING

from cachetools import LRUCache

from deepvis.core import paths
from deepvis.core.errors import UserError
from deepvis.workers.own_replica import OwnReplica, leave_cores
from deepvis.workers.picture_messages import Remembered, RememberedWish
from deepvis.workers.worker import MUCH_MEMORY, Task, WishOf, Worker

if TYPE_CHECKING:
    from deepvis.networks.network import Network
    from deepvis.synthesis.decoder import Decoder
    from deepvis.synthesis.inversion import Code

PUBLISH = 0.3  # seconds between two updates while the picture is sharpened; each costs a pass of the network
KEPT = 4  # decoders that are kept
DEAD = "no gradient reaches the picture: it is not sharpened"


class RememberedWorker(Worker["WishOf[Network, RememberedWish]", Remembered]):
    """Rebuilds the picture of the newest request. A layer's decoder is learned when it is first asked for, and stored.

    For a live picture there is the closed form alone, and an older frame's is shown until the new one is there.
    """

    has_low_priority = True
    modules = ("deepvis.synthesis.inversion", "deepvis.synthesis.decoder")

    def __init__(self) -> None:
        super().__init__()
        self._replica = OwnReplica()
        self._decoders: LRUCache[tuple[str, str], Decoder | None] = LRUCache(KEPT)
        self._note = ""  # why decoders cannot be stored

    def serves(self, answered: WishOf[Network, RememberedWish], wish: WishOf[Network, RememberedWish]) -> bool:
        one, other = answered.wish, wish.wish
        return answered.source is wish.source and (one.layer, one.unit, one.crop) == (
            other.layer,
            other.unit,
            other.crop,
        )

    def failed(self, wish: WishOf[Network, RememberedWish], why: str) -> Remembered:
        return Remembered(wish.wish, note=why, done=True)

    def work(self, task: Task[WishOf[Network, RememberedWish]]) -> Generator[Remembered | None, None, None]:
        from deepvis.networks.capture import Abandoned
        from deepvis.synthesis.inversion import Code, seen_picture

        wish = task.wish.wish
        network = self._replica.of(task.wish.source)
        leave_cores(network)
        seen = seen_picture(network.input, wish.frame.image, wish.crop)
        with MUCH_MEMORY:
            code = Code(network, wish.layer, seen, () if wish.unit is None else (wish.unit,))
        try:
            decoder = self._decoder(task, network, wish.layer)
        except Abandoned:
            return
        begun = Remembered(wish, seen, note=self._note, held_out=decoder.psnr if decoder else float("nan"))
        if decoder is not None:
            with MUCH_MEMORY:
                closed = code.judged(code.decoded(decoder))
            begun = replace(begun, picture=closed.picture, psnr=closed.psnr, error=closed.error)
            yield replace(begun, done=not wish.still)
        elif not wish.still:
            note = (
                f"layer {wish.layer} has too many units for a closed form: freeze the picture, and ascent rebuilds it"
            )
            yield replace(begun, note=note, done=True)
        if wish.still:
            yield from self._sharpened(code, begun)

    def _sharpened(self, code: Code, begun: Remembered) -> Generator[Remembered | None, None, None]:
        from deepvis.synthesis.inversion import Inversion
        from deepvis.synthesis.presets import PRESETS

        recipe, shown = PRESETS["invert"], time.monotonic()
        inversion = Inversion([code], recipe, starts=() if begun.picture is None else [begun.picture])
        while inversion.ascent.count < recipe.steps:
            with MUCH_MEMORY:
                inversion.step()
            if bool(inversion.ascent.dead.all()) and inversion.ascent.count > 1:
                yield replace(begun, note=begun.note or DEAD, done=True)
                return
            done = inversion.ascent.count >= recipe.steps
            if not done and time.monotonic() - shown < PUBLISH:
                yield None
                continue
            with MUCH_MEMORY:
                (now,) = inversion.results()
            yield replace(begun, picture=now.picture, psnr=now.psnr, error=now.error, steps=now.steps, done=done)
            shown = time.monotonic()

    def _decoder(self, task: Task[WishOf[Network, RememberedWish]], network: Network, layer: str) -> Decoder | None:
        """The layer's decoder: kept, stored, or learned now; None if the layer has too many units.

        Raises:
            Abandoned: it was being learned, and another layer is asked for now.
        """
        from deepvis.networks.capture import Abandoned
        from deepvis.synthesis.decoder import can_have_decoder, keep_decoder, learn, photos_for, stored_decoder

        key = network.fingerprint, layer
        if key in self._decoders:
            return self._decoders[key]
        root = paths.precomputed().own
        found = stored_decoder(network, layer, root) if can_have_decoder(network, layer) else None
        if found is None and can_have_decoder(network, layer):

            def pace() -> None:
                with self._changed:
                    if self._stopping or self._wish is None or not self.serves(task.wish, self._wish):
                        raise Abandoned

            def progress(done: int, total: int) -> None:
                words = f"learning what layer {layer} remembers, from {done} of {total} photos …"
                self._hand_out(task, Remembered(task.wish.wish, note=words))

            found = learn(network, [layer], photos_for(network), progress, pace)[layer]
            try:
                keep_decoder(network, found, root)
            except UserError as error:
                self._note = str(error)
        self._decoders[key] = found
        return found
