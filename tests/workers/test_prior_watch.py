"""The worker that watches the training of a prior in another process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from smallnets import small
from waiting import until

from deepvis.core import paths
from deepvis.core.files import locked
from deepvis.interface.requests import prior_wish
from deepvis.interface.state import State
from deepvis.networks.network import InputSpec
from deepvis.store.priors import prior_folder
from deepvis.store.training_records import LOCK, TRAINING, Diary, HeldOutLook, TrainingRecord
from deepvis.workers import prior_watch
from deepvis.workers.prior_watch import PriorWatchWorker
from deepvis.workers.worker import WishOf


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PriorWatchWorker]:
    monkeypatch.setattr(prior_watch, "LOOK_AGAIN", 0.01)
    paths.use(str(tmp_path))
    made = PriorWatchWorker()
    yield made
    assert made.close()
    paths.use(paths.USUAL)


def test_what_another_process_writes_is_seen(worker: PriorWatchWorker) -> None:
    network = small()
    wish = prior_wish(State(content="prior", layer=1), network.layers)
    assert wish == network.layers[1].name and prior_wish(State(), network.layers) is None
    worker.want(WishOf(network, wish))
    assert until(lambda: worker.answer).record is None
    folder = prior_folder(paths.precomputed().own, network.name, wish)
    record = TrainingRecord(network.name, network.fingerprint, wish, 32, 60, 7, status=TRAINING)
    diary = Diary(folder, record)
    with locked(folder / LOCK):
        diary.write(record)
        until(lambda: worker.answer.record == record and worker.answer.is_running)
        diary.write(record.with_look(HeldOutLook(50, 0.5, 0, 17.0, 1.0, 0.9)))
        until(lambda: worker.answer.record is not None and worker.answer.record.looks)
    until(lambda: not worker.answer.is_running)  # no file has changed since
    worker.want(WishOf(network, network.layers[0].name))
    until(lambda: worker.answer is not None and worker.answer.layer == network.layers[0].name)
    assert worker.answer.record is None
    worker.want(None)
    until(lambda: worker.idle)


def test_why_no_prior_can_be_trained(worker: PriorWatchWorker) -> None:
    gray = small(InputSpec(32, 32, (0.5,), (0.5,)))
    worker.want(WishOf(gray, "conv2"))
    assert "1 channels" in until(lambda: worker.answer).note
    assert replace(worker.answer, note="").record is None
