"""Deletion and insertion curves of the backward methods for the picture in view, one method after the other."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING

from deepvis.workers.own_replica import OwnReplica, leave_cores
from deepvis.workers.picture_messages import RANDOM_BLOCKS, CurvesWish, MethodCurve, MethodCurves
from deepvis.workers.worker import MUCH_MEMORY, Task, WishOf, Worker

if TYPE_CHECKING:
    from deepvis.networks.network import Network

ORDERS = 3  # random orders whose mean is the floor
PASSES = 16  # of methods of many passes


class CurvesWorker(Worker["WishOf[Network, CurvesWish]", MethodCurves]):
    """Measures the methods of the newest request on its picture, for the class that the network predicts."""

    has_low_priority = True
    modules = ("deepvis.attribution.faithfulness",)

    def __init__(self) -> None:
        super().__init__()
        self._replica = OwnReplica()

    def failed(self, wish: WishOf[Network, CurvesWish], why: str) -> MethodCurves:
        return MethodCurves(wish.wish, note=why, done=True)

    def work(self, task: Task[WishOf[Network, CurvesWish]]) -> Generator[MethodCurves | None, None, None]:
        import numpy as np

        from deepvis.attribution import curves as measured
        from deepvis.attribution.faithfulness import NOTHING
        from deepvis.attribution.methods import METHODS
        from deepvis.core.errors import UserError

        wish, network = task.wish.wish, self._replica.of(task.wish.source)
        leave_cores(network)
        layer, x = measured.class_layer(network), network.see(wish.frame.pixels, wish.crop)
        with MUCH_MEMORY:
            shares = measured.probabilities(network, x)[0]
        unit, hidden = int(shares.argmax()), measured.blurred(x)
        now = MethodCurves(wish, layer, unit, float(shares[unit]))
        shape = measured.block_means(np.zeros(x.shape[2:])).shape

        def curve(name: str, blocks: np.ndarray) -> MethodCurve:
            with MUCH_MEMORY:
                found = [measured.curves(network, x, hidden, [unit], one[None]) for one in blocks]
            deletion, insertion = (
                np.mean([getattr(one, way)[0] for one in found], 0) for way in ("deletion", "insertion")
            )
            return MethodCurve(name, tuple(deletion.tolist()), tuple(insertion.tolist()))

        floor = curve(RANDOM_BLOCKS, np.stack([measured.random_blocks(shape, seed) for seed in range(ORDERS)]))
        now = replace(now, curves=(floor,))
        yield now
        for name in wish.methods:
            try:
                with MUCH_MEMORY:
                    values, note = measured.explain(network, x, layer, [unit], name, PASSES)
                why = NOTHING if METHODS[name].passes > 1 or not note else note  # theirs says only how far they are
                fine = np.isfinite(values).all() and bool(values.any())
                one = curve(name, measured.block_means(values)) if fine else MethodCurve(name, note=why)
            except (UserError, RuntimeError) as error:
                one = MethodCurve(name, note=str(error).partition("\n")[0])
            now = replace(now, curves=(*now.curves, one))
            yield now
        yield replace(now, done=True)
