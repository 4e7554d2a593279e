"""Runs over many units: resumed, shared out, short of memory; one store comes of it."""

from __future__ import annotations

import _thread
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import smallnets
import torch
from smallnets import SPEC, Small, layer, seeded, small
from torch import nn

from deepvis.core.errors import UserError
from deepvis.networks.network import InputSpec, Network, prepare
from deepvis.networks.replicas import is_out_of_memory
from deepvis.store.unit_images import MANIFEST, Store, open_store
from deepvis.synthesis import jobs
from deepvis.synthesis.ascent import Ascent
from deepvis.synthesis.jobs import Plan, auto_batch, image_seed, share, synthesize
from deepvis.synthesis.presets import recipe
from deepvis.synthesis.targets import canvas, objective, parse_units

SUPPORT = Path(smallnets.__file__).resolve().parent
PLAN = Plan(recipe("modern", {"steps": 3}), "modern", side=24)
UNITS = "fc:0-6,conv2:1-4"


def opened(folder: Path, network: Network) -> Store:
    return open_store(folder, network.fingerprint, network.name)


def go(
    folder: Path, units: str = UNITS, plan: Plan = PLAN, batch: int | None = 1, network: Network | None = None
) -> dict[str, int]:
    network = network or small()
    counts = synthesize(network, parse_units(units, network.layers), plan, opened(folder, network), batch)
    return {"made": counts.made, "found": counts.found, "failed": counts.reasons.total()}


def files(folder: Path) -> dict[str, bytes]:
    """All that is in the store, without what a killed process left half written."""
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and not p.name.startswith(".")
    }


def in_another_process(folder: Path, code: str = "", batch: int = 1, **env: str) -> subprocess.Popen:
    """The same run as `go`, after some code of its own."""
    script = f"from pathlib import Path\nimport test_jobs\n{code}\ntest_jobs.go(Path({str(folder)!r}), batch={batch})"
    paths = os.pathsep.join(map(str, (SUPPORT, SUPPORT.parent.parent, Path(__file__).resolve().parent)))
    return subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# The fifth unit dies with its image in place and its record half written.
DIES = """
import os, signal
from deepvis.store.unit_images import Store
add, count = Store.add, 0
def dying(self, layer, unit, images, record, part, quality=80):
    global count
    count += 1
    add(self, layer, unit, images, record, part, quality)
    if count == 5:
        path = self.folder / f"added-{part}.jsonl"
        path.write_bytes(path.read_bytes()[:-40])
        os.kill(os.getpid(), signal.SIGKILL)
Store.add = dying
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that one run has made."""
    folder = tmp_path_factory.mktemp("whole") / "s"
    assert go(folder) == {"made": 11, "found": 0, "failed": 0}
    return folder


def test_what_a_run_leaves(whole: Path) -> None:
    network = small()
    store = opened(whole, network)
    wanted = {("fc", u) for u in range(7)} | {("conv2", u) for u in range(1, 5)}
    assert set(store.records) == wanted
    assert set(files(whole)) == {MANIFEST, *(f"{name}/{unit:04d}.webp" for name, unit in wanted)}
    assert store.read("fc", 3)[0].shape == (24, 24, 3) and store.read("conv2", 1)[0].shape == (5, 5, 3)
    record = store.records["fc", 3]
    assert record["preset"] == "modern" and record["recipe"]["steps"] == 3 and record["true_size"] is True
    assert len(record["scores"]) == 1 and record["seed"] == 0 and record["objective"] == "unit"


def test_the_images_are_those_of_an_ascent(whole: Path) -> None:
    """Unit by unit, with the unit's own seed."""
    network = small()
    for name, unit in (("fc", 5), ("conv2", 3)):
        place = canvas(network, layer(network, name), network.receptive_field(name))
        ascent = Ascent(
            network, objective(layer(network, name), [unit], place), [PLAN.recipe], [image_seed(0, unit, 0)], place.size
        )
        for _ in range(3):
            ascent.step()
        store = opened(whole, network)
        assert store.records[name, unit]["scores"] == pytest.approx(ascent.final_scores().tolist(), abs=1e-3)
        images = ascent.images()
        if place.field:
            left, top, width, height = place.field
            images = images[:, top : top + height, left : left + width]
            assert np.abs(store.read(name, unit)[0].astype(int) - images[0]).mean() < 8  # lossy
        assert np.abs(store.read(name, unit)[0].mean((0, 1)) - images[0].mean((0, 1))).max() < 6


