"""Training of priors: against plain sums, exact resumption, two processes as one, and what may go wrong."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from smallnets import small
from torch import Tensor, nn

from deepvis.core.errors import UserError
from deepvis.core.interrupt import Interrupted
from deepvis.inputs.datasets import find_images
from deepvis.networks.network import InputSpec, Network, prepare
from deepvis.priors import jobs, losses
from deepvis.priors.adam import ManyAdam
from deepvis.priors.jobs import Limits, train
from deepvis.priors.photos import DRAWS, PhotoPool, augmented, read_photos
from deepvis.priors.training import FAILURES, HeldOut, Trainer, TrainingPlan, shifted, sized_layer
from deepvis.store.priors import CHECKPOINT, PRIOR, RECONSTRUCTIONS, load_prior
from deepvis.store.training_records import ENDED, STOPPED, TRAINING, is_training, read_record

PLAN = TrainingPlan("conv2", 32, batch=4, rate=3e-3, width=0.1)


@pytest.fixture(scope="module")
def network() -> Network:
    return small()


@pytest.fixture(scope="module")
def pool() -> PhotoPool:
    """Smooth photos: each a mixture of some colours."""
    draw = np.random.default_rng(0)
    photos = [cv2.resize(draw.integers(0, 256, (4, 4, 3), np.uint8), (64, 64), interpolation=2) for _ in range(30)]
    tensor = torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2).contiguous()
    return PhotoPool(tensor[:24], tensor[24:], tuple(map(str, range(24))), 32)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepvis.priors.training.LOOK", 5)
    monkeypatch.setattr("deepvis.priors.training._SAMPLES", 24)
    monkeypatch.setattr("deepvis.priors.losses._WIDTH", 6)


# ---- losses --------------------------------------------------------------------------------------


def test_losses_by_definition() -> None:
    real = {"a": torch.randn(3, 2, 4, 4), "b": torch.randn(3, 5)}
    seen = {name: value + torch.randn_like(value) for name, value in real.items()}
    spread = losses.FeatureSpread()
    spread.add(real)
    found = spread.spreads()
    assert float(found["b"]) == pytest.approx(np.var(real["b"].numpy(), axis=0).mean(), rel=1e-5)
    want = np.mean([((seen[n] - real[n]).numpy() ** 2).mean() / float(found[n]) for n in ("a", "b")])
    assert float(losses.feature_error(seen, real, found)) == pytest.approx(want, rel=1e-5)
    of_photos, of_made = (
        [torch.tensor([2.0, -0.5]), torch.tensor([0.5])],
        [torch.tensor([0.3, -3.0]), torch.tensor([-1.0])],
    )
    want = np.mean([(0 + 1.5) / 2 + (1.3 + 0) / 2, 0.5 + 0.0])
    assert float(losses.hinge(of_photos, of_made)) == pytest.approx(want)
    assert float(losses.accuracy(of_photos, of_made)) == pytest.approx((0.5 + 0.5 + 1 + 1) / 4)
    assert float(losses.judged_real(of_made)) == pytest.approx((-1.35 - 1.0) / 2)


def test_the_eyes_see_what_the_network_sees(network: Network) -> None:
    assert losses.feature_layers(network.layers, "fc") == ("relu1", "conv3", "fc")
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    with torch.no_grad(), network.capture(["relu1", "fc"]) as captured:
        network.module(network.see(picture, crop=False))
    mean = torch.tensor(network.input.mean)[:, None, None] * 255
    seen = losses.Eyes(network, ["relu1", "fc"])(torch.from_numpy(picture).permute(2, 0, 1)[None].float() - mean)
    for name in ("relu1", "fc"):
        np.testing.assert_allclose(seen[name], captured[name], atol=1e-4)


def test_a_training_step_climbs_the_weighted_losses(network: Network, pool: PhotoPool) -> None:
    """The gradient of a step is that of pixels + features + share × ratio of gradients × adversarial, written out."""
    trainer = Trainer(network, pool, PLAN)
    trainer.progress.phase = 1
    grads: list[Tensor] = []
    trainer._update = lambda optimizer, module: grads.append(  # type: ignore[method-assign]
        torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])
    )
    draw = torch.Generator().manual_seed(0)
    pictures = trainer._drawn(draw, 4)[1]
    down, right = torch.randint(-8, 9, (2,), generator=draw).tolist()
    made = shifted(trainer.generator(trainer.eyes(pictures)["conv2"]), down, right)
    pictures = shifted(pictures, down, right)
    real = trainer.eyes(pictures)
    seen = trainer.eyes(made)
    ours = (made - pictures).abs().mean() / 64 + losses.feature_error(seen, real, trainer._spreads)
    trainer.discriminator.eval()  # as it is before its power iteration
    adversarial = -torch.stack([one.mean() for one in trainer.discriminator(made, seen)]).mean()
    sizes = [float(torch.autograd.grad(one, made, retain_graph=True)[0].norm()) for one in (ours, adversarial)]
    loss = ours + 0.5 * (1 / 200) * sizes[0] / sizes[1] * adversarial
    want = torch.autograd.grad(loss, list(trainer.generator.parameters()))
    trainer.discriminator.train()
    trainer.step()
    mine = grads[-1]
    np.testing.assert_allclose(mine, torch.cat([w.flatten() for w in want]), atol=2e-3 * float(mine.abs().max()))


def test_shifted_pictures() -> None:
    picture = torch.arange(48.0).view(1, 1, 6, 8)
    assert torch.equal(shifted(picture, 0, 0), picture)
    moved = shifted(picture, 2, -1)
    assert torch.equal(moved[:, :, 2:, :-1], picture[:, :, :-2, 1:])
    assert torch.equal(moved[:, :, :2, :-1], picture[:, :, 1:3, 1:].flip(2))  # mirrored at the first row
    assert torch.equal(moved[:, :, 2:, -1], picture[:, :, :-2, -2])
    assert shifted(torch.zeros(2, 3, 32, 32), -8, 8).shape == (2, 3, 32, 32)


# ---- photos --------------------------------------------------------------------------------------


def test_augmented_photos_are_parts_of_photos() -> None:
    photo = torch.zeros(1, 3, 64, 64)
    photo[:, 0], photo[:, 1] = torch.linspace(0, 255, 64), torch.linspace(0, 255, 64)[:, None]
    draws = torch.full((3, DRAWS), 0.5)
    draws[:, 0] = torch.tensor([0.0, 1.0, 0.0])  # the smallest part, the whole, the smallest mirrored
    draws[2, 1] = 0.2
    small_part, whole, mirrored = augmented(photo.expand(3, -1, -1, -1), draws, 32)
    middle = photo[0, :, 16:48, 16:48]
    assert float((small_part - middle).abs().max()) < 2 and float((mirrored - middle.flip(2)).abs().max()) < 2
    averaged = torch.nn.functional.avg_pool2d(photo[0], 2)
    assert float((whole - averaged).abs().max()) < 2
    random = augmented(photo.expand(9, -1, -1, -1), torch.rand(9, DRAWS), 32)
    assert float(random.min()) >= 0 and float(random.max()) <= 255 and random.std(0).mean() > 1


def test_photos_are_read_and_some_are_set_aside(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for number in range(70):
        cv2.imwrite(str(tmp_path / f"{number}.png"), draw.integers(0, 256, (40, 50, 3), np.uint8))
    (tmp_path / "9.png").write_bytes(b"nothing")
    said: list[str] = []
    pool = read_photos(find_images(tmp_path), 16, torch.device("cpu"), said.append)
    assert pool.training.shape == (62, 3, 32, 32) and pool.held_out.shape == (7, 3, 32, 32)
    assert "1 photos cannot be read" in said[0] and "62" not in said[1] and "69 photos" in said[1]
    batch = pool.batch(torch.tensor([0, 5]), torch.rand(2, DRAWS))
    assert batch.shape == (2, 3, 16, 16)
    with pytest.raises(UserError, match="69 photos.*at least 100"):
        read_photos(find_images(tmp_path), 16, torch.device("cpu"), said.append, least=100)


# ---- training ------------------------------------------------------------------------------------


def test_training_makes_the_error_smaller(network: Network, pool: PhotoPool, tmp_path: Path) -> None:
    made = train(network, pool, PLAN, Limits(steps=30), tmp_path)
    assert made.steps == 30 and made.why == "its limit is reached" and len(made.history) == 5
    assert made.generator.against(made.closed_form) < 0.97
    assert cv2.imread(str(tmp_path / RECONSTRUCTIONS)).shape == (3 * 32, 6 * 32, 3)
    about = load_prior(tmp_path / PRIOR).about
    assert about["layer"] == "conv2" and about["photos"] == 24 and about["psnr"] == round(made.generator.psnr, 3)
    again = train(network, pool, PLAN, Limits(steps=30), tmp_path)
    assert again.steps == 30 and again.generator == made.generator


def test_who_watches_sees_how_it_goes(
    network: Network, pool: PhotoPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look is noted, a run that was stopped adds to them, and what cannot begin leaves the record as it was."""
    step, seen = Trainer.step, []

    def stopping(self: Trainer) -> None:
        step(self)
        seen.append((read_record(tmp_path).status, is_training(tmp_path)))
        if len(seen) == 13:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Trainer, "step", stopping)
    with pytest.raises(Interrupted):
        train(network, pool, PLAN, Limits(steps=20), tmp_path, "the command")
    stopped = read_record(tmp_path)
    assert set(seen) == {(TRAINING, True)} and (stopped.status, stopped.step) == (STOPPED, 13)
    assert stopped.command == "the command" and [one.step for one in stopped.looks] == [6, 12]
    made = train(network, pool, PLAN, Limits(steps=20), tmp_path)
    ended = read_record(tmp_path)
    assert ended.status == ENDED and ended.looks[:2] == stopped.looks and ended.step == 20
    assert [one.step for one in ended.looks] == [6, 12, 18, 20] and ended.minutes >= stopped.minutes
    last = ended.looks[-1]
    assert (last.psnr, last.error) == (made.generator.psnr, made.generator.against(made.closed_form))
    with pytest.raises(UserError, match="another training"):
        train(network, pool, replace(PLAN, rate=1e-4), Limits(steps=20), tmp_path)
    assert read_record(tmp_path) == ended and not is_training(tmp_path)


