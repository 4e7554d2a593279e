"""The workers that load or compute images and statistics of units.

The loop uses these workers only through this module, which sends them the state's requests and collects what they have
found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepvis.app.scene import Findings
from deepvis.attribution.requests import Result
from deepvis.core import paths
from deepvis.core.errors import UserError
from deepvis.core.frames import Frame
from deepvis.core.layers import stands_for
from deepvis.core.receptive_field import ReceptiveField
from deepvis.interface.requests import (
    curves_wish,
    dream_wish,
    facets_wish,
    growth_by_itself,
    growth_wish,
    layer_images_wish,
    moments_wish,
    nearest_wish,
    prior_wish,
    remembered_wish,
    top_images_wish,
    unit_images_wish,
    weights_wish,
)
from deepvis.interface.settings import DreamSettings
from deepvis.interface.state import State
from deepvis.scan.index import index_folder
from deepvis.scan.moments import live_folder
from deepvis.store.original_folders import open_pictures
from deepvis.store.own_images import own_folder
from deepvis.store.unit_images import forget_provisional, open_store
from deepvis.workers.dreams import DreamWorker
from deepvis.workers.facets import FacetsWorker
from deepvis.workers.input_weights import InputWeightsWorker
from deepvis.workers.layer_images import LayerImagesWorker, OpenIndex
from deepvis.workers.leisure import Leisure
from deepvis.workers.messages import Grown, GrowthWish, TopPictures
from deepvis.workers.method_curves import CurvesWorker
from deepvis.workers.moments import MomentsWorker
from deepvis.workers.nearest import NearestWorker
from deepvis.workers.own_scan import OwnScanWorker, ScanWish
from deepvis.workers.picture_messages import DreamWish
from deepvis.workers.prior_watch import PriorWatchWorker
from deepvis.workers.remembered import RememberedWorker
from deepvis.workers.synthesizer import GrowthWorker, keep_by_itself, keep_grown
from deepvis.workers.top_images import TopImagesWorker
from deepvis.workers.unit_images import StoredImages, UnitImagesWorker
from deepvis.workers.worker import WishOf

if TYPE_CHECKING:
    from deepvis.networks.network import Network


class UnitWorkers:
    """The workers. Each starts its thread with its first request. No method waits, except `keep` and those that close.

    Attributes:
        unit_images: reads stored images.
        top_images: cuts top images and computes their backward images.
        layer_images: cuts the top image of each unit of a layer, and reads statistics.
        moments: collects moments.
        growth: synthesizes images.
        input_weights: computes which units feed a unit.
        own_scan: scans the photos of a network without an index.
        remembered: rebuilds the picture in view from a layer's code.
        dreams: dreams the picture in view.
        facets: reads or makes the selected unit's facets.
        curves: measures the backward methods on the picture in view.
        prior_watch: watches the training of a layer's prior.
        nearest: finds the photos nearest to the selected unit's images.
        leisure: says when work that nobody asked for may go on.
    """

    def __init__(
        self,
        network: Callable[[], Network | None],
        is_busy: Callable[[], bool] = lambda: False,
        fields: Callable[[], Mapping[str, ReceptiveField]] = dict,
        grow: bool = False,
    ) -> None:
        """
        Args:
            network: returns the network, None while it loads.
            is_busy: whether the network computes for the live view.
            fields: returns the receptive fields that are known already, by layer.
            grow: images may grow that the user has not asked for.
        """
        self._network, self._grow = network, grow
        self.leisure = Leisure(is_busy)
        self.unit_images = UnitImagesWorker(self._open_store)
        self.own_scan = OwnScanWorker(self.leisure, fields)
        self.facets = FacetsWorker(fields, self._is_scanning)
        self.top_images = TopImagesWorker(
            lambda network: index_folder(paths.precomputed(), network.name), self.own_scan.index
        )
        self.layer_images = LayerImagesWorker()
        self.moments = MomentsWorker()
        self.input_weights = InputWeightsWorker()
        self.growth = GrowthWorker(self.leisure, self._keep_by_itself)
        self.remembered = RememberedWorker()
        self.dreams = DreamWorker()
        self.curves = CurvesWorker()
        self.prior_watch = PriorWatchWorker()
        self.nearest = NearestWorker()
        self._dream: DreamWish | None = None  # the newest request
        self._wanted_scan: WishOf[Network, ScanWish] | None = None
        self._decided_for: Network | None = None  # the network for which it is known whether to scan
        self._cannot_keep = ""  # why images that grow by themselves cannot be stored

    def _open_store(self) -> StoredImages:
        network = self._network()
        if network is None:
            raise RuntimeError("pictures are asked for without a network")
        return open_pictures(network.name, network.fingerprint, network.paths)

    # -- what is wanted ---------------------------------------------------------------------------

    def want_stored(self, state: State, network: Network, cells: Sequence[int], side: int) -> None:
        """Request the stored images, top images and statistics that the state shows.

        Args:
            cells, side: the units that the layer pane has room for, and the side of their cells in pixels.
        """
        layers = network.layers
        self.unit_images.want(unit_images_wish(state, layers, cells, side))
        top = top_images_wish(state, layers, network.telling_backward, self.moments.top)
        self.top_images.want(WishOf(network, top))
        wish = weights_wish(state, layers)
        self.input_weights.want(None if wish is None else WishOf(network, wish))
        of_layer = layer_images_wish(state, layers, cells, side, self.input_weights.answer)
        self.layer_images.want(WishOf(self.top_images.opened, of_layer))
        facets = facets_wish(state, layers)
        self.facets.want(WishOf(network, facets) if facets else None)
        prior = prior_wish(state, layers)
        self.prior_watch.want(WishOf(network, prior) if prior is not None else None)

    def want_pictures(self, state: State, network: Network, frame: Frame | None, settings: DreamSettings) -> None:
        """Request what the state shows of the picture in view: what a layer remembers of it or dreams of it, or which
        backward method is true for it.

        Args:
            frame: the picture in view; None before there is one.
        """
        remembered = remembered_wish(state, network.layers, frame)
        self.remembered.want(WishOf(network, remembered) if remembered else None)
        self._dream = dream_wish(state, network.layers, frame, settings, self._dream)
        self.dreams.want(WishOf(network, self._dream) if self._dream else None)
        curves = curves_wish(state, network.layers, frame)
        self.curves.want(WishOf(network, curves) if curves else None)
        nearest = nearest_wish(state, network.layers, *self._images(state, network))
        self.nearest.want(WishOf(network, nearest) if nearest else None)

    def _images(self, state: State, network: Network) -> tuple[Sequence[np.ndarray], int | None]:
        """The selected unit's images, the growing ones first, and how many steps these have made."""
        own, grown = (stands_for(network.layers, state.layer), state.unit), self.growth.answer
        if grown is not None and grown.images and (grown.wish.layer, grown.wish.unit) == own:
            return grown.images, grown.steps
        pictures = self.unit_images.answer
        return (pictures.synthesized if pictures and (pictures.layer, pictures.unit) == own else ()), None

    def want_scan(self, network: Network, folder: Path | None) -> None:
        """Scan by itself if this network has no index; if it has begun, go on.

        Args:
            folder: the folder of images in view; None if something else is.
        """
        opened = self.top_images.opened
        if self._decided_for is not network and opened != OpenIndex():
            self._wanted_scan = WishOf(network, ScanWish(folder)) if opened.index is None else None
            self._decided_for = network
        self.own_scan.want(self._wanted_scan)

    def want_made(
        self,
        state: State,
        network: Network,
        cells: Sequence[int],
        side: int,
        field: ReceptiveField | None,
        may_grow: bool = False,
    ) -> None:
        """Request the images to synthesize, and the collected moments that the state shows.

        Args:
            field: the receptive field of the selected layer's units; None if it is not known yet, or for a vector.
            may_grow: images may grow by themselves now.
        """
        self.want_growth(state, network, cells, may_grow)
        if state.moments:
            self.moments.want(moments_wish(state, network.layers, cells, side, field))

    def want_growth(self, state: State, network: Network, cells: Sequence[int] = (), may_grow: bool = False) -> None:
        """Request the images to synthesize. Arguments as in `want_made`."""
        growth = growth_wish(state, network.layers)
        if growth is None and may_grow and self._grow:
            growth = self._growth_by_itself(state, network, cells)
        self.growth.want(WishOf(network, growth) if growth else None)

    def _is_scanning(self) -> bool:
        scanning = self.own_scan.answer
        return scanning is not None and not scanning.is_over

    def _growth_by_itself(self, state: State, network: Network, cells: Sequence[int]) -> GrowthWish | None:
        """What grows by itself now; nothing before the scan has ended, which is of more use."""
        records = self.unit_images.records
        if records is None or self._cannot_keep or self._is_scanning():
            return None
        return growth_by_itself(state, network.layers, cells, records)

    def collect(self, result: Result, network: Network) -> None:
        """Add a result with peaks to the collection."""
        self.moments.take(result, network.layers, (network.input.width, network.input.height))

    # -- what they have ---------------------------------------------------------------------------

    def findings(self) -> Findings:
        """Everything that was read from the disk, or made on demand."""
        layer = self.layer_images
        return Findings(
            self.unit_images.answer,
            self.growth.answer,
            self.top_images.answer,
            layer.cells,
            layer.statistics,
            weights=self.input_weights.answer,
            remembered=self.remembered.answer,
            dream=self.dreams.answer,
            facets=self.facets.answer,
            curves=self.curves.answer,
            prior=self.prior_watch.answer,
            nearest=self.nearest.answer,
        )

    def findings_for(self, state: State) -> Findings:
        """What the state shows, with the top images of the data set or the collected moments."""
        cells = self.moments.cells if state.moments else self.layer_images.cells
        shown, statistics = self._top_pictures(state), self.layer_images.statistics
        return Findings(
            self.unit_images.answer,
            self.growth.answer,
            shown,
            cells,
            statistics,
            self.own_scan.answer,
            self.input_weights.answer,
            self.remembered.answer,
            self.dreams.answer,
            self.facets.answer,
            self._grow and not self._cannot_keep,
            self.curves.answer,
            self.prior_watch.answer,
            self.nearest.answer,
        )

    def _top_pictures(self, state: State) -> TopPictures | None:
        """The selected unit's top images or moments, with their backward images once they are there."""
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
        """Put synthesized images into the user's own store; return a message that says so. Waits for the disk."""
        store = open_store(own_folder(paths.precomputed().own, network.name), network.fingerprint, network.name)
        done = keep_grown(grown, store, network)
        self.unit_images.renew()
        return done

    def _keep_by_itself(self, grown: Grown, network: Network) -> None:
        """Put images that grew by themselves into the user's own store; where that fails, no more grow."""
        try:
            folder = own_folder(paths.precomputed().own, network.name)
            forget_provisional(folder, network.fingerprint)
            store = open_store(folder, network.fingerprint, network.name)
            keep_by_itself(grown, store, network)
        except UserError as error:
            self._cannot_keep = str(error)
        self.unit_images.renew()

    def keep_moments(self, network: Network, stamp: str, say: Callable[[str, bool], None]) -> None:
        """Save the collected moments in a new folder; `say` is called with a message from another thread."""
        folder = live_folder(paths.precomputed().own, network.name) / stamp
        self.moments.save(folder, network.name, network.fingerprint, say)

    # -- the end ------------------------------------------------------------------------------------

    @property
    def closing(self) -> tuple[Callable[..., bool], ...]:
        """The functions that stop the workers that have nothing to save."""
        workers = (
            self.unit_images,
            self.growth,
            self.top_images,
            self.layer_images,
            self.input_weights,
            self.remembered,
            self.dreams,
            self.facets,
            self.curves,
            self.prior_watch,
            self.nearest,
        )
        return tuple(worker.close for worker in workers)

    @property
    def are_over(self) -> bool:
        """Whether no thread runs the network any more."""
        running = (
            self.growth,
            self.top_images,
            self.own_scan,
            self.input_weights,
            self.remembered,
            self.dreams,
            self.facets,
            self.curves,
            self.nearest,
        )
        return all(one.close(0) for one in running)
