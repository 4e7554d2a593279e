"""Images grow while they are wished, stop when they are not, and can be kept."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from waiting import until

from deepvis.core.errors import UserError
from deepvis.core.layers import Layer
from deepvis.interface.requests import growth_wish
from deepvis.interface.state import State
from deepvis.networks.network import InputSpec, Network, prepare
from deepvis.store.unit_images import forget_provisional, open_store
from deepvis.synthesis.ascent import Ascent
from deepvis.synthesis.jobs import Plan, synthesize
from deepvis.synthesis.presets import PRESETS
from deepvis.synthesis.recipe_grid import RecipeGrid, table
from deepvis.synthesis.targets import canvas, objective
from deepvis.workers import synthesizer
from deepvis.workers.leisure import Leisure
from deepvis.workers.messages import Grown, GrowthWish
from deepvis.workers.synthesizer import GrowthWorker, keep_by_itself, keep_grown
from deepvis.workers.worker import WishOf


def network(side: int = 32) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
        )
    net[0].bias.data[3], net[0].weight.data[3] = -1, 0  # unit 3 is dead for good
    return prepare("tiny", net, InputSpec(side, side), {"conv": "1", "logits": "4"})


@pytest.fixture
def worker():
    one = GrowthWorker()
    yield one
    assert one.close()


def grown(worker: GrowthWorker, wish: GrowthWish, steps: int = 1):
    until(lambda: (g := worker.answer) is not None and (g.error or g.steps >= steps))
    assert worker.answer.wish == wish
    return worker.answer


def test_images_grow_and_excite_the_unit_more_and_more(worker: GrowthWorker) -> None:
    wish = GrowthWish("logits", 2, "modern", (0, 1, 2))
    worker.want(WishOf(network(), wish))
    early = grown(worker, wish)
    late = grown(worker, wish, early.steps + 20)
    assert len(late.images) == 3 and late.images[0].shape == (32, 32, 3) and late.images[0].dtype == np.uint8
    assert min(late.scores) > max(early.scores)


def test_without_a_prior_it_is_said_how_to_train_one(worker: GrowthWorker) -> None:
    wish = GrowthWish("logits", 2, "generator-modern", (0,))
    worker.want(WishOf(network(), wish))
    assert "deepvis train-prior --model tiny" in grown(worker, wish).error


def test_images_of_two_units_at_once(worker: GrowthWorker, tmp_path: Path) -> None:
    """Of two classes, and of a class with a unit of a smaller canvas; they are not kept under one unit's name."""
    net = network()
    values = lambda image: net.module(net.see(image, crop=True))[0]
    alone, both = GrowthWish("logits", 2, "modern", (0,)), GrowthWish("logits", 2, "modern", (0,), also=("logits", 4))
    reached = []
    for wish in (alone, both):
        worker.want(WishOf(net, wish))
        found = grown(worker, wish, 40)
        scores = values(found.images[0])
        reached.append(float(scores[2] + scores[4] - 0.5 * (scores[2] - scores[4]).abs()))
    assert reached[1] > reached[0]
    store = open_store(tmp_path / "own", net.fingerprint)
    with pytest.raises(UserError, match="two units are not kept"):
        keep_grown(found, store, net)
    mixed = GrowthWish("conv", 1, "modern", (0,), also=("logits", 4))
    worker.want(WishOf(net, mixed))
    assert grown(worker, mixed, 2).images[0].shape == (32, 32, 3)


def test_another_wish_takes_over_and_none_stops(worker: GrowthWorker) -> None:
    net = network()
    first, second = GrowthWish("logits", 2, "modern", (0,)), GrowthWish("conv", 0, "yosinski-3", (0,))
    worker.want(WishOf(net, first))
    grown(worker, first)
    worker.want(WishOf(net, second))
    assert worker.answer is None or worker.answer.wish == second
    assert grown(worker, second).images[0].shape == (3, 3, 3)  # the true size
    worker.want(None)
    assert worker.answer is None


