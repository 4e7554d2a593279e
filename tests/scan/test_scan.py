"""The pass: against brute force, interrupted, continued, shared out, with bad input."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small
import torch

from deepvis.cli import main
from deepvis.core.errors import UserError
from deepvis.core.interrupt import ENDING
from deepvis.core.paths import ROOT
from deepvis.core.processes import share
from deepvis.inputs.datasets import find_images
from deepvis.inputs.folders import natural_key
from deepvis.scan import scan as module
from deepvis.scan.index import CHUNK, INDEX, STATE, Index
from deepvis.scan.index_file import load, save
from deepvis.scan.merging import merge
from deepvis.scan.reduce import Bar
from deepvis.scan.scan import Options, cut, scan, shares

OPTIONS = Options(batch=16, workers=1)


@pytest.fixture(scope="module")
def network():
    return small.network()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    small.write_images(folder, 60)
    return folder


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More than two chunks."""
    folder = tmp_path_factory.mktemp("many")
    small.write_images(folder, 2 * CHUNK + 70)
    return folder


def equal(a: Index, b: Index, exact: bool = True) -> None:
    """The same index; `exact`: but for the correlations' last bits to the last bit."""
    assert (tuple(a.files), a.spans, a.count, a.scanned, dict(a.broken)) == (
        tuple(b.files),
        b.spans,
        b.count,
        b.scanned,
        dict(b.broken),
    )
    for side in ("top", "bottom"):
        for name in ("image", "row", "column", "value"):
            assert np.array_equal(getattr(getattr(a, side), name), getattr(getattr(b, side), name)), (side, name)
    assert np.array_equal(a.histogram, b.histogram) and np.array_equal(a.active, b.active)
    close = np.array_equal if exact else lambda x, y: np.allclose(x, y, rtol=1e-12)
    assert close(a.mean, b.mean) and close(a.variance, b.variance)
    for name in a.correlation:
        assert np.allclose(a.correlation[name], b.correlation[name], atol=1e-6)


# ---- right --------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 16, 64])
def test_against_a_pass_in_float64_that_keeps_everything(network, folder: Path, tmp_path: Path, batch: int) -> None:
    index = scan(network, find_images(folder), tmp_path, options=replace(OPTIONS, batch=batch))
    paths = sorted(folder.iterdir(), key=lambda path: natural_key(path.name))
    assert list(index.files) == [path.name for path in paths] and index.is_complete
    exact = network_in_float64()
    kept = small.brute(exact, paths)
    for span in index.spans:
        values = kept[span.name]
        for side, sign in (("top", 1), ("bottom", -1)):
            ranked = getattr(index, side)[span.rows]
            peak = sign * (sign * values).max(2)
            want = sign * -np.sort(-sign * peak, axis=0)[:9].T
            assert np.allclose(ranked.value, want, rtol=1e-5, atol=1e-5), (span.name, side)
            for unit in range(span.units):
                assert len(set(ranked.image[unit])) == 9
                for image, row, column, value in zip(
                    ranked.image[unit], ranked.row[unit], ranked.column[unit], ranked.value[unit]
                ):
                    assert values[image, unit, row * span.width + column] == pytest.approx(value, rel=1e-5, abs=1e-5)
        responses = values.max(2)
        assert np.allclose(index.mean[span.rows], responses.mean(0), rtol=1e-5, atol=1e-6)
        assert np.allclose(index.variance[span.rows], responses.var(0), rtol=1e-4, atol=1e-6)
        moving = responses.std(0) > 1e-6
        assert np.allclose(
            index.correlation[span.name][np.ix_(moving, moving)],
            np.corrcoef(responses.T)[np.ix_(moving, moving)],
            atol=1e-4,
        )


def network_in_float64():
    network = small.network()
    return replace(network, module=network.module.double(), dtype=torch.float64)


def test_what_is_written_is_what_is_read(network, folder: Path, tmp_path: Path) -> None:
    index = scan(network, find_images(folder), tmp_path, options=OPTIONS)
    equal(load(tmp_path / STATE), replace(index, correlation={}))
    read = load(tmp_path / INDEX)
    assert read.sums is None and read.fingerprint == network.fingerprint
    assert np.array_equal(read.top.value, index.top.value) and np.array_equal(read.histogram, index.histogram)
    for name in index.correlation:
        assert (
            np.abs(
                read.correlation[name] - np.where(np.eye(len(index.correlation[name])), 1, index.correlation[name])
            ).max()
            <= 0.5 / 127 + 1e-6
        )
    assert (tmp_path / INDEX).stat().st_mode & 0o444 == 0o444


