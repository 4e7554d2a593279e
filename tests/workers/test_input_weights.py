"""The weights of the newest wish, computed in a thread of its own."""

from __future__ import annotations

import pytest
import small
from waiting import until

from deepvis.networks import input_weights as module
from deepvis.workers.input_weights import InputWeightsWorker
from deepvis.workers.messages import InputWeightsWish
from deepvis.workers.worker import WishOf


@pytest.fixture
def worker():
    one = InputWeightsWorker()
    yield one
    one.close()


def test_weights_come_once_and_are_kept(worker: InputWeightsWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    network, runs = small.network(), []
    of = module.InputWeightsOf.of
    monkeypatch.setattr(module.InputWeightsOf, "of", lambda self, *unit: (runs.append(unit), of(self, *unit))[1])
    for unit in (2, 3, 2):
        worker.want(WishOf(network, InputWeightsWish("odd", unit)))
        found = until(lambda: worker.answer)
        assert (found.layer, found.unit, found.layers, found.count) == ("odd", unit, ("pool",), 7)
    assert runs == [("odd", 2), ("odd", 3)]


def test_a_network_that_raises_says_why(worker: InputWeightsWorker) -> None:
    worker.want(WishOf(small.network(), InputWeightsWish("odd", 99)))
    assert "99" in until(lambda: worker.answer).note
