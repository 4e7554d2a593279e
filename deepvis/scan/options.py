"""How to scan, and what accompanies a scan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from deepvis.core.errors import UserError
from deepvis.core.receptive_field import ReceptiveField
from deepvis.networks.capture import Abandoned
from deepvis.scan.index import BINS, CHUNK, Index, Span


@dataclass(frozen=True)
class Options:
    """How to scan.

    Attributes:
        k: number of top images to keep for each unit.
        batch: images in a batch; 0 for the device's default. It is halved when memory runs out.
        workers: threads that decode images; None for the default.
        every: seconds between checkpoints.
        rank, world: number of this process, and number of processes that share the images.
        reduce: decode large JPEGs at a fraction of their size.
        weakest: also keep the images with the weakest activations, which takes more time.
        correlation: compute the correlations of the units' responses.
        provisional: nobody asked for this scan, so one that does not fit to it may replace it.
    """

    k: int = 9
    batch: int = 0
    workers: int | None = None
    every: float = 60
    rank: int = 0
    world: int = 1
    reduce: bool = True
    weakest: bool = True
    correlation: bool = True
    provisional: bool = False


USUAL = Options()


@dataclass(frozen=True)
class Companion:
    """Another thread that accompanies a scan: it makes it wait, looks at its results, and may end it.

    Attributes:
        rest: called often in the threads of the scan; it may wait.
        is_over: asked as often; if it returns true, what was scanned is saved and `Abandoned` is raised.
        look: called with the index so far, first after the first batch and then whenever the number of images has
            grown by half.
        fields: returns the receptive fields that are known already, by layer.
    """

    rest: Callable[[], None] = lambda: None
    is_over: Callable[[], bool] = lambda: False
    look: Callable[[Index], None] | None = None
    fields: Callable[[], Mapping[str, ReceptiveField]] = dict

    def gives_up(self) -> bool:
        """As `is_over`, after resting."""
        self.rest()
        return self.is_over()

    def pace(self) -> None:
        """Rest. Raises Abandoned if the scan is to end."""
        if self.gives_up():
            raise Abandoned


ALONE = Companion()


def demand_memory(spans: Sequence[Span], options: Options, most: float) -> None:
    """Raise UserError if the statistics of these layers take more than `most` bytes of memory."""
    needs = {
        s.name: s.units * (4 * CHUNK + 8 * BINS + 100 * options.k + 8 * options.correlation * s.units) for s in spans
    }
    if sum(needs.values()) > most:
        widest = max(needs, key=lambda name: needs[name])
        raise UserError(
            f"a scan of these layers takes {sum(needs.values()) / 1e9:,.1f} GB of memory, {needs[widest] / 1e9:,.1f} "
            f"of them for layer "
            f"{widest}; expected at most {most / 1e9:.1f}. Leave it out (--layers), or scan without the "
            f"correlation of "
            f"units (--no-correlation)"
        )