def test_a_run_that_was_stopped_goes_on_exactly(
    network: Network, pool: PhotoPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C after 17 steps, of which the last ones are adversarial; the file is the same byte for byte."""
    plan = replace(PLAN, seed=3)
    monkeypatch.setattr("deepvis.priors.training.PATIENCE", 2)
    train(network, pool, plan, Limits(steps=24), tmp_path / "whole")
    step, count = Trainer.step, 0

    def stopping(self: Trainer) -> None:
        nonlocal count
        step(self)
        count += 1
        if count == 17:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Trainer, "step", stopping)
    with pytest.raises(Interrupted):
        train(network, pool, plan, Limits(steps=24), tmp_path / "parts")
    assert load_prior(tmp_path / "parts" / PRIOR).about["steps"] == 17
    train(network, pool, plan, Limits(steps=24), tmp_path / "parts")
    files = [(tmp_path / name / PRIOR).read_bytes() for name in ("whole", "parts")]
    assert files[0] == files[1]
    states = [torch.load(tmp_path / name / CHECKPOINT, weights_only=True) for name in ("whole", "parts")]
    assert states[0]["progress"] == states[1]["progress"] and states[0]["progress"]["phase"] == 1
    assert all(torch.equal(value, states[1]["discriminator"][n]) for n, value in states[0]["discriminator"].items())
    with pytest.raises(UserError, match="another training"):
        train(network, pool, replace(plan, rate=1e-4), Limits(steps=24), tmp_path / "parts")
    (tmp_path / "parts" / CHECKPOINT).write_bytes(b"nothing")
    with pytest.raises(UserError, match="damaged"):
        train(network, pool, plan, Limits(steps=24), tmp_path / "parts")


class Meeting:
    """Averages tensors over two threads, as `torch.distributed` does over processes."""

    def __init__(self) -> None:
        self._barrier = threading.Barrier(2)
        self._given: list[Sequence[Tensor]] = [(), ()]

    def of(self, rank: int):
        def average(tensors: Sequence[Tensor]) -> None:
            self._given[rank] = [tensor.clone() for tensor in tensors]
            self._barrier.wait()
            means = [(a + b) / 2 for a, b in zip(*self._given)]
            self._barrier.wait()
            for tensor, mean in zip(tensors, means):
                tensor.copy_(mean)

        return average


def test_two_processes_are_one(network: Network, pool: PhotoPool) -> None:
    def trained(trainer: Trainer) -> None:
        for _ in range(4):
            trainer.step()
        trainer.progress.phase, trainer.progress.began = 1, 4
        for _ in range(4):
            trainer.step()

    alone, meeting = Trainer(network, pool, PLAN), Meeting()
    trained(alone)
    two = [Trainer(network.replica(), pool, PLAN, rank, 2, meeting.of(rank)) for rank in range(2)]
    threads = [threading.Thread(target=trained, args=(one,)) for one in two]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, value in alone.generator.state_dict().items():
        assert torch.equal(two[0].generator.state_dict()[name], two[1].generator.state_dict()[name])
        np.testing.assert_allclose(two[0].generator.state_dict()[name], value, atol=2e-4)


def test_two_processes_of_torchrun_are_one(
    network: Network, pool: PhotoPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As torchrun starts them, with torch.distributed; forked, which spares them the imports."""
    plan, limits = replace(PLAN, seed=5), Limits(steps=5)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}

    def work(rank: int) -> None:
        os.environ.update({**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        train(network, pool, plan, limits, tmp_path / "two")

    fork = multiprocessing.get_context("fork")
    running = [fork.Process(target=work, args=(rank,)) for rank in range(2)]
    for one in running:
        one.start()
    train(network, pool, plan, limits, tmp_path / "one")
    for one in running:
        one.join(60)
        one.kill()
    assert [one.exitcode for one in running] == [0, 0]
    alone, together = (load_prior(tmp_path / name / PRIOR) for name in ("one", "two"))
    for name, array in alone.arrays.items():
        np.testing.assert_allclose(together.arrays[name].astype(float), array.astype(float), atol=2e-3, err_msg=name)


def test_the_discriminator_rests_while_it_is_ahead(network: Network, pool: PhotoPool) -> None:
    trainer = Trainer(network, pool, PLAN)
    trainer.progress.phase = 1
    weights = lambda: [p.detach().clone() for p in trainer.discriminator.parameters()]
    before = weights()
    trainer._ahead.fill_(0.95)
    trainer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, weights())) and float(trainer._ahead) < 0.95
    trainer._ahead.fill_(0.5)
    trainer.step()
    assert not all(torch.equal(a, b) for a, b in zip(before, weights()))