@pytest.fixture
def two_threads() -> Iterator[None]:
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def test_two_at_work_leave_the_same_files_however_often_they_are_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two_threads: None
) -> None:
    assert go(tmp_path / "whole", batch=2) == {"made": 11, "found": 0, "failed": 0}
    for stop in (1, 4):
        kept, real = [], jobs._keep

        def keep(*arguments, stop=stop, kept=kept, real=real) -> bool:
            if len(kept) == stop:
                raise KeyboardInterrupt
            kept.append(real(*arguments))
            return kept[-1]

        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(jobs, "_keep", keep)
            go(tmp_path / "cut", batch=2)
    assert go(tmp_path / "cut", batch=2)["found"] >= 4
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


def test_with_a_layer_done_the_cores_are_shared_out_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two_threads: None
) -> None:
    """Rounding depends on how many cores a batch has."""
    seen, real = [], jobs._run
    monkeypatch.setattr(jobs, "_run", lambda *arguments: (seen.append(torch.get_num_threads()), real(*arguments))[1])
    go(tmp_path, "fc:0-6", batch=4)
    go(tmp_path, "fc:0-6,conv2:1-4", batch=4)
    assert seen == [1, 1, 1]
    assert go(tmp_path, "fc:0-6,conv2:1-4", batch=4)["found"] == 11 and len(seen) == 3


def test_ctrl_c_ends_the_step_not_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two_threads: None) -> None:
    done, real = [], Ascent.step

    def step(self: Ascent) -> None:
        real(self)
        done.append(1)
        if len(done) == 10:
            _thread.interrupt_main()

    monkeypatch.setattr(Ascent, "step", step)
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path, plan=replace(PLAN, recipe=recipe("modern", {"steps": 100_000})), batch=2)
    assert len(done) < 10_000 and torch.get_num_threads() == 2


def test_a_layer_of_one_batch_has_all_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two_threads: None) -> None:
    seen, real = [], jobs._run
    monkeypatch.setattr(jobs, "_run", lambda *arguments: (seen.append(torch.get_num_threads()), real(*arguments))[1])
    go(tmp_path, "conv2:1-4", batch=4)
    go(tmp_path, "fc:0-3", batch=2)
    assert seen == [2, 1, 1]


@pytest.mark.parametrize("batch", [1, 3])
def test_a_killed_run_goes_on_as_if_nothing_had_been(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, batch: int
) -> None:
    """Byte for byte, though rounding depends on who else is in a batch."""
    go(whole := tmp_path_factory.mktemp("whole") / "s", batch=batch)
    process = in_another_process(tmp_path, DIES, batch)
    _out, error = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, error
    left = opened(tmp_path, small())
    assert len(left.records) == 4 and len(list(tmp_path.rglob("*.webp"))) == 5
    assert go(tmp_path, batch=batch) == {"made": 7, "found": 4, "failed": 0}
    assert files(tmp_path) == files(whole)
    assert go(tmp_path, batch=batch) == {"made": 0, "found": 11, "failed": 0}
    assert files(tmp_path) == files(whole)


def test_two_processes_share_the_units(tmp_path: Path, whole: Path) -> None:
    processes = [in_another_process(tmp_path, RANK=str(rank), WORLD_SIZE="2") for rank in (0, 1)]
    for process in processes:
        _out, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
    assert set(files(tmp_path)) == set(files(whole))
    one, two = (opened(folder, small()) for folder in (tmp_path, whole))
    for key, record in two.records.items():
        assert one.records[key]["scores"] == pytest.approx(record["scores"], abs=1e-3)
        assert {**one.records[key], "scores": 0} == {**record, "scores": 0}


def test_shares_are_even_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "3")
        assert share() == (rank, 3)
        made.append(go(tmp_path, "fc:0-6")["made"])
    assert sorted(made) == [2, 2, 3]


def test_a_rank_alone_is_another_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "3")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert share() == (0, 1)


# ---- what is made anew ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes, made",
    [
        ({}, 0),
        ({"quality": 10}, 2),
        ({"side": 12}, 2),
        ({"recipe": recipe("modern", {"steps": 4})}, 2),
        ({"seed": 1}, 2),
        ({"per_unit": 2}, 2),
        ({"objective": "channel"}, 2),
        ({"true_size": False}, 2),
        ({"preset": "mine"}, 2),
    ],
)
def test_what_was_made_otherwise_is_made_anew(tmp_path: Path, changes: dict, made: int) -> None:
    go(tmp_path, "conv1:0-1")
    plan = replace(PLAN, **changes)
    assert go(tmp_path, "conv1:0-1", plan) == {"made": made, "found": 2 - made, "failed": 0}
    assert go(tmp_path, "conv1:0-1", plan)["found"] == 2


