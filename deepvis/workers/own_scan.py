"""The scan that the window makes by itself, if a network has no index."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deepvis.core import paths
from deepvis.core.errors import UserError
from deepvis.core.marks import same_network
from deepvis.core.receptive_field import ReceptiveField
from deepvis.inputs.datasets import Images, find_images
from deepvis.scan.index import INDEX, STATE, Index, scan_folder
from deepvis.scan.index_file import load
from deepvis.store.original_folders import TOP
from deepvis.workers.leisure import Leisure
from deepvis.workers.messages import Scanning
from deepvis.workers.worker import Task, WishOf, Worker

if TYPE_CHECKING:
    from deepvis.networks.network import Network
    from deepvis.scan.options import Options

FEW = 30  # images of a folder in view; of fewer, every unit would have about the same top images
BATCH = 16  # also on a GPU, so that a batch ends soon
CORRELATION = 1 << 30  # bytes of statistics with which correlations are computed, too


@dataclass(frozen=True)
class ScanWish:
    """A request to scan.

    Attributes:
        folder: the folder of images in view; None if something else is.
    """

    folder: Path | None = None


class OwnScanWorker(Worker["WishOf[Network, ScanWish]", Scanning]):
    """Scans as `deepvis scan` does, into the user's own folder, with one thread that keeps out of the way.

    It goes on with a scan that it has begun earlier, and saves what it has when it is closed or no longer wanted. The
    index is provisional: a scan that the user asks for may replace it.
    """

    has_low_priority = True
    modules = ("deepvis.scan.scan",)

    def __init__(self, leisure: Leisure, fields: Callable[[], Mapping[str, ReceptiveField]] = dict) -> None:
        """
        Args:
            fields: returns the receptive fields that are known already, by layer.
        """
        super().__init__()
        self._leisure, self._fields = leisure, fields
        self._index: tuple[Network, Index] | None = None

    def index(self, network: Network) -> Index | None:
        """The index of this network so far; None if there is none, or when the scan is over."""
        with self._changed:
            return self._index[1] if self._index is not None and self._index[0] is network else None

    def failed(self, wish: WishOf[Network, ScanWish], why: str) -> Scanning:
        return Scanning(error=why, is_over=True)

    def work(self, task: Task[WishOf[Network, ScanWish]]) -> Generator[Scanning, None, None]:
        from deepvis.networks.capture import Abandoned
        from deepvis.networks.threads import use_threads
        from deepvis.scan.options import Companion
        from deepvis.scan.scan import scan

        use_threads(1)  # of this thread and those that the scan starts
        network = task.wish.source
        if not lacks_index(network):
            yield Scanning(is_over=True)
            return
        out = scan_folder(paths.precomputed().own, network.name)
        images = _images(out, task.wish.wish, network)

        def is_over() -> bool:
            return not self._is_wanted(task)

        def progress(done: int, left: int, broken: int) -> None:
            self._hand_out(task, Scanning(len(images.names) - left + done, len(images.names)))

        companion = Companion(
            lambda: self._leisure.rest(is_over), is_over, lambda index: self._keep(network, index), self._fields
        )
        yield Scanning(_scanned(out, network), len(images.names))
        try:
            scan(network, images, out, options=_options(network), progress=progress, companion=companion)
        except Abandoned:
            return
        finally:
            self._keep(network, None)
        yield Scanning(len(images.names), len(images.names), is_over=True)

    def _keep(self, network: Network, index: Index | None) -> None:
        with self._changed:
            self._index = None if index is None else (network, index)


def lacks_index(network: Network) -> bool:
    """Whether the window may scan by itself: the user has not scanned with a network of this name, and has none of the
    original toolbox's folders. A provisional index of another network, such as one that was trained further, counts as
    none."""
    out = scan_folder(paths.precomputed().own, network.name)
    if (out.parent / TOP).is_dir():
        return False
    if not (out / INDEX).exists():
        return True
    index, size = load(out / INDEX), (network.input.width, network.input.height)
    fits = same_network(index.fingerprint, network.fingerprint)
    fits &= (index.settings["width"], index.settings["height"]) == size
    return index.is_provisional and not fits and (out / STATE).exists()


def _scanned(out: Path, network: Network) -> int:
    """How many images an earlier scan has scanned that this one goes on with."""
    state = load(out / STATE) if (out / STATE).exists() else None
    if state is None or not same_network(state.fingerprint, network.fingerprint):
        return 0
    return max((end for _, end in state.scanned), default=0)


def _images(out: Path, wish: ScanWish, network: Network) -> Images:
    """The images to scan: those of the scan that was begun, of the folder in view, or else the bundled photos."""
    state = load(out / STATE) if (out / STATE).exists() else None
    if state is not None and not state.is_provisional:
        raise UserError(
            f"{out}: your scan of {len(state.files):,} images is not finished. The command that began it goes on "
            f"with it: {network.command(f'scan --images {state.root}')}"
        )
    if state is not None and same_network(state.fingerprint, network.fingerprint):
        return _found(Path(state.root), network)
    if wish.folder is not None:
        images = _found(wish.folder, network)
        if len(images.names) >= FEW or network.input.channels > 3:
            return images
    return _found(paths.PHOTOS, network)


def _found(folder: Path, network: Network) -> Images:
    images = find_images(folder)
    return images if network.input.channels > 3 else images.without_arrays()


def _options(network: Network) -> Options:
    """As `deepvis scan` has them, but without correlations if they take much memory."""
    from deepvis.scan.options import Options, demand_memory
    from deepvis.scan.scan import spans_of

    options = Options(batch=BATCH, workers=1, every=30, provisional=True)
    try:
        demand_memory(spans_of(network, [layer.name for layer in network.layers]), options, CORRELATION)
    except UserError:
        return Options(batch=BATCH, workers=1, every=30, provisional=True, correlation=False)
    return options