def test_only_some_layers(network, folder: Path, tmp_path: Path) -> None:
    index = scan(network, find_images(folder), tmp_path, ["head", "relu"], OPTIONS)
    whole = scan(network, find_images(folder), tmp_path / "whole", options=OPTIONS)
    assert [s.name for s in index.spans] == ["head", "relu"]
    assert np.array_equal(index.top[index.span("relu").rows].value, whole.top[whole.span("relu").rows].value)
    with pytest.raises(UserError, match="conv9 was not scanned, only head, relu.*scan all layers"):
        index.span("conv9")


def test_every_convolution(network, folder: Path, tmp_path: Path) -> None:
    all_of_them = module.convolutions(network)
    index = scan(all_of_them, find_images(folder), tmp_path, options=OPTIONS)
    assert [s.name for s in index.spans] == ["conv", "odd"] and index.fingerprint == network.fingerprint


def test_without_the_weakest_and_correlations(network, folder: Path, tmp_path: Path) -> None:
    index = scan(network, find_images(folder), tmp_path, options=replace(OPTIONS, weakest=False, correlation=False))
    whole = scan(network, find_images(folder), tmp_path / "whole", options=OPTIONS)
    assert (index.bottom.image == -1).all() and not index.correlation
    assert np.array_equal(index.top.image, whole.top.image)


# ---- interrupted, continued ---------------------------------------------------------------------


class Stopped(Exception):
    pass


def stop_at(image: int):
    def progress(done: int, total: int, broken: int) -> None:
        if done >= image:
            raise Stopped

    return progress


@pytest.mark.parametrize("at", [32, CHUNK, CHUNK + 48])
def test_going_on_comes_to_the_same(network, many: Path, tmp_path: Path, at: int) -> None:
    whole = scan(network, find_images(many), tmp_path / "whole", options=OPTIONS)
    with pytest.raises(Stopped):
        scan(network, find_images(many), tmp_path / "cut", options=replace(OPTIONS, every=0), progress=stop_at(at + 16))
    assert load(tmp_path / "cut" / STATE).scanned == ((0, at),)
    equal(scan(network, find_images(many), tmp_path / "cut", options=OPTIONS), whole)


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "deepvis.cli", "scan", *args]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    (folder / "model.yaml").write_text(
        "source: python:small:Small\nweights: none\nsoftmax: false\n"
        "input: {height: 24, width: 24, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}\n"
        "layers: {conv: conv, relu: relu, pool: pool, odd: odd, head: head}\n"
    )
    shutil.copy(Path(small.__file__), folder / "small.py")
    return folder


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{Path(small.__file__).parent}", **more}