def test_of_what_an_older_record_does_not_say_nothing_is_asked(tmp_path: Path) -> None:
    go(tmp_path, "conv1:0-1")
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    for unit in manifest["units"]:
        del unit["side"], unit["quality"]
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    assert go(tmp_path, "conv1:0-1", replace(PLAN, side=12)) == {"made": 0, "found": 2, "failed": 0}


def test_several_images_of_a_unit(tmp_path: Path) -> None:
    """Best first, each from a seed of its own, whether or not they fit into one batch."""
    plan = replace(PLAN, per_unit=5, recipe=recipe("modern-2025", {"steps": 3, "start_noise": 0.3, "rate": 0.5}))
    go(tmp_path / "one", "fc:2-3", plan, 16)
    go(tmp_path / "two", "fc:2-3", plan, 2)
    one, two = (opened(tmp_path / name, small()) for name in ("one", "two"))
    for unit in (2, 3):
        scores = one.records["fc", unit]["scores"]
        assert len(set(scores)) == 5 and scores == sorted(scores, reverse=True)
        assert two.records["fc", unit]["scores"] == pytest.approx(scores, abs=1e-3)
        images = one.read("fc", unit)
        assert len(images) == 5 and len({image.tobytes() for image in images}) == 5


def test_seeds_are_all_different() -> None:
    seeds = {image_seed(seed, unit, index) for seed in (0, 1, 7) for unit in (0, 1, 999, 4095) for index in range(9)}
    assert len(seeds) == 3 * 4 * 9
    torch.Generator().manual_seed(image_seed(10**9, 10**6, 1000))  # the largest that the command line takes


def test_another_networks_store(tmp_path: Path) -> None:
    go(tmp_path, "fc:0")
    before = files(tmp_path)
    with pytest.raises(UserError, match="another network"):
        go(tmp_path, "fc:0", network=small(seed=1))
    assert files(tmp_path) == before


# ---- dead units ----------------------------------------------------------------------------------


def dead() -> Network:
    module = seeded(Small)
    with torch.no_grad():
        module.conv2.bias[:] = 1.0
        module.conv2.bias[2] = -1e6
    return prepare("dead", module, SPEC, None)


@pytest.mark.parametrize("preset", ["modern", "yosinski-3", "plain"])
def test_units_without_a_gradient(tmp_path: Path, preset: str) -> None:
    plan = Plan(recipe(preset, {"steps": 3}), preset, per_unit=2)
    assert go(tmp_path, "relu2:1-3", plan, network=dead()) == {"made": 2, "found": 0, "failed": 1}
    store = opened(tmp_path, dead())
    assert "no gradient" in store.records["relu2", 2]["failed"] and store.records["relu2", 2]["scores"] == []
    assert store.read("relu2", 2) == [] and len(store.read("relu2", 1)) == 2
    assert "failed" not in store.records["relu2", 1] and not (tmp_path / "relu2" / "0002.webp").exists()
    assert go(tmp_path, "relu2:1-3", plan, network=dead()) == {"made": 0, "found": 3, "failed": 0}


def test_what_fails_does_not_touch_images_that_are_there(tmp_path: Path) -> None:
    plan = replace(PLAN, recipe=recipe("plain", {"steps": 3, "rate": 1e-3}))
    go(tmp_path, "fc:1", plan)
    before = files(tmp_path)
    assert go(tmp_path, "fc:1", replace(plan, recipe=replace(plan.recipe, gradient_margin=1000)))["failed"] == 1
    assert opened(tmp_path, small()).read("fc", 1) and files(tmp_path) == before


def test_other_images_of_a_unit_are_renamed_and_those_of_fewer_steps_replaced(tmp_path: Path) -> None:
    one, network = recipe("plain", {"steps": 3}), small()
    longer, other = replace(one, steps=5), replace(one, decay=0.01)
    run = lambda made: synthesize(
        network, parse_units("fc:1", network.layers), replace(PLAN, recipe=made), opened(tmp_path, network)
    )
    assert run(one).renamed == 0 and run(longer).renamed == 0  # the same images, further on
    kept = (tmp_path / "fc" / "0001.webp").read_bytes()
    assert run(other).renamed == 1 and (tmp_path / "fc" / "0001-1.webp").read_bytes() == kept
    assert run(other).renamed == 0  # found
    assert run(one).renamed == 1  # fewer steps than nothing of its kind: the other is kept again
    assert len(list((tmp_path / "fc").glob("*.webp"))) == 3


# ---- memory --------------------------------------------------------------------------------------


