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
from deepvis.interface.requests import growth_for, moment_wish_for, overview_wish_for, picture_wish_for, top_wish_for
from deepvis.interface.state import State
from deepvis.scan.index import index_folder
from deepvis.scan.moments import live_folder
from deepvis.store.original_folders import open_pictures
from deepvis.store.own_images import own_folder
from deepvis.store.unit_images import open_store
from deepvis.workers.layer_images import Overview
from deepvis.workers.messages import Grown, TopPictures
from deepvis.workers.moments import Collector
from deepvis.workers.synthesizer import Grower
from deepvis.workers.top_images import Tops
from deepvis.workers.unit_images import Gallery, Pictures

if TYPE_CHECKING:
    from deepvis.networks.network import Network


class UnitWorkers:
    """Each starts its thread with the first wish; no method but `keep` and those that close waits for anything.

    Attributes:
        stored: reads stored images.
        tops: finds top images, and what flows back to them.
        overview: cuts the top image of each unit, and reads statistics.
        collector: collects moments.
        grower: synthesizes images.
    """

    def __init__(self, model: str, network: Callable[[], Network | None]) -> None:
        """
        Args:
            model: what the user calls the network, for hints.
            network: gives the network as soon as it is there.
        """
        self._network = network
        self.stored = Gallery(self._open_store)
        self.tops = Tops(lambda network: index_folder(paths.precomputed(), network.name), model)
        self.overview = Overview()
        self.collector = Collector()
        self.grower = Grower()

    def _open_store(self) -> Pictures:
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
        if wish := picture_wish_for(state, layers, cells, side):
            self.stored.want(wish)
        self.tops.want(network, top_wish_for(state, layers, network.telling_backward, self.collector.tops))
        self.overview.want(self.tops.index, self.tops.note, overview_wish_for(state, layers, cells, side))

    def want_made(self, state: State, network: Network, cells: range, side: int, field: ReceptiveField | None) -> None:
        """Say what is to be synthesized, and which of the collected moments are shown.

        Args:
            field: of the selected layer's units, as soon as it is known; None for vectors.
        """
        self.grower.want(network, growth_for(state, network.layers))
        if state.moments:
            self.collector.want(moment_wish_for(state, network.layers, cells, side, field))

    def collect(self, result: Result, network: Network) -> None:
        """Take in a result with peaks."""
        self.collector.take(result, network.layers, (network.input.width, network.input.height))

    # -- what they have ---------------------------------------------------------------------------

    def findings(self) -> Findings:
        """All that comes from the disk."""
        overview = self.overview
        return Findings(self.stored.pictures, None, self.tops.pictures, overview.cells, overview.statistics)

    def findings_for(self, state: State) -> Findings:
        """What the state shows: of a data set, or of the moments that were collected."""
        cells = self.collector.cells if state.moments else self.overview.cells
        shown = self._top_pictures(state)
        return Findings(self.stored.pictures, self.grower.grown, shown, cells, self.overview.statistics)

    def _top_pictures(self, state: State) -> TopPictures | None:
        """The selected unit's top images, or moments, with what flows back to them as soon as it is there."""
        pictures = self.tops.pictures
        is_moments = pictures is not None and bool(pictures.seen)
        if not state.moments:
            return None if is_moments else pictures
        moments = self.collector.tops
        if not is_moments or state.collecting or moments is None or pictures is None:
            return moments
        return pictures if (moments.layer, moments.unit) == (pictures.layer, pictures.unit) else moments

    # -- what is kept -------------------------------------------------------------------------------

    def keep(self, grown: Grown, network: Network) -> str:
        """Put images that were synthesized into the user's own store; says what was done. Waits for the disk."""
        store = open_store(own_folder(paths.precomputed().own, network.name), network.fingerprint, network.name)
        done = self.grower.keep(grown, store, network)
        self.stored.refresh()
        return done

    def keep_moments(self, network: Network, stamp: str, say: Callable[[str, bool], None]) -> None:
        """Put the moments that were collected into a folder of their own; `say` is told from another thread."""
        folder = live_folder(paths.precomputed().own, network.name) / stamp
        self.collector.save(folder, network.name, network.fingerprint, say)

    # -- the end ------------------------------------------------------------------------------------

    @property
    def closing(self) -> tuple[Callable[[], bool], ...]:
        """What stops each worker that has nothing to save."""
        return self.stored.close, self.grower.close, self.tops.close, self.overview.close

    @property
    def are_over(self) -> bool:
        """No thread is in a pass of the network any more."""
        return all(one.close(0) for one in (self.grower, self.tops))