def test_killed_and_started_again(model: Path, many: Path, tmp_path: Path) -> None:
    args = ["--model", str(model), "--images", str(many), "--batch", "16", "--workers", "1", "--every", "0"]
    subprocess.run(command(*args, "--out", str(tmp_path / "whole")), check=True, env=environment(), capture_output=True)
    out = tmp_path / "killed"
    for _ in range(3):
        process = subprocess.Popen(
            command(*args, "--out", str(out)), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        before = load(out / STATE).scanned if (out / STATE).exists() else ()
        deadline = time.time() + 120
        while process.poll() is None and time.time() < deadline:
            if (out / STATE).exists() and load(out / STATE).scanned != before:
                break
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (out / STATE).exists()
    done = subprocess.run(command(*args, "--out", str(out)), env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    equal(load(out / STATE), load(tmp_path / "whole" / STATE))
    assert load(out / INDEX).count == 2 * CHUNK + 70


@pytest.mark.parametrize("number", ENDING, ids=lambda number: number.name)
def test_signals_keep_what_was_scanned(number: signal.Signals, model: Path, many: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    args = [
        "--model",
        str(model),
        "--images",
        str(many),
        "--batch",
        "2",
        "--workers",
        "1",
        "--every",
        "0.2",
        "--out",
        str(out),
    ]
    process = subprocess.Popen(
        command(*args), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    while process.poll() is None and not (out / STATE).exists():
        time.sleep(0.02)
    before = load(out / STATE).count
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number and "to resume" in said
    state = load(out / STATE)
    assert before <= state.count < 2 * CHUNK + 70


@pytest.mark.parametrize(
    "rank, world, said",
    [
        ("1", None, ""),
        ("x", None, ""),
        (None, "1", ""),
        ("", "", ""),
        (" 0 ", "1", ""),
        ("1", "1", "RANK is '1' and WORLD_SIZE '1'"),
        ("-1", "2", "RANK is '-1'"),
        ("0", "0", "WORLD_SIZE '0'"),
        ("0", "-3", "WORLD_SIZE '-3'"),
        ("x", "2", "RANK is 'x'"),
        ("0", "two", "WORLD_SIZE is 'two'"),
        ("1.5", "2", "RANK is '1.5'"),
        (None, "2", "RANK is 'not set'"),
        ("9" * 5000, "2", "RANK is '999"),
        ("²", "3", "RANK is '²'"),
    ],
)
def test_the_processs_number(
    rank: str | None, world: str | None, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """The same for scan and for synthesize; a RANK without a WORLD_SIZE is another program's."""
    for name, value in (("RANK", rank), ("WORLD_SIZE", world)):
        monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
    if not said:
        assert share() == (0, 1)
        return
    with pytest.raises(UserError, match="torchrun sets"):
        share()
    assert main.main(["scan", "--images", "photos"]) == 2 and said in capsys.readouterr().err


def test_images_that_come_later_are_added(network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, out = tmp_path / "images", tmp_path / "out"
    small.write_images(folder, 40, first=100)
    scan(network, find_images(folder), out, options=OPTIONS)
    small.write_images(folder, 30)  # these come before the others by name
    read = []
    monkeypatch.setattr(
        module.Images,
        "read",
        lambda self, number, *rest, old=module.Images.read: (read.append(number), old(self, number, *rest))[1],
    )
    grown = scan(network, find_images(folder), out, options=OPTIONS)
    assert sorted(read) == list(range(40, 70)) and grown.count == 70 and grown.is_complete
    fresh = scan(network, find_images(folder), tmp_path / "fresh", options=OPTIONS)
    assert np.allclose(grown.top.value, fresh.top.value, rtol=1e-6, atol=1e-6) and np.array_equal(
        grown.histogram.sum(1), fresh.histogram.sum(1)
    )
    assert np.allclose(grown.mean, fresh.mean, rtol=1e-6)
    read.clear()
    again = scan(network, find_images(folder), out, options=OPTIONS)
    assert not read and again.count == 70


def test_growing_past_the_end_of_a_list_is_as_one_pass(network, many: Path, tmp_path: Path) -> None:
    images = find_images(many)
    scan(network, replace(images, names=images.names[: CHUNK + 160]), tmp_path / "grown", options=OPTIONS)
    equal(
        scan(network, images, tmp_path / "grown", options=OPTIONS),
        scan(network, images, tmp_path / "whole", options=OPTIONS),
    )


# ---- shared out ---------------------------------------------------------------------------------


def test_shares_are_whole_chunks() -> None:
    assert shares(0, 5 * CHUNK + 3, 2) == [(0, 3 * CHUNK), (3 * CHUNK, 5 * CHUNK + 3)]
    assert shares(100, 3 * CHUNK, 2) == [(100, CHUNK), (CHUNK, 3 * CHUNK)]
    assert shares(0, 10, 3) == [(0, 0), (0, 0), (0, 10)]
    assert cut(0, CHUNK + 5, 400) == [(0, 400), (400, CHUNK), (CHUNK, CHUNK + 5)]
    assert cut(350, 400, 32) == [(350, 352), (352, 384), (384, 400)]


@pytest.mark.parametrize("parts", [2, 5])
def test_merging_shares_in_any_order_is_one_pass(
    network, many: Path, tmp_path: Path, parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = scan(network, find_images(many), tmp_path / "whole", options=OPTIONS)
    images, states = find_images(many), []
    for rank in range(parts):
        scan_share(network, images, tmp_path / "parts", rank, parts, monkeypatch)
        states.append(load(tmp_path / "parts" / f"state-{rank}-of-{parts}.npz"))
    rng = np.random.default_rng(0)
    for _ in range(4):
        equal(merge([states[i] for i in rng.permutation(parts) if states[i].scanned]), whole)
    assert merge(states[:1] + [merge(states[1:])]).count == whole.count
    with pytest.raises(UserError, match="count twice"):
        merge([states[-1], states[-1]])


def scan_share(network, images, out: Path, rank: int, world: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Enough(Exception):
        pass

    def gathered(*_: object) -> Index:
        raise Enough

    monkeypatch.setattr(module, "_gathered", gathered)
    try:
        scan(network, images, out, options=replace(OPTIONS, rank=rank, world=world))
    except Enough:
        pass


def test_merging_folders_scanned_apart(network, tmp_path: Path) -> None:
    root = tmp_path / "images"
    for part in "ba":
        small.write_images(root / part, 30, first=ord(part) * 100)
    whole = scan(network, find_images(root), tmp_path / "whole", options=OPTIONS)
    images, states = find_images(root), []
    for part in "ab":
        names = tuple(name for name in images.names if name.startswith(part))
        states.append(scan(network, replace(images, names=names), tmp_path / part, options=replace(OPTIONS, batch=10)))
    merged = merge(states[::-1])
    equal_but_for_rounding(merged, whole)


def equal_but_for_rounding(a: Index, b: Index) -> None:
    assert tuple(a.files) == tuple(b.files) and a.count == b.count
    assert np.allclose(a.top.value, b.top.value, rtol=1e-6, atol=1e-6)
    assert np.allclose(a.mean, b.mean, rtol=1e-6) and (a.top.image == b.top.image).mean() > 0.95


def test_two_processes(model: Path, many: Path, tmp_path: Path) -> None:
    args = ["--model", str(model), "--images", str(many), "--batch", "16", "--workers", "1"]
    one = environment(OMP_NUM_THREADS="1")
    subprocess.run(command(*args, "--out", str(tmp_path / "one")), check=True, env=one, capture_output=True)
    both = [
        subprocess.Popen(
            command(*args, "--out", str(tmp_path / "two")),
            env={**one, "RANK": str(rank), "WORLD_SIZE": "2"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    for process in both:
        _out, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    equal(load(tmp_path / "two" / STATE), load(tmp_path / "one" / STATE))
    assert sorted(p.name for p in (tmp_path / "two").glob("*.npz")) == [INDEX, STATE]


def test_archives(network, folder: Path, tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    paths = sorted(folder.iterdir(), key=lambda path: natural_key(path.name))
    for i in range(3):
        with tarfile.open(shards / f"data-{i}.tar", "w") as archive:
            for path in paths[i * 20 : i * 20 + 20]:
                archive.add(path, path.name)
            archive.add(__file__, "notes.json")
    images = find_images(shards)
    assert images.names[0] == "data-0.tar!img0.png" and len(images.names) == 60
    packed = scan(network, images, tmp_path / "packed", options=OPTIONS)
    plain = scan(network, find_images(folder), tmp_path / "plain", options=OPTIONS)
    assert np.array_equal(packed.top.image, plain.top.image) and np.array_equal(packed.mean, plain.mean)


def test_memory_does_not_grow(network, folder: Path) -> None:
    """The arrays of a tally are the same after any number of images."""
    from deepvis.scan.reduce import Tally

    tally = Tally(module.spans_of(network, ["conv", "head"]), 9, torch.device("cpu"))

    def size() -> int:
        tensors = [v for v in vars(tally).values() if isinstance(v, torch.Tensor)] + list(tally.products.values())
        return sum(t.numel() * t.element_size() for t in tensors)

    before, x = size(), torch.randn(64, 3, 24, 24)
    for start in range(0, 4 * CHUNK, 64):
        tally.commit(module.look(network, x, tally.spans, tally.bar), list(range(start, start + 64)))
        if (start + 64) % CHUNK == 0:
            tally.end_chunk()
    assert size() == before and tally.count == 4 * CHUNK


def test_hooks_leave_even_when_the_network_fails(network) -> None:
    with pytest.raises(RuntimeError):
        module.look(network, torch.zeros(1, 3, 9, 9), module.spans_of(network, ["conv"]), Bar.none(7, True))
    assert not any(child._forward_hooks for child in network.module.modules())


def test_out_of_memory_halves_the_batch(network, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, plain = [], module.look

    def tight(net, x, *rest):
        sizes.append(len(x))
        if len(x) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(net, x, *rest)

    monkeypatch.setattr("deepvis.networks.replicas.LARGEST", 1)
    monkeypatch.setattr(module, "look", tight)
    index = scan(network, find_images(folder), tmp_path / "tight", options=OPTIONS)
    monkeypatch.setattr(module, "look", plain)
    whole = scan(network, find_images(folder), tmp_path / "whole", options=OPTIONS)
    assert sizes[:3] == [16, 8, 4] and max(sizes[3:]) == 4
    equal_but_for_rounding(index, whole)


def test_batches_are_ranked_in_their_order_whichever_is_done_first(
    network, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "same").mkdir()
    for number in range(20):
        shutil.copy(folder / "img3.png", tmp_path / "same" / f"{number}.png")
    plain, begun = module.look, []

    def uneven(net, *rest):
        begun.append(net)
        time.sleep(0.2 if len(begun) == 1 else 0)
        return plain(net, *rest)

    monkeypatch.setattr(module, "look", uneven)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        index = scan(network, find_images(tmp_path / "same"), tmp_path / "out", options=replace(OPTIONS, batch=4))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert len(set(map(id, begun))) == 2  # replicas at work
    assert (
        index.top.image[index.span("conv").rows] == np.arange(9)
    ).all()  # of a vector, rounding depends on the place


# ---- bad input ----------------------------------------------------------------------------------


def test_broken_images_are_skipped_and_listed(network, folder: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed"
    shutil.copytree(folder, mixed)
    (mixed / "img7.png").write_bytes((folder / "img7.png").read_bytes()[:100])
    (mixed / "img8.png").write_bytes(b"")
    (mixed / "img9.png").write_text("no picture")
    index = scan(network, find_images(mixed), tmp_path / "out", options=OPTIONS)
    assert sorted(index.broken) == [7, 8, 9] and index.count == 57
    assert "img8.png" in index.broken[8] and load(tmp_path / "out" / INDEX).broken == index.broken
    assert not np.isin([7, 8, 9], index.top.image).any()


def test_a_photo_cut_short_is_broken_at_any_size(network, tmp_path: Path) -> None:
    small.write_images(tmp_path / "images", 6, suffix=".jpg")
    import cv2

    noise = np.random.default_rng(0).integers(0, 256, (600, 700, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "images" / "large.jpg"), noise)
    data = (tmp_path / "images" / "large.jpg").read_bytes()
    (tmp_path / "images" / "short.jpg").write_bytes(data[: len(data) // 2])
    index = scan(network, find_images(tmp_path / "images"), tmp_path / "out", options=OPTIONS)
    assert [index.files[i] for i in index.broken] == ["short.jpg"]


def test_empty_folder_and_no_readable_image(network, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no image in it"):
        find_images(tmp_path / "empty")
    with pytest.raises(UserError, match="does not exist"):
        find_images(tmp_path / "nowhere")
    (tmp_path / "empty" / "a.png").write_text("x")
    with pytest.raises(UserError, match="none of the 1 images can be read"):
        scan(network, find_images(tmp_path / "empty"), tmp_path / "out", options=OPTIONS)
    (tmp_path / "bad.tar").write_bytes(b"x" * 700)
    with pytest.raises(UserError, match="tar archive"):
        find_images(tmp_path / "bad.tar")


def test_index_that_cannot_be_read(network, folder: Path, tmp_path: Path) -> None:
    scan(network, find_images(folder), tmp_path, options=OPTIONS)
    whole = (tmp_path / STATE).read_bytes()
    for bad in (b"", b"nonsense", whole[: len(whole) // 2], whole[:-100]):
        (tmp_path / STATE).write_bytes(bad)
        with pytest.raises(UserError, match="cannot be read as an index.*scan again"):
            scan(network, find_images(folder), tmp_path, options=OPTIONS)
    (tmp_path / STATE).unlink()
    small.write_images(tmp_path / "others", 3)
    with pytest.raises(UserError, match="images cannot be added"):
        scan(network, find_images(tmp_path / "others"), tmp_path, options=OPTIONS)
    with pytest.raises(UserError, match="there is no index"):
        load(tmp_path / "nothing.npz")


def test_an_index_of_an_earlier_version_goes_on(network, tmp_path: Path) -> None:
    """Its mark is the former one; new images come to it, and with them the present mark."""
    photos, out = tmp_path / "photos", tmp_path / "out"
    former = replace(network, fingerprint=network.fingerprint.former)
    small.write_images(photos, 20)
    old = scan(former, find_images(photos), out, options=OPTIONS)
    assert load(out / STATE).fingerprint == network.fingerprint.former
    new = scan(network, find_images(photos), tmp_path / "new", options=OPTIONS)
    assert old.check(network.fingerprint).fingerprint == network.fingerprint
    with pytest.raises(
        UserError, match="in two of them|cannot be merged|more than one"
    ):  # for its images, not for its mark
        merge([load(out / STATE).check(network.fingerprint), load(tmp_path / "new" / STATE)])
    small.write_images(photos, 30)
    grown = scan(network, find_images(photos), out, options=OPTIONS)
    assert load(out / INDEX).fingerprint == network.fingerprint == load(out / STATE).fingerprint
    assert grown.count == 30 and new.count == 20


def test_index_of_another_network_or_other_choices(network, folder: Path, tmp_path: Path) -> None:
    scan(network, find_images(folder), tmp_path, options=OPTIONS)
    with pytest.raises(UserError, match="another network"):
        scan(replace(network, fingerprint="other"), find_images(folder), tmp_path, options=OPTIONS)
    with pytest.raises(UserError, match="scan of the layers"):
        scan(network, find_images(folder), tmp_path, ["conv"], OPTIONS)
    with pytest.raises(UserError, match="top 9; this scan has"):
        scan(network, find_images(folder), tmp_path, options=replace(OPTIONS, k=4))


def test_images_that_have_moved(network, folder: Path, tmp_path: Path) -> None:
    scan(network, find_images(folder), tmp_path / "out", options=OPTIONS)
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved)
    index = scan(network, find_images(moved), tmp_path / "out", options=OPTIONS)
    assert index.root == str(moved) and index.count == 60
    (moved / "img3.png").unlink()
    (moved / "img4.png").unlink()
    assert index.missing() == ["img3.png", "img4.png"]
    with pytest.raises(UserError, match=r"2 are not in .*img3.png, img4.png"):
        scan(network, find_images(moved), tmp_path / "out", options=OPTIONS)
    with pytest.raises(UserError, match="img3.png, img4.png"):
        load(tmp_path / "out" / INDEX).moved(moved)
    assert load(tmp_path / "out" / INDEX).moved(folder).missing() == []


def test_two_scans_into_one_folder(network, folder: Path, tmp_path: Path) -> None:
    def second(*_: int) -> None:
        with pytest.raises(UserError, match="another scan is writing there"):
            scan(network, find_images(folder), tmp_path, options=OPTIONS)

    assert scan(network, find_images(folder), tmp_path, options=OPTIONS, progress=second).count == 60


def test_disk_full_leaves_the_old_index(network, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = scan(network, find_images(folder), tmp_path, options=OPTIONS)
    before = (tmp_path / INDEX).read_bytes()

    def full(file, **_arrays) -> None:
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(UserError, match="No space left.*The file there is kept"):
        save(index, tmp_path / INDEX)
    assert (tmp_path / INDEX).read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == [".lock-0", INDEX, STATE]


def test_command_line(
    model: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(small.__file__).parent))
    run = ["scan", "--model", str(model), "--images", str(folder), "--out", str(tmp_path / "out")]
    assert main.main([*run, "--layers", "conv,head"]) == 0
    assert "11 units of 2 layers, 60 images" in capsys.readouterr().out
    assert main.main([*run, "--batch", "many"]) == 2 and "--batch 'many'" in capsys.readouterr().err
    assert main.main([*run, "--layers", "conv9"]) == 2 and "conv9" in capsys.readouterr().err
