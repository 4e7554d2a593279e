"""The activations of many images in one file, against the network run on one image at a time."""

from __future__ import annotations

import builtins
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small import LAYERS, brute, network, write_images
from waiting import until

from deepvis.cli import export as command
from deepvis.core.errors import UserError
from deepvis.core.paths import ROOT
from deepvis.inputs.datasets import find_images
from deepvis.store import activations
from deepvis.store.activations import REDUCTIONS, ActivationsExport, export_activations

NETWORK = network()


@pytest.fixture
def images(tmp_path: Path) -> Path:
    write_images(tmp_path / "images", 11)
    (tmp_path / "images" / "img4.png").write_bytes(b"not a picture")
    return tmp_path / "images"


def wanted(images: Path, reduce: str = "", batch: int = 3, layers=tuple(LAYERS)) -> ActivationsExport:
    return ActivationsExport(NETWORK, find_images(images), layers, reduce, batch)


def paths(images: Path) -> list[Path]:
    return [images / name for name in find_images(images).names if name != "img4.png"]


@pytest.mark.parametrize("reduce", ["", *REDUCTIONS])
def test_the_file_holds_what_the_network_gives_for_each_image(tmp_path: Path, images: Path, reduce: str) -> None:
    out, seen = tmp_path / "out.npz", []
    written, broken = export_activations(wanted(images, reduce), out, lambda *now: seen.append(now))
    assert written == 10 and list(broken) == ["img4.png"] and seen[0] == (0, 11, 0) and seen[-1] == (11, 11, 1)
    truth = brute(NETWORK, paths(images))
    with np.load(out, allow_pickle=False) as read:
        assert [*read["files"]] == [path.name for path in paths(images)]
        assert [*read["layers"]] == [*LAYERS] and "img4.png" in read["broken"][0]
        about = json.loads(str(read["about"]))
        for layer in NETWORK.layers:
            found, right = read[f"activations/{layer.name}"], truth[layer.name]
            if reduce:
                right = right.max(2) if reduce == "max" else right.mean(2)
                assert found.shape == (10, layer.units)
            else:
                assert found.shape == (10, layer.units, *((layer.height, layer.width) if layer.is_map else ()))
            assert np.allclose(found.reshape(right.squeeze().shape), right.squeeze(), atol=1e-4)
    assert about["preprocessing"]["mean"] == [0.5, 0.5, 0.5] and about["reduce"] == (reduce or None)
    assert not out.with_name("out.npz.part").exists()


@pytest.mark.parametrize("stop_after", [3, 6, 11])
def test_a_run_that_was_stopped_goes_on_and_gives_the_same_bytes(tmp_path: Path, images: Path, stop_after: int) -> None:
    whole, out = tmp_path / "whole.npz", tmp_path / "out.npz"
    export_activations(wanted(images), whole)
    part, begun = out.with_name("out.npz.part"), []

    def interrupt(done: int, total: int, broken: int) -> None:
        begun.append(done)
        if done >= stop_after:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        export_activations(wanted(images), out, interrupt)
    assert not out.exists() and json.loads((part / "progress.json").read_text())["done"] == stop_after
    with (part / "0.bin").open("ab") as file:
        file.write(b"what a killed process wrote and did not count")
    begun.clear()
    export_activations(wanted(images), out, lambda done, *_: begun.append(done))
    assert begun[0] == stop_after and out.read_bytes() == whole.read_bytes()


