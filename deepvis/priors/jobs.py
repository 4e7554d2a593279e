"""A training run: from photos to a stored prior, with checkpoints; in one or several processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from deepvis import __version__
from deepvis.core.errors import UserError, words
from deepvis.core.files import beside, writing
from deepvis.core.interrupt import Interrupted, postponed
from deepvis.core.picture_files import write
from deepvis.core.processes import share
from deepvis.networks.network import Network
from deepvis.priors.photos import PhotoPool
from deepvis.priors.training import Average, HeldOut, Trainer, TrainingPlan, sized_layer
from deepvis.store.priors import CHECKPOINT, PRIOR, RECONSTRUCTIONS, save_prior
from deepvis.store.training_records import (
    ENDED,
    PREPARING,
    STOPPED,
    TRAINING,
    Diary,
    HeldOutLook,
    TrainingRecord,
    alone_in,
    read_record,
)
from deepvis.synthesis.generator import as_stored

CHECKPOINT_EVERY = 60.0  # seconds between checkpoints, and between pictures of reconstructions


@dataclass(frozen=True)
class Limits:
    """When a run ends at the latest; 0: no limit."""

    steps: int = 0
    minutes: float = 0.0

    def spent(self, steps: int, minutes: float) -> float:
        """The share of the limit that is spent."""
        return max(steps / self.steps if self.steps else 0.0, minutes / self.minutes if self.minutes else 0.0)


@dataclass
class Trained:
    """What came of a run.

    Attributes:
        closed_form, generator: how good both are at photos set aside.
        steps, minutes: how long it took, with what was done before.
        why: why it ended.
        history: (minutes, held out) at each look of this run.
    """

    closed_form: HeldOut
    generator: HeldOut
    steps: int
    minutes: float
    why: str
    history: list[tuple[float, HeldOut]] = field(default_factory=list)


def train(
    network: Network, pool: PhotoPool, plan: TrainingPlan, limits: Limits, folder: Path, command: str = ""
) -> Trained:
    """Train a prior into a folder; a run that was stopped goes on from its checkpoint there.

    Args:
        command: the command line that goes on, for who watches.
    Raises:
        UserError: see `Trainer`; the folder cannot be written, or another process trains there.
        Interrupted: after Ctrl-C, with a checkpoint written.
    """
    rank, world = share()
    if plan.batch % world:
        raise UserError(f"--batch {plan.batch}: expected a multiple of the number of processes, {world}")
    sized_layer(network, plan.layer, plan.size)
    with alone_in(folder, rank > 0), _watched(network, pool, plan, folder, command, rank > 0) as diary:
        with _processes(network, world) as average:
            trainer = Trainer(network, pool, plan, rank, world, average)
            run = _Run(trainer, limits, folder, rank, world, diary)
            run.begin()
            return run.go()


@contextmanager
def _watched(
    network: Network, pool: PhotoPool, plan: TrainingPlan, folder: Path, command: str, is_hidden: bool
) -> Iterator[Diary]:
    """What says how the training goes; if it cannot begin, what was said before stands again."""
    counts = len(pool.training), len(pool.held_out)
    new = TrainingRecord(network.name, str(network.fingerprint), plan.layer, plan.size, *counts, command)
    before = _read(folder)
    same = before is not None and (before.fingerprint, before.layer) == (new.fingerprint, new.layer)
    diary = Diary(folder, new, is_hidden)
    diary.write(replace(before, status=PREPARING, why="", command=command) if before and same else new)
    try:
        yield diary
    except BaseException as error:
        if diary.record.status == PREPARING:
            diary.write(before or replace(new, status=STOPPED, why=words(error)))
        elif diary.record.is_open:
            diary.write(replace(diary.record, status=STOPPED, why=words(error)))
        raise


def _read(folder: Path) -> TrainingRecord | None:
    try:
        return read_record(folder)
    except UserError:
        return None


@contextmanager
def _processes(network: Network, world: int) -> Iterator[Average]:
    """What averages tensors over the processes that torchrun has started."""
    if world == 1:
        yield lambda tensors: None
        return
    import torch.distributed as dist

    dist.init_process_group("nccl" if network.device.type == "cuda" else "gloo")

    def average(tensors: Sequence[Tensor]) -> None:
        flat = torch.cat([tensor.flatten().float() for tensor in tensors])
        dist.all_reduce(flat)
        flat /= world
        for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors])):
            tensor.copy_(part.view_as(tensor))

    try:
        yield average
    finally:
        dist.destroy_process_group()


class _Run:
    def __init__(self, trainer: Trainer, limits: Limits, folder: Path, rank: int, world: int, diary: Diary) -> None:
        self._trainer, self._limits, self._folder, self._diary = trainer, limits, folder, diary
        self._rank, self._world = rank, world
        self._before, self._start = 0.0, time.monotonic()  # minutes of earlier runs
        self._history: list[tuple[float, HeldOut]] = []

    @property
    def _minutes(self) -> float:
        return self._before + (time.monotonic() - self._start) / 60

    def begin(self) -> None:
        """Go on from the checkpoint if there is one of the same training."""
        if (self._folder / CHECKPOINT).is_file():
            self._go_on(self._folder / CHECKPOINT)
        now, said = self._trainer.progress, self._diary.record
        base = self._trainer.closed_form
        self._diary.write(
            replace(
                said,
                status=TRAINING,
                closed_form=HeldOutLook(0, 0.0, 0, base.psnr, base.features, 1.0),
                looks=tuple(one for one in said.looks if one.step <= now.step),
                phase=now.phase,
            )
        )
        self._draw()

    def _go_on(self, path: Path) -> None:
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            fits = self._trainer.fits(state)
            if fits:
                self._trainer.resume(state)
                self._before = float(state["minutes"])
        except Exception as error:  # a damaged file raises anything
            raise UserError(f"{path}: is damaged. Remove it to train from the start") from error
        if not fits:
            raise UserError(f"{path}: is of another training ({_of(state)}). Remove it, or give the same options")
        self._trainer.progress.over = ""

    def go(self) -> Trained:
        """Train until the limit, or until it no longer helps."""
        trainer, saved = self._trainer, time.monotonic()
        now = trainer.progress
        hidden, total = self._rank > 0, self._limits.steps or None
        with postponed() as interrupted, tqdm(total=total, initial=now.step, unit="step", disable=hidden) as bar:
            while not (over := self._over(interrupted)):
                before = trainer.progress.step
                trainer.step()
                if trainer.progress.step % trainer.looks_every == 0:
                    self._look(*self._agreed(self._spent))
                    bar.set_postfix_str(self._said())
                bar.update(trainer.progress.step - before)
                if time.monotonic() - saved > CHECKPOINT_EVERY:
                    self._save()
                    saved = time.monotonic()
                self._diary.glance(trainer.progress.step, self._minutes, self._spent)
            if trainer.progress.step % trainer.looks_every and not interrupted():
                self._look(0.0)
            self._save()
            number = interrupted()
            self._end(over, STOPPED if number is not None else ENDED)
            if number is not None:
                raise Interrupted(number)
        held_out = trainer.held_out
        return Trained(trainer.closed_form, held_out, trainer.progress.step, self._minutes, over, self._history)

    def _look(self, spent: float) -> None:
        """HeldOutLook at the photos set aside, and note what is seen."""
        trainer = self._trainer
        phase = trainer.progress.phase
        trainer.take_stock(spent)
        now, seen, minutes = trainer.progress, trainer.newest, self._minutes
        self._history.append((minutes, trainer.held_out))
        look = HeldOutLook(now.step, minutes, phase, seen.psnr, seen.features, seen.against(trainer.closed_form))
        said = replace(self._diary.record, step=now.step, minutes=minutes, phase=now.phase, spent=self._spent)
        self._diary.write(said.with_look(look))

    def _end(self, why: str, status: str) -> None:
        step, minutes = self._trainer.progress.step, self._minutes
        said = replace(self._diary.record, step=step, minutes=minutes, spent=self._spent)
        self._diary.write(replace(said, status=status, why=why))

    def _over(self, interrupted: Callable[[], int | None]) -> str:
        """Why the run ends now; empty: it goes on. All processes decide the same."""
        now = self._trainer.progress
        if now.over:
            return now.over
        stopped, spent = self._agreed(float(interrupted() is not None), self._spent)
        if stopped:
            return "it was stopped"
        return "its limit is reached" if spent >= 1 else ""

    @property
    def _spent(self) -> float:
        return self._limits.spent(self._trainer.progress.step, self._minutes)

    def _agreed(self, *numbers: float) -> tuple[float, ...]:
        """The means over all processes, whose clocks differ."""
        if self._world == 1:
            return numbers
        values = torch.tensor(numbers, device=self._trainer.device)
        self._trainer.average([values])
        return tuple(values.tolist())

    def _said(self) -> str:
        found, base = self._trainer.held_out, self._trainer.closed_form
        phase = "adversarial" if self._trainer.progress.phase else "pixels and features"
        return f"{phase}, {found.psnr:.2f} dB ({base.psnr:.2f}), features {found.features:.3f} ({base.features:.3f})"

    def _save(self) -> None:
        """Write checkpoint, prior and pictures."""
        if self._rank:
            return
        trainer = self._trainer
        path = self._folder / CHECKPOINT
        with writing(path, "Free some space there, or name another folder with --out"), beside(path) as file:
            torch.save({**trainer.state(), "minutes": self._minutes}, file)
        layer = sized_layer(trainer.network, trainer.plan.layer, trainer.plan.size)
        stored = as_stored(trainer.network, layer, trainer.result(), said_of(trainer))
        save_prior(self._folder / PRIOR, stored)
        self._draw()

    def _draw(self) -> None:
        """Write the pictures of photos set aside."""
        if not self._rank:
            write(self._folder / RECONSTRUCTIONS, sheet(self._trainer.reconstructions()))


def said_of(trainer: Trainer) -> dict[str, Any]:
    """What a prior's file says of its training; nothing that differs between two runs that do the same."""
    found, base = trainer.held_out, trainer.closed_form
    return {
        "size": trainer.plan.size,
        "photos": len(trainer.pool.training),
        "held_out": len(trainer.pool.held_out),
        "steps": trainer.progress.step,
        "psnr": round(found.psnr, 3),
        "features": round(found.features, 4),
        "closed_form": {"psnr": round(base.psnr, 3), "features": round(base.features, 4)},
        "deepvis": __version__,
    }


def sheet(rows: Tensor) -> np.ndarray:
    """Rows of pictures, uint8 R×N×3×H×W, as one picture, BGR."""
    pictures = rows.permute(0, 1, 3, 4, 2).cpu().numpy()[..., ::-1]
    return np.ascontiguousarray(np.concatenate([np.concatenate(list(row), 1) for row in pictures], 0))


def _of(state: dict[str, Any]) -> str:
    plan = state.get("plan")
    return ", ".join(f"{name} {value}" for name, value in plan.items()) if isinstance(plan, dict) else "unknown"