def test_losses_that_are_no_numbers(network: Network, pool: PhotoPool, tmp_path: Path) -> None:
    """Back to the last good state, half the rate; then an honest end with what was good."""
    trainer = Trainer(network, pool, replace(PLAN, adversarial=0.0))
    for _ in range(5):
        trainer.step()
    trainer.take_stock()
    good = {name: value.clone() for name, value in trainer.generator.state_dict().items()}
    for failure in range(1, FAILURES + 1):
        next(trainer.generator.parameters()).data.fill_(math.nan)
        trainer.step()
        trainer.take_stock()
        assert trainer.progress.failures == failure and trainer.progress.rate == 0.5**failure
        assert trainer.progress.step == 5
        assert all(torch.equal(value, good[name]) for name, value in trainer.generator.state_dict().items())
        assert trainer._optimizers[0].rate == PLAN.rate * 0.5**failure
    assert "no numbers 3 times" in trainer.progress.over
    assert math.isfinite(trainer.held_out.psnr) and trainer.result() is not None


def test_phases_and_early_stop(network: Network, pool: PhotoPool, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(network, pool, PLAN)
    monkeypatch.setattr("deepvis.priors.training.PATIENCE", 2)
    errors = iter([0.9, 0.8, 0.85, 0.86, *[0.88, 1.5, 0.87], *[1.5] * 8])
    base = trainer.closed_form

    def look(_generator: object) -> HeldOut:
        error = next(errors)
        return HeldOut(error, base.square * error, base.features * error)

    monkeypatch.setattr(trainer, "look", look)
    seen = []
    while not trainer.progress.over:
        trainer.take_stock()
        seen.append((trainer.progress.phase, trainer.held_out.psnr))
    assert seen[:4] == [(0, 0.9), (0, 0.8), (0, 0.8), (1, 0.8)]  # two looks without a smaller error
    assert seen[4:7] == [(1, 0.88), (1, 0.88), (1, 0.87)]  # not 1.5: that is more than 15 % above 0.8
    assert len(seen) == 15 and seen[-1] == (1, 0.87)
    late = Trainer(network, pool, PLAN)
    late.take_stock(share=0.5)
    assert late.progress.phase == 1


def test_layers_and_sizes_that_cannot_be(network: Network) -> None:
    assert sized_layer(network, "conv2", 64).height == 32
    with pytest.raises(UserError, match="unknown layer"):
        sized_layer(network, "conv9", 32)
    with pytest.raises(UserError, match="map is too small"):
        sized_layer(network, "conv2", 2)
    with pytest.raises(UserError, match="1 channels"):
        sized_layer(small(InputSpec(32, 32, (0.5,), (0.5,))), "conv2", 32)
    fixed = prepare("fixed", nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4)), InputSpec(32, 32), {"fc": "1"})
    with pytest.raises(UserError, match="--size 64.*Give --size 32"):
        sized_layer(fixed, "fc", 64)