def test_a_killed_process_leaves_what_another_goes_on_with(tmp_path: Path, images: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("SIGKILL")
    code = f"""
import sys, time
sys.path[:0] = [{str(ROOT / "tests" / "support")!r}, {str(ROOT)!r}]
from pathlib import Path
from deepvis.store import activations
activations.SAVE_EVERY = 0.0
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_activations as here
def slow(done, total, broken):
    if done >= 6:
        Path({str(tmp_path / "reached")!r}).touch()
        time.sleep(60)
here.export_activations(here.wanted(Path({str(images)!r})), Path({str(tmp_path / "out.npz")!r}), slow)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
    until(lambda: (tmp_path / "reached").exists() or process.poll() is not None, "two batches are done", 120)
    assert process.poll() is None
    process.kill()
    process.wait()
    begun: list[int] = []
    export_activations(wanted(images), tmp_path / "out.npz", lambda done, *_: begun.append(done))
    assert begun[0] == 3, "the batch that was not noted is done again"
    export_activations(wanted(images), tmp_path / "whole.npz")
    assert (tmp_path / "out.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()


def test_a_part_of_another_export_and_damage_are_refused(tmp_path: Path, images: Path) -> None:
    out = tmp_path / "out.npz"

    def stop(done: int, total: int, broken: int) -> None:
        if done:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        export_activations(wanted(images), out, stop)
    for other in (wanted(images, "max"), wanted(images, layers=("conv",)), wanted(images, batch=4)):
        with pytest.raises(UserError, match="part of another export.*Remove the folder"):
            export_activations(other, out)
    progress = out.with_name("out.npz.part") / "progress.json"
    good = progress.read_text()
    for bad in ("{", "[]", good.replace('"done": 3', '"done": 1e9'), good.replace('"done": 3', '"done": 11')):
        progress.write_text(bad)
        with pytest.raises(UserError, match="Remove the folder|not valid JSON"):
            export_activations(wanted(images), out)


def test_two_runs_at_once_are_refused(tmp_path: Path, images: Path) -> None:
    def again(done: int, total: int, broken: int) -> None:
        with pytest.raises(UserError, match="another run"):
            export_activations(wanted(images), tmp_path / "out.npz")

    export_activations(wanted(images), tmp_path / "out.npz", again)


def test_none_that_can_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"x")
    with pytest.raises(UserError, match="none of the images can be read"):
        export_activations(wanted(tmp_path / "images"), tmp_path / "out.npz")


def test_names_and_pyarrow_are_checked_before_the_work(tmp_path: Path, images: Path, monkeypatch) -> None:
    with pytest.raises(UserError, match="ends in .npz or .parquet"):
        export_activations(wanted(images), tmp_path / "out.csv")
    usual = builtins.__import__

    def without(name: str, *rest: object):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return usual(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match="needs pyarrow: pip install"):
        export_activations(wanted(images), tmp_path / "out.parquet")


def test_parquet_has_the_same_numbers(tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(activations, "PIECE", 1 << 17)  # several groups of rows
    export_activations(wanted(images), tmp_path / "out.parquet")
    export_activations(wanted(images), tmp_path / "out.npz")
    read = pq.read_table(tmp_path / "out.parquet")
    with np.load(tmp_path / "out.npz") as right:
        assert read["file"].to_pylist() == [*right["files"]]
        for name in LAYERS:
            flat = right[f"activations/{name}"].reshape(10, -1)
            assert np.array_equal(np.array(read[name].to_pylist(), np.float32), flat)
    assert json.loads(read.schema.metadata[b"layers"])["conv"]["shape"] == [7, 24, 24]


def test_the_command_says_what_it_wrote(tmp_path: Path, images: Path, monkeypatch, capsys) -> None:
    from deepvis.cli.main import main

    monkeypatch.setattr(command, "load_network", lambda args: NETWORK)
    out = tmp_path / "out.npz"
    assert (
        main(["export", "--activations", "conv,head", "--images", str(images), "--reduce", "max", "--out", str(out)])
        == 0
    )
    said = capsys.readouterr().out
    assert "10 images, 2 layers" in said and "skipped img4.png" in said
    assert main(["export", "--activations", "cnv", "--images", str(images), "--out", str(out)]) == 2
    assert "Did you mean conv" in capsys.readouterr().err
    assert main(["export", "--reduce", "max", "--out", str(out)]) == 2
    assert command.REDUCTIONS == REDUCTIONS