def full(monkeypatch: pytest.MonkeyPatch, most: int, error: Exception) -> list[int]:
    """Memory for `most` images; returns the sizes of the batches that were run."""
    sizes: list[int] = []
    real = Ascent.step

    def step(self: Ascent) -> None:
        if len(self.scores) > most:
            raise error
        if self.count == 0:
            sizes.append(len(self.scores))
        real(self)

    monkeypatch.setattr(Ascent, "step", step)
    return sizes


NO_MEMORY = [
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
        "allocate 1 bytes."
    ),
    RuntimeError(
        "[enforce fail at CPUAllocator.cpp] . DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes."
    ),
    RuntimeError("MPS backend out of memory (MPS allocated: 18.00 GB)"),
    RuntimeError("could not create a primitive"),  # oneDNN's
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    MemoryError("std::bad_alloc"),
]


@pytest.mark.parametrize("error", NO_MEMORY)
def test_out_of_memory_halves_the_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Path, error: Exception
) -> None:
    sizes = full(monkeypatch, 2, error)
    assert go(tmp_path, "fc:0-6", batch=8) == {"made": 7, "found": 0, "failed": 0}
    assert sizes == [2, 2, 2, 1]
    one, two = (opened(folder, small()) for folder in (tmp_path, whole))
    for unit in range(7):
        assert one.records["fc", unit]["scores"] == pytest.approx(two.records["fc", unit]["scores"], abs=1e-3)


def test_the_message_of_this_machine() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize(
    "most, error, raised, said",
    [
        (0, NO_MEMORY[0], UserError, "layer fc: out of memory with one image of 32×32"),
        (0, MemoryError("can't allocate"), UserError, "--device cpu"),
        (2, RuntimeError("a bug"), UserError, "RuntimeError: a bug"),
    ],
)
def test_what_a_smaller_batch_does_not_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, error: Exception, raised: type[Exception], said: str
) -> None:
    sizes = full(monkeypatch, most, error)
    with pytest.raises(raised, match=said):
        go(tmp_path, "fc:0-6", batch=4)
    assert sizes == []


def test_images_that_come_to_nothing_are_not_kept(tmp_path: Path) -> None:
    plan = Plan(recipe("modern", {"steps": 3, "rate": 1e300}), "modern", per_unit=2)
    assert go(tmp_path, "fc:1-2", plan) == {"made": 0, "found": 0, "failed": 2}
    record = opened(tmp_path, small()).records["fc", 1]
    assert "not finite" in record["failed"] and record["scores"] == []
    json.loads((tmp_path / MANIFEST).read_text(), parse_constant=lambda name: pytest.fail(name))


def test_more_images_than_a_file_is_wide_are_refused_before_any_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_run", lambda *_: pytest.fail("made"))
    with pytest.raises(UserError, match="--per-unit 700: images of 24 pixels of a unit of fc .*: 682 fit"):
        go(tmp_path, "fc:1-2", replace(PLAN, per_unit=700))
    go_on = pytest.raises(pytest.fail.Exception)
    with go_on:
        go(tmp_path, "fc:1-2", replace(PLAN, per_unit=682))


def test_another_module_under_the_same_name_is_made_anew(tmp_path: Path) -> None:
    """The network and its fingerprint stay; what a layer's name stands for is the user's to say."""
    module = small().module
    for path, made in (("conv2", 2), ("conv2", 0), ("conv3", 2)):
        network = prepare("small", module, SPEC, {"second": path})
        assert go(tmp_path, "second:0-1", network=network)["made"] == made


@pytest.mark.parametrize("channels", [1, 2, 4, 6])
def test_networks_of_any_number_of_channels(tmp_path: Path, channels: int) -> None:
    network = small(InputSpec(32, 32, (0.5,) * channels, (0.25,) * channels))
    assert go(tmp_path, "fc:1-2", network=network)["made"] == 2
    (image,) = opened(tmp_path, network).read("fc", 1)
    assert image.shape == (24, 24, 3)


def test_images_at_a_time() -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert auto_batch(cpu, (224, 224), (224, 224)) == 4 and auto_batch(cuda, (224, 224), (224, 224)) == 64
    assert auto_batch(cpu, (112, 112), (224, 224)) == 16 and auto_batch(cuda, (11, 11), (224, 224)) == 256


def test_a_layer_that_is_run_alone_leaves_the_network_as_it_was(tmp_path: Path) -> None:
    network = small()
    go(tmp_path, "conv1:0", network=network)
    assert not any(m._forward_hooks for m in network.module.modules()) and isinstance(network.module, nn.Module)
    assert json.loads((tmp_path / MANIFEST).read_text())["model"] == "small"
