"""The weights of the units that feed the selected unit, computed when they are asked for."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from cachetools import LRUCache

from deepvis.core.weights import InputWeights
from deepvis.workers.messages import InputWeightsWish
from deepvis.workers.own_replica import OwnReplica
from deepvis.workers.worker import Task, WishOf, Worker

if TYPE_CHECKING:
    from deepvis.networks.input_weights import InputWeightsOf
    from deepvis.networks.network import Network

KEPT = 256  # units whose weights are kept


class InputWeightsWorker(Worker["WishOf[Network, InputWeightsWish]", InputWeights]):
    """Provides the weights of the units that feed a unit."""

    def __init__(self) -> None:
        super().__init__()
        self._replica = OwnReplica()
        self._weights: tuple[Network, InputWeightsOf] | None = None
        self._known: LRUCache[WishOf[Network, InputWeightsWish], InputWeights] = LRUCache(KEPT)

    def failed(self, wish: WishOf[Network, InputWeightsWish], why: str) -> InputWeights:
        return InputWeights(wish.wish.layer, wish.wish.unit, note=why)

    def work(self, task: Task[WishOf[Network, InputWeightsWish]]) -> Generator[InputWeights, None, None]:
        wish = task.wish
        if wish not in self._known:
            self._known[wish] = self._of(wish.source).of(wish.wish.layer, wish.wish.unit)
        yield self._known[wish]

    def _of(self, network: Network) -> InputWeightsOf:
        from deepvis.networks.input_weights import InputWeightsOf
        from deepvis.networks.threads import use_threads

        if self._weights is None or self._weights[0] is not network:
            use_threads(1)
            self._weights = network, InputWeightsOf(self._replica.of(network))
        return self._weights[1]