def test_a_dead_unit_is_said(worker: GrowthWorker) -> None:
    wish = GrowthWish("conv", 3, "plain", (0,))
    worker.want(WishOf(network(), wish))
    assert "dead" in grown(worker, wish, 10**9).error


def test_an_error_is_said_and_the_thread_lives_on(worker: GrowthWorker) -> None:
    net = network()
    bad, good = GrowthWish("nowhere", 0, "modern", (0,)), GrowthWish("logits", 0, "modern", (0,))
    worker.want(WishOf(net, bad))
    assert "nowhere" in grown(worker, bad).error
    worker.want(WishOf(net, good))
    assert grown(worker, good).images


def test_keeping(worker: GrowthWorker, tmp_path: Path) -> None:
    wish = GrowthWish("logits", 1, "modern", (5, 6))
    net = network()
    worker.want(WishOf(net, wish))
    found = grown(worker, wish, 20)
    keep_grown(found, open_store(tmp_path, "abc", "tiny"), net)
    store = open_store(tmp_path, "abc")
    record = store.records["logits", 1]
    best = int(np.argmax(found.scores))
    assert record["preset"] == "modern" and record["recipe"]["steps"] == found.steps
    assert record["seeds"][0] == wish.seeds[best] and record["scores"] == sorted(record["scores"], reverse=True)
    kept = store.read("logits", 1)
    assert len(kept) == 2
    assert np.abs(kept[0].astype(int) - found.images[best]).mean() < 12


def test_what_was_kept_is_what_synthesize_would_make(worker: GrowthWorker, tmp_path: Path) -> None:
    net, layers = network(), [Layer("conv", "Conv2d", 4, 32, 32), Layer("logits", "Linear", 5)]
    wish = growth_wish(State(layer=1, unit=2, growing=True, preset="modern-2025"), layers)
    worker.want(WishOf(net, wish))
    found = grown(worker, wish, 20)  # after so many, other seeds have grown far apart
    keep_grown(found, open_store(tmp_path, net.fingerprint, "tiny"), net)
    plan = Plan(replace(PRESETS["modern-2025"], steps=found.steps), "modern-2025", len(wish.seeds))
    store = open_store(tmp_path, net.fingerprint, "tiny")
    assert synthesize(net, [(net.layers[1], [2])], plan, store).found == 1
    other = open_store(tmp_path / "other", net.fingerprint, "tiny")
    synthesize(net, [(net.layers[1], [2])], plan, other)
    kept, made = (np.stack(one.read("logits", 2)).astype(float) for one in (store, other))
    apart = np.abs(kept[:, None] - made[None]).mean((2, 3, 4))  # of each kept image from each that was made
    assert len(kept) == len(made) == len(wish.seeds) and sorted(apart.argmin(1)) == list(range(len(made)))
    assert (
        apart.min(1).max() < 10 < 25 < np.median(apart)
    )  # Adam follows signs that rounding decides; other seeds are far off


def test_another_network_is_taken_up(worker: GrowthWorker) -> None:
    """As after a fall back to the CPU."""
    wish, one, two = GrowthWish("logits", 1, "modern", (5,)), network(), network(24)
    worker.want(WishOf(one, wish))
    assert grown(worker, wish).images[0].shape == (32, 32, 3)
    worker.want(None)
    worker.want(WishOf(two, replace(wish, unit=2)))
    assert grown(worker, replace(wish, unit=2)).images[0].shape == (24, 24, 3)


