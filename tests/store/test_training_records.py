"""What a training writes for who watches it, and what becomes of odd files there."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from deepvis.core.errors import UserError
from deepvis.core.files import locked
from deepvis.core.paths import Places
from deepvis.store import training_records
from deepvis.store.priors import PRIOR, RECONSTRUCTIONS, prior_folder
from deepvis.store.training_records import (
    ENDED,
    LOCK,
    RECORD,
    TRAINING,
    Diary,
    HeldOutLook,
    TrainingRecord,
    alone_in,
    is_training,
    read_record,
)
from deepvis.store.watched_priors import stamp_of, watched

BASE = HeldOutLook(0, 0.0, 0, 16.0, 1.2, 1.0)
RECORD_OF = TrainingRecord("net", "f00", "conv", 32, 60, 7, "deepvis train-prior", TRAINING, closed_form=BASE)


def look(step: int) -> HeldOutLook:
    return HeldOutLook(step, step / 100, int(step > 50), 17.5, 1.1, 0.9)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_record(tmp_path) is None
    diary = Diary(tmp_path, RECORD_OF)
    diary.write(RECORD_OF.with_look(look(50)).with_look(look(100)))
    diary.glance(120, 1.5, 0.4)  # said just now: it is written with the next one
    assert read_record(tmp_path) == replace(RECORD_OF, looks=(look(50), look(100)))
    diary.write(replace(diary.record, status=ENDED, why="its limit is reached"))
    found = read_record(tmp_path)
    assert (found.step, found.minutes, found.spent, found.status) == (120, 1.5, 0.4, ENDED)
    assert found.with_look(look(70)).looks == (look(50), look(70))
    Diary(tmp_path / "hidden", RECORD_OF, is_hidden=True).write(RECORD_OF)
    assert not (tmp_path / "hidden").exists()


def test_what_stands_still_is_written_again_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    diary = Diary(tmp_path, RECORD_OF)
    diary.write(RECORD_OF)
    monkeypatch.setattr(training_records, "_GLANCE", 0.0)
    diary.glance(3, 0.1, 0.0)
    assert read_record(tmp_path).step == 3


@pytest.mark.parametrize(
    "change",
    [
        {"step": -1}, {"step": 1.5}, {"step": True}, {"minutes": "long"}, {"status": "flying"}, {"looks": [1]},
        {"looks": [{"step": 1}]}, {"looks": 7}, {"closed_form": "good"}, {"spent": float("nan")}, {"size": 10**30},
    ],
)  # fmt: skip
def test_a_record_of_odd_values_is_refused_in_words(tmp_path: Path, change: dict[str, object]) -> None:
    (tmp_path / RECORD).write_text(json.dumps({**asdict(RECORD_OF), **change}))
    with pytest.raises(UserError, match=RECORD):
        read_record(tmp_path)


def test_texts_are_one_short_line_each(tmp_path: Path) -> None:
    odd = {"why": "a\nb\x1b[2J", "command": "x" * 10**5}
    (tmp_path / RECORD).write_text(json.dumps({**asdict(RECORD_OF), **odd}))
    found = read_record(tmp_path)
    assert found.why == "a?b?[2J" and len(found.command) == 2000
    for data in (b"", b"[]", b"{}", b"\xff\x00", b"[" * 10**5):
        (tmp_path / RECORD).write_bytes(data)
        with pytest.raises(UserError):
            read_record(tmp_path)


def test_one_process_trains_into_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_records, "_SHORT", 0.0)
    folder = tmp_path / "priors" / "conv"
    assert not is_training(folder)
    with alone_in(folder):
        assert is_training(folder)
        with pytest.raises(UserError, match="another process trains there now"), alone_in(folder):
            pass
    assert not is_training(folder)
    with alone_in(folder):  # it is free again
        pass


def test_what_the_folder_holds(tmp_path: Path) -> None:
    places = Places(tmp_path, tmp_path / "bundled")
    folder = prior_folder(tmp_path, "net", "conv")
    empty, before = watched(places, "net", "f00", "conv"), stamp_of(places, "net", "conv")
    assert empty.record is None and not empty.is_running and not empty.note and empty.pictures.shape[:2] == (3, 0)
    Diary(folder, RECORD_OF).write(RECORD_OF)
    rows = np.random.default_rng(0).integers(0, 256, (3, 4, 8, 8, 3), np.uint8)
    sheet = np.concatenate([np.concatenate(list(row), 1) for row in rows], 0)
    cv2.imwrite(str(folder / "exact.png"), sheet[..., ::-1])
    (folder / "exact.png").rename(folder / RECONSTRUCTIONS)
    after = stamp_of(places, "net", "conv")
    with locked(folder / LOCK):
        running = watched(places, "net", "f00", "conv")
        assert stamp_of(places, "net", "conv") != after  # also where no file has changed
    found = watched(places, "net", "f00", "conv")
    assert before != after and running.is_running and not found.is_running
    assert found.record == RECORD_OF and np.array_equal(found.pictures, rows) and not found.is_foreign
    assert watched(places, "net", "other", "conv").is_foreign
    (folder / RECORD).write_bytes(b"nothing")
    (folder / RECONSTRUCTIONS).write_bytes(b"nothing")
    broken = watched(places, "net", "f00", "conv")
    assert RECORD in broken.note and RECONSTRUCTIONS in broken.note and broken.record is None


def test_priors_that_are_damaged_or_of_another_layer_are_named(tmp_path: Path) -> None:
    places = Places(tmp_path, tmp_path / "bundled")
    for name in ("conv", "fc"):
        folder = prior_folder(tmp_path, "net", name)
        folder.mkdir(parents=True)
        (folder / PRIOR).write_bytes(b"cut off")
    found = watched(places, "net", "f00", "conv")
    assert "cannot be read as a prior" in found.note and found.others == ("fc",)
    Diary(prior_folder(tmp_path, "net", "fc"), RECORD_OF).write(RECORD_OF)
    assert "are of layer conv" in watched(places, "net", "f00", "fc").note
