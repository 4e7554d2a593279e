"""A worker's own replica of the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepvis.networks.network import Network


class OwnReplica:
    """Keeps a replica of the network that was asked for last, for one thread alone."""

    def __init__(self) -> None:
        self._original: Network | None = None
        self._replica: Network | None = None

    def of(self, network: Network) -> Network:
        """The replica of this network; made if the network is another one than before."""
        if self._replica is None or network is not self._original:
            self._original = self._replica = None  # before another one takes memory
            self._original, self._replica = network, network.replica()
        return self._replica


def leave_cores(network: Network) -> None:
    """Let torch use only half of the cores in this thread if the network runs on them: the rest is the live view's."""
    from deepvis.core.runtime import cores
    from deepvis.networks.threads import use_threads

    if network.device.type == "cpu":
        use_threads(max(1, cores() // 2))