def test_the_default_random_numbers_and_threads_are_left_alone(worker: GrowthWorker) -> None:
    before, state = threading.active_count(), torch.get_rng_state()
    assert worker.answer is None and threading.active_count() == before
    wish = GrowthWish("logits", 1, "modern", (5,))
    worker.want(WishOf(network(), wish))
    grown(worker, wish)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_desks_images_are_each_made_by_its_own_recipe_and_end(worker: GrowthWorker) -> None:
    recipes = table(RecipeGrid("yosinski-1", replace(PRESETS["yosinski-1"], steps=12))).recipes
    wish = GrowthWish("logits", 2, "yosinski-1", (7,) * len(recipes), recipes)
    net = network()
    worker.want(WishOf(net, wish))
    until(lambda: (g := worker.answer) is not None and g.done)
    found = worker.answer
    assert (
        found.steps == 12 and len({image.tobytes() for image in found.images}) > 12
    )  # of sixteen; some blur too little to matter here
    layer = net.layers[-1]
    for recipe, image in zip(recipes, found.images):
        alone = Ascent(net, objective(layer, [2], canvas(net, layer, net.receptive_field("logits"))), [recipe], [7])
        for _ in range(12):
            alone.step()
        assert np.abs(alone.images()[0].astype(int) - image).max() <= 1
    time.sleep(0.1)
    assert worker.answer is found  # nothing grows on
    worker.want(WishOf(net, again := replace(wish, unit=1)))
    assert grown(worker, again).images


def test_on_a_cpu_the_desks_images_are_made_at_half_the_size(worker: GrowthWorker) -> None:
    net = network(96)
    recipes = (PRESETS["modern"],) * 2
    worker.want(WishOf(net, wish := GrowthWish("logits", 2, "modern", (0, 1), recipes)))
    assert grown(worker, wish).images[0].shape == (64, 64, 3)
    worker.want(WishOf(net, wish := GrowthWish("logits", 2, "modern", (0, 1))))
    assert grown(worker, wish).images[0].shape == (96, 96, 3)


def test_the_same_wish_on_another_network_grows_anew(worker: GrowthWorker) -> None:
    wish, one, two = GrowthWish("logits", 1, "modern", (5,)), network(), network(24)
    worker.want(WishOf(one, wish))
    assert grown(worker, wish).images[0].shape == (32, 32, 3)
    worker.want(WishOf(two, wish))
    assert worker.answer is None  # the first network's images are not the second's
    until(lambda: (g := worker.answer) is not None and bool(g.images))
    assert worker.answer.images[0].shape == (24, 24, 3)


