"""The workers that find out about units: what is stored, what an index has, what is collected, what is synthesized.

The one place of the loop that knows them: it tells each what the state shows, and hands out what they have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from deepvis.app.scene import Findings
from deepvis.attribution.requests import Result
from deepvis.core import paths
from deepvis.core.receptive_field import ReceptiveField
from deepvis.interface.requests import growth_wish, layer_images_wish, moments_wish, top_images_wish, unit_images_wish
from deepvis.interface.state import State
from deepvis.scan.index import index_folder
from deepvis.scan.moments import live_folder
from deepvis.store.original_folders import open_pictures
from deepvis.store.own_images import own_folder
from deepvis.store.unit_images import open_store
from deepvis.workers.layer_images import LayerImagesWorker
from deepvis.workers.messages import Grown, TopPictures
from deepvis.workers.moments import MomentsWorker
from deepvis.workers.synthesizer import GrowthWorker, keep_grown
from deepvis.workers.top_images import TopImagesWorker
from deepvis.workers.unit_images import StoredImages, UnitImagesWorker
from deepvis.workers.worker import WishOf

if TYPE_CHECKING:
    from deepvis.networks.network import Network


class UnitWorkers:
    """Each starts its thread with the first wish; no method but `keep` and those that close waits for anything.

    Attributes:
        unit_images: reads stored images.
        top_images: finds top images, and what flows back to them.
        layer_images: cuts the top image of each unit of a layer, and reads statistics.
        moments: collects moments.
        growth: synthesizes images.
    """

    def __init__(self, model: str, network: Callable[[], Network | None]) -> None:
        """
        Args:
            model: what the user calls the network, for hints.
            network: gives the network as soon as it is there.
        """
        self._network = network
        self.unit_images = UnitImagesWorker(self._open_store)
        self.top_images = TopImagesWorker(lambda network: index_folder(paths.precomputed(), network.name), model)
        self.layer_images = LayerImagesWorker()
        self.moments = MomentsWorker()
        self.growth = GrowthWorker()

    def _open_store(self) -> StoredImages:
        network = self._network()
        if network is None:
            raise RuntimeError("pictures are asked for without a network")
        return open_pictures(network.name, network.fingerprint, network.paths)

    # -- what is wanted ---------------------------------------------------------------------------

    def want_stored(self, state: State, network: Network, cells: range, side: int) -> None:
        """Say which stored images, top images and statistics are shown.

        Args:
            cells, side: units that the layer pane has room for, and how large (pixels).
        """
        layers = network.layers
        self.unit_images.want(unit_images_wish(state, layers, cells, side))
        top = top_images_wish(state, layers, network.telling_backward, self.moments.top)
        self.top_images.want(WishOf(network, top))
        self.layer_images.want(WishOf(self.top_images.opened, layer_images_wish(state, layers, cells, side)))

    def want_made(self, state: State, network: Network, cells: range, side: int, field: ReceptiveField | None) -> None:
        """Say what is to be synthesized, and which of the collected moments are shown.

        Args:
            field: of the selected layer's units, as soon as it is known; None for vectors.
        """
        growth = growth_wish(state, network.layers)
        self.growth.want(WishOf(network, growth) if growth else None)
        if state.moments:
            self.moments.want(moments_wish(state, network.layers, cells, side, field))

    def collect(self, result: Result, network: Network) -> None:
        """Take in a result with peaks."""
        self.moments.take(result, network.layers, (network.input.width, network.input.height))

    # -- what they have ---------------------------------------------------------------------------

    def findings(self) -> Findings:
        """All that comes from the disk."""
        layer = self.layer_images
        return Findings(self.unit_images.answer, None, self.top_images.answer, layer.cells, layer.statistics)

    def findings_for(self, state: State) -> Findings:
        """What the state shows: of a data set, or of the moments that were collected."""
        cells = self.moments.cells if state.moments else self.layer_images.cells
        shown, statistics = self._top_pictures(state), self.layer_images.statistics
        return Findings(self.unit_images.answer, self.growth.answer, shown, cells, statistics)

    def _top_pictures(self, state: State) -> TopPictures | None:
        """The selected unit's top images, or moments, with what flows back to them as soon as it is there."""
        pictures = self.top_images.answer
        is_moments = pictures is not None and bool(pictures.seen)
        if not state.moments:
            return None if is_moments else pictures
        moments = self.moments.top
        if not is_moments or state.collecting or moments is None or pictures is None:
            return moments
        return pictures if (moments.layer, moments.unit) == (pictures.layer, pictures.unit) else moments

    # -- what is kept -------------------------------------------------------------------------------

    def keep(self, grown: Grown, network: Network) -> str:
        """Put images that were synthesized into the user's own store; says what was done. Waits for the disk."""
        store = open_store(own_folder(paths.precomputed().own, network.name), network.fingerprint, network.name)
        done = keep_grown(grown, store, network)
        self.unit_images.renew()
        return done

    def keep_moments(self, network: Network, stamp: str, say: Callable[[str, bool], None]) -> None:
        """Put the moments that were collected into a folder of their own; `say` is told from another thread."""
        folder = live_folder(paths.precomputed().own, network.name) / stamp
        self.moments.save(folder, network.name, network.fingerprint, say)

    # -- the end ------------------------------------------------------------------------------------

    @property
    def closing(self) -> tuple[Callable[[], bool], ...]:
        """What stops each worker that has nothing to save."""
        return self.unit_images.close, self.growth.close, self.top_images.close, self.layer_images.close

    @property
    def are_over(self) -> bool:
        """No thread is in a pass of the network any more."""
        return all(one.close(0) for one in (self.growth, self.top_images))
