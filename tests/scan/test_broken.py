"""Whatever lies among the images of a scan: it is broken, counted, and the scan goes on."""

from __future__ import annotations

import io
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import small
import torch

from deepvis.core.errors import UserError
from deepvis.inputs.datasets import find_images
from deepvis.networks.network import prepare
from deepvis.scan.index import INDEX
from deepvis.scan.index_file import load
from deepvis.scan.scan import Options, scan

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="links and pipes as on Unix")
OPTIONS = Options(batch=4, workers=1)


@pytest.fixture(scope="module")
def network():
    return small.network()


def picture(seed: int = 0) -> bytes:
    image = np.random.default_rng(seed).integers(0, 256, (30, 30, 3), np.uint8)
    return cv2.imencode(".png", image)[1].tobytes()


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as file:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
    return path


def test_files_that_are_none(network, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    small.write_images(folder, 5)
    os.mkfifo(folder / "pipe.png")
    (folder / "zero.jpg").symlink_to("/dev/zero")
    (folder / "bad.jpg").symlink_to("bad.jpg")
    (folder / "dead.npy").symlink_to("nowhere")
    (folder / "bad.tar").write_bytes(b"x" * 700)
    index = scan(network, find_images(folder), tmp_path / "out", options=OPTIONS)
    assert index.count == 5 and sorted(index.files[i] for i in index.broken) == [
        "bad.jpg",
        "bad.tar",
        "dead.npy",
        "pipe.png",
        "zero.jpg",
    ]
    why = {index.files[i]: text for i, text in index.broken.items()}
    assert "is a pipe" in why["pipe.png"] and "is a device" in why["zero.jpg"] and "tar archive" in why["bad.tar"]
    assert load(tmp_path / "out" / INDEX).broken == index.broken


def test_names_in_a_list_that_no_file_can_have(network, tmp_path: Path) -> None:
    small.write_images(tmp_path / "images", 3)
    names = [f"images/img{i}.png" for i in range(3)] + [
        "n" * 300 + ".png",
        "a\0b.png",
        "/".join(["d" * 200] * 30) + "/a.png",
        "images",
    ]
    (tmp_path / "list.txt").write_text("\n".join(names))
    index = scan(network, find_images(tmp_path / "list.txt"), tmp_path / "out", options=OPTIONS)
    assert index.count == 3 and sorted(index.broken) == [3, 4, 5]
    assert len(load(tmp_path / "out" / INDEX).files) == 6


def test_members_with_odd_names_are_read_like_others(network, tmp_path: Path) -> None:
    members = {
        name: picture(i)
        for i, name in enumerate(
            ["n" * 300 + ".png", "a/" * 200 + "b.png", "../../up.png", "a!b.png", "ü\n.png", "zero\0byte.png"]
        )
    }
    index = scan(network, find_images(archive(tmp_path / "a.tar", members)), tmp_path / "out", options=OPTIONS)
    assert index.count >= len(members) - 1 and not index.broken
    assert not (tmp_path.parent / "up.png").exists()
    assert len(load(tmp_path / "out" / INDEX).files) == len(index.files)


def test_an_exclamation_mark_in_a_files_name(network, tmp_path: Path) -> None:
    (tmp_path / "images" / "wow!").mkdir(parents=True)
    (tmp_path / "images" / "wow!" / "a!b.png").write_bytes(picture())
    (tmp_path / "images" / "!.png").write_bytes(picture(1))
    assert scan(network, find_images(tmp_path / "images"), tmp_path / "out", options=OPTIONS).count == 2


def test_members_beyond_the_end_of_an_archive(network, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    path = archive(folder / "a.tar", {f"{i}.png": picture(i) for i in range(4)})
    path.write_bytes(path.read_bytes()[: -(len(path.read_bytes()) - 3 * 4096)])  # within the third
    (folder / "whole.png").write_bytes(picture())
    index = scan(network, find_images(folder), tmp_path / "out", options=OPTIONS)
    assert index.count >= 2 and len(index.broken) == 1
    assert "a.tar ends before its" in next(iter(index.broken.values()))


def test_a_member_that_claims_more_than_there_is(network, tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar", {"good.png": picture(), "huge.png": b"12345"})
    data = bytearray(path.read_bytes())
    at = data.index(b"huge.png")
    data[at + 124 : at + 136] = b"77777777777\0"  # 8 GB
    header = bytearray(data[at : at + 512])
    header[148:156] = b" " * 8
    data[at + 148 : at + 156] = b"%06o\0 " % sum(header)
    path.write_bytes(data)
    index = scan(network, find_images(path), tmp_path / "out", options=OPTIONS)
    assert index.count == 1 and len(index.broken) == 1


def test_an_archive_that_is_none_is_said_where_it_is_all_there_is(tmp_path: Path) -> None:
    (tmp_path / "bad.tar").write_bytes(b"x" * 700)
    with pytest.raises(UserError, match="cannot be read as a tar archive"):
        find_images(tmp_path / "bad.tar")
    os.mkfifo(tmp_path / "pipe.tar")
    with pytest.raises(UserError, match="is a pipe"):
        find_images(tmp_path / "pipe.tar")


@pytest.mark.skipif(
    not os.path.exists("/proc/self/mem"), reason="a file that opens and cannot be read, as on a failing disk"
)
def test_a_file_that_opens_and_cannot_be_read(network, tmp_path: Path) -> None:
    small.write_images(tmp_path / "images", 3)
    (tmp_path / "images" / "mem.jpg").symlink_to("/proc/self/mem")
    index = scan(network, find_images(tmp_path / "images"), tmp_path / "out", options=OPTIONS)
    assert index.count == 3
    ((number, why),) = index.broken.items()
    assert index.files[number] == "mem.jpg" and "mem.jpg cannot be read" in why


def test_an_archive_that_is_damaged_in_the_middle_says_what_is_lost(network, tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar", {f"{i}.png": picture(i) for i in range(5)})
    with tarfile.open(path) as file:
        second = file.getmembers()[1].offset  # where the extended header of its name, or its own, begins
    data = bytearray(path.read_bytes())
    data[second : second + 200] = bytes(range(200))
    path.write_bytes(data)
    index = scan(network, find_images(path), tmp_path / "out", options=OPTIONS)
    assert index.count == 1 and len(index.broken) == 1
    assert f"damaged from byte {second:,} on" in next(iter(index.broken.values()))


def test_a_member_of_negative_size(network, tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar", {"0.png": picture(), "1.png": picture(1)})
    data = bytearray(path.read_bytes())
    with tarfile.open(path) as file:
        start = file.getmembers()[1].offset
    data[start + 124 : start + 136] = b"\xff" * 12
    data[start + 148 : start + 156] = b" " * 8
    data[start + 148 : start + 156] = b"%06o\0 " % sum(data[start : start + 512])
    path.write_bytes(data)
    index = scan(network, find_images(path), tmp_path / "out", options=OPTIONS)
    assert index.count == 1 and len(index.broken) >= 1


# ---- networks that take one picture alone -----------------------------------------------------------


class First(torch.nn.Module):
    """Looks at the first picture of a batch, or refuses more than one."""

    def __init__(self, refuses: bool) -> None:
        super().__init__()
        self.conv, self.refuses = torch.nn.Conv2d(3, 4, 3), refuses

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > 1 and self.refuses:
            raise ValueError("one at a time")
        return self.conv(x[:1])


@pytest.mark.parametrize(
    "refuses, said",
    [(True, "fails with 4 pictures at a time: ValueError: one at a time"), (False, "has 1 rows for a batch of 4")],
)
def test_a_network_that_takes_one_picture_alone(refuses: bool, said: str, tmp_path: Path) -> None:
    net = prepare("first", First(refuses), small.SPEC, {"conv": "conv"})
    small.write_images(tmp_path / "images", 5)
    with pytest.raises(UserError, match=f"{said}.*--batch 1"):
        scan(net, find_images(tmp_path / "images"), tmp_path / "out", options=OPTIONS)
    index = scan(net, find_images(tmp_path / "images"), tmp_path / "out", options=replace(OPTIONS, batch=1))
    assert index.count == 5 and len(set(index.top.image[0])) == 5 + 1  # and places that are still free


def test_layers_of_too_many_units_are_refused_before_memory_is_taken(
    network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.write_images(tmp_path / "images", 2)
    monkeypatch.setattr("deepvis.scan.scan.MOST_MEMORY", 10_000)
    with pytest.raises(UserError, match="GB of memory.*for layer .*--layers"):
        scan(network, find_images(tmp_path / "images"), tmp_path / "out", options=OPTIONS)