def test_what_failed_is_tried_again_when_it_is_wished_again(
    worker: GrowthWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, wish = network(), GrowthWish("logits", 1, "modern", (5,))
    step = Ascent.step
    monkeypatch.setattr(Ascent, "step", lambda ascent: (_ for _ in ()).throw(MemoryError("full")))
    worker.want(WishOf(net, wish))
    assert "full" in grown(worker, wish).error
    monkeypatch.setattr(Ascent, "step", step)
    worker.want(None)
    worker.want(WishOf(net, wish))
    until(lambda: (g := worker.answer) is not None and bool(g.images))


# ---- images that nobody asked for ---------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthesizer, "BY_ITSELF", 3)
    monkeypatch.setattr(synthesizer, "QUIET", 0.0)


def by_itself(unit: int = 2, seeds: tuple[int, ...] = (0, 1), layer: str = "logits") -> GrowthWish:
    return GrowthWish(layer, unit, "modern", seeds, by_itself=True)


@pytest.mark.usefixtures("quick")
def test_images_that_grow_by_themselves_end_rest_and_are_kept() -> None:
    rests, kept, net = [], [], network()

    class Counted(Leisure):
        def rest(self, is_over=lambda: False) -> None:
            rests.append(is_over())

    worker = GrowthWorker(Counted(lambda: False), lambda grown, of: kept.append((grown, of)))
    worker.want(WishOf(net, by_itself()))
    until(lambda: worker.idle)
    assert worker.close()
    assert rests == [False] * 3
    assert [(grown.steps, grown.done, len(grown.images), of) for grown, of in kept] == [(3, True, 2, net)]


@pytest.mark.usefixtures("quick")
def test_another_request_ends_them_and_they_are_not_kept() -> None:
    kept, net, waits, gate = [], network(), threading.Event(), threading.Event()

    class Held(Leisure):
        def rest(self, is_over=lambda: False) -> None:
            waits.set()
            assert gate.wait(60)

    worker = GrowthWorker(Held(lambda: False), lambda *what: kept.append(what))
    asked = GrowthWish("logits", 2, "plain", (0,))
    worker.want(WishOf(net, by_itself()))
    assert waits.wait(60)
    worker.want(WishOf(net, asked))
    gate.set()
    assert grown(worker, asked).images
    assert worker.close() and not kept


@pytest.mark.usefixtures("quick")
def test_that_a_unit_is_dead_is_kept_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net, store = network(), open_store(tmp_path, "abc", "tiny")
    monkeypatch.setattr(synthesizer, "BY_ITSELF", 30)  # more than the first steps, in which a dead unit is not known
    worker = GrowthWorker(keep=lambda grown, of: keep_by_itself(grown, store, of))
    worker.want(WishOf(net, by_itself(3, layer="conv")))
    until(lambda: worker.idle)
    assert worker.close()
    assert "dead" in open_store(tmp_path, "abc").records["conv", 3]["failed"]


def finished(unit: int = 2, level: int = 100) -> Grown:
    images = tuple(np.full((32, 32, 3), level + i, np.uint8) for i in range(2))
    return Grown(by_itself(unit), images, (1.0, 2.0), 3, recipe=PRESETS["modern"], done=True)


def test_they_take_the_place_of_nothing_that_the_user_has_made(tmp_path: Path) -> None:
    net, store = network(), open_store(tmp_path, "abc", "tiny")
    store.add("logits", 2, np.zeros((1, 32, 32, 3), np.uint8), {"scores": [0.5]}, "mine")
    keep_by_itself(finished(), store, net)
    assert store.records["logits", 2] == {"scores": [0.5]}
    assert store.read("logits", 2)[0].max() == 0


def test_what_the_user_makes_takes_their_place(tmp_path: Path) -> None:
    net, store = network(), open_store(tmp_path, "abc", "tiny")
    keep_by_itself(finished(), store, net)
    assert [round(image.mean()) for image in store.read("logits", 2)] == pytest.approx([101, 100], abs=2)
    mine = replace(finished(level=200), wish=GrowthWish("logits", 2, "modern", (0, 1)), steps=1)
    said = keep_grown(mine, store, net)
    assert "beside it" not in said and not store.records["logits", 2].get("provisional")
    assert store.read("logits", 2)[0].mean() > 190


def test_more_of_them_take_the_place_of_fewer(tmp_path: Path) -> None:
    net, store = network(), open_store(tmp_path, "abc", "tiny")
    one = replace(finished(), images=finished().images[:1], scores=(1.0,), wish=by_itself(seeds=(0,)))
    keep_by_itself(one, store, net)
    assert len(store.read("logits", 2)) == 1
    keep_by_itself(finished(), store, net)
    assert len(store.read("logits", 2)) == 2


def test_a_network_that_was_trained_further_gets_new_ones(tmp_path: Path) -> None:
    net = network()
    keep_by_itself(finished(), open_store(tmp_path, "a" * 32, "tiny"), net)
    forget_provisional(tmp_path, "a" * 32)
    assert open_store(tmp_path, "a" * 32).has("logits", 2)
    forget_provisional(tmp_path, "b" * 32)
    assert not open_store(tmp_path, "b" * 32).records and not list(tmp_path.glob("*/*.webp"))


def test_one_image_of_the_users_own_keeps_them_all(tmp_path: Path) -> None:
    store = open_store(tmp_path, "a" * 32, "tiny")
    keep_by_itself(finished(), store, network())
    store.add("logits", 1, np.zeros((1, 32, 32, 3), np.uint8), {"scores": [0.5]}, "mine")
    forget_provisional(tmp_path, "b" * 32)
    assert open_store(tmp_path, "a" * 32).has("logits", 2)