def test_a_vector_of_a_network_in_another_order(pool: PhotoPool, tmp_path: Path) -> None:
    other = small(InputSpec(32, 32, (104, 117, 123), (1, 1, 1), range=255, order="bgr"))
    made = train(other, pool, replace(PLAN, layer="fc", batch=8), Limits(steps=10), tmp_path)
    assert math.isfinite(made.generator.psnr) and (tmp_path / PRIOR).exists()
    assert jobs.Limits(10, 2).spent(5, 1.5) == 0.75


def test_adam_is_torchs() -> None:
    from torch.optim.adam import adam

    mine, theirs = ([torch.randn(n, generator=torch.Generator().manual_seed(n)) for n in (3, 5)] for _ in range(2))
    for one in mine:
        one.requires_grad_(True)
    optimizer, state = ManyAdam(mine, 0.1, (0.9, 0.99)), [[torch.zeros_like(one) for one in theirs] for _ in range(2)]
    steps = [torch.zeros(()) for _ in theirs]
    for seed in range(5):
        grads = [torch.randn(one.shape, generator=torch.Generator().manual_seed(seed)) for one in theirs]
        for one, grad in zip(mine, grads):
            one.grad = grad.clone()
        optimizer.step()
        numbers = {"beta1": 0.9, "beta2": 0.99, "lr": 0.1, "weight_decay": 0.0, "eps": 1e-8, "maximize": False}
        adam(theirs, grads, *state, [], steps, foreach=False, amsgrad=False, **numbers)
        assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(mine, theirs))
