"""Building a scene from what the workers have found, for the window and for rendering without one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from deepvis.attribution.requests import Result
from deepvis.core import paths
from deepvis.core.frames import Frame
from deepvis.core.layers import stands_for
from deepvis.core.weights import InputWeights
from deepvis.interface.command import Facts
from deepvis.interface.commands import PALETTE
from deepvis.interface.state import State
from deepvis.render import LoadingScene, Scene, Status
from deepvis.render.scene import Curve
from deepvis.scan.results import Statistics
from deepvis.store.doubts import doubts_of
from deepvis.store.watched_priors import WatchedPrior
from deepvis.workers.messages import Cells, Grown, Scanning, TopPictures, UnitFacets, UnitPictures
from deepvis.workers.nearest_messages import NearestPhotos
from deepvis.workers.picture_messages import DreamView, MethodCurves, Remembered

if TYPE_CHECKING:
    from deepvis.networks.network import Network

HelpRows = tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Findings:
    """What the workers have found about units. Each may still be of the unit or layer selected before; None at first.

    Attributes:
        pictures: stored images.
        grown: images that are being synthesized.
        tops: top images.
        cells: the top image of each unit of a layer.
        statistics: histograms and correlation of a layer's units.
        scanning: how far the scan is that the window makes by itself.
        weights: of the units that feed the selected one.
        remembered: the picture in view, rebuilt from a layer's code.
        dream: the dream so far.
        facets: the selected unit's facets.
        grows_by_itself: images that are not stored grow while nothing else is asked for.
        curves: of the backward methods on the picture in view.
        prior: the selected layer's prior, and how its training goes.
        nearest: the photos nearest to the selected unit's images.
    """

    pictures: UnitPictures | None = None
    grown: Grown | None = None
    tops: TopPictures | None = None
    cells: Cells | None = None
    statistics: Statistics | None = None
    scanning: Scanning | None = None
    weights: InputWeights | None = None
    remembered: Remembered | None = None
    dream: DreamView | None = None
    facets: UnitFacets | None = None
    grows_by_itself: bool = False
    curves: MethodCurves | None = None
    prior: WatchedPrior | None = None
    nearest: NearestPhotos | None = None


def build_scene(
    state: State,
    network: Network | None,
    *,
    frame: Frame | None,
    result: Result | None,
    findings: Findings,
    facts: Facts,
    help: HelpRows,
    keys: Mapping[str, str],
    status: Status,
    busy: bool = False,
    waiting: str = "",
    held: Result | None = None,
    curve: Curve | None = None,
) -> LoadingScene:
    """Build the `Scene` to show, or a `LoadingScene` while there is no network."""
    found = PALETTE.found(state, facts)
    if network is None:
        return LoadingScene(
            state, frame=frame, busy=busy, waiting=waiting, help=help, keys=keys, status=status, found=found
        )
    return Scene(
        state,
        frame=frame,
        busy=busy,
        waiting=waiting,
        help=help,
        keys=keys,
        status=status,
        found=found,
        layers=network.layers,
        classes=network.classes,
        filters=_filters(network, state),
        input_size=(network.input.height, network.input.width),
        result=result,
        held=held,
        curve=curve,
        pictures=findings.pictures,
        grown=findings.grown,
        pictures_of=stands_for(network.layers, state.layer),
        tops=findings.tops,
        cells=findings.cells,
        statistics=findings.statistics,
        scanning=findings.scanning,
        weights=findings.weights,
        remembered=findings.remembered,
        dream=findings.dream,
        facets=findings.facets,
        grows_by_itself=findings.grows_by_itself,
        curves=findings.curves,
        prior=findings.prior,
        nearest=findings.nearest,
        doubts=doubts_of(paths.precomputed(), network.name, network.fingerprint),
    )


def _filters(network: Network, state: State) -> UnitPictures | None:
    return _filters_of(network, network.layers[state.layer].name) if state.content == "weights" else None


@lru_cache(maxsize=8)
def _filters_of(network: Network, layer: str) -> UnitPictures:
    """The same object each time, so that drawings are cached."""
    from deepvis.networks.filters import pixel_filters

    pictures = pixel_filters(network, layer)
    return UnitPictures(layer, 0, cells=pictures, known=bool(pictures))
