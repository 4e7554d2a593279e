"""Going through folders with links of all kinds, for the window and for scans."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deepvis.core.errors import UserError
from deepvis.inputs.datasets import find_images
from deepvis.inputs.folders import listed, natural_key
from deepvis.inputs.playlist import Playlist

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="links and pipes as on Unix")


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def is_jpg(name: str) -> bool:
    return name.endswith(".jpg")


def test_natural_order_files_before_sub_folders(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "img10.jpg",
        "IMG2.jpg",
        "n10/a.jpg",
        "n2/b.jpg",
        "n2/deep/c.jpg",
        ".hidden/d.jpg",
        "n2/.e.jpg",
        "readme",
    )
    found = listed(tmp_path, is_jpg)
    assert found.files == found.names == ["IMG2.jpg", "img10.jpg", "n2/b.jpg", "n2/deep/c.jpg", "n10/a.jpg"]
    assert found.skipped == 0 and found.folders == [
        tmp_path,
        tmp_path / "n2",
        tmp_path / "n2" / "deep",
        tmp_path / "n10",
    ]
    assert listed(tmp_path, is_jpg, deep=False).files == ["IMG2.jpg", "img10.jpg"]


def test_what_is_no_file_is_counted(tmp_path: Path) -> None:
    touch(tmp_path, "good.jpg", "folder.jpg/inside.jpg")
    (tmp_path / "bad.jpg").symlink_to("bad.jpg")
    (tmp_path / "dead.jpg").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "device.jpg").symlink_to("/dev/zero")
    (tmp_path / "link.jpg").symlink_to("good.jpg")
    found = listed(tmp_path, is_jpg)
    assert found.files == ["good.jpg", "link.jpg", "folder.jpg/inside.jpg"] and found.skipped == 4
    assert found.names == [
        "bad.jpg",
        "dead.jpg",
        "device.jpg",
        "good.jpg",
        "link.jpg",
        "pipe.jpg",
        "folder.jpg/inside.jpg",
    ]
    playlist = Playlist(tmp_path)
    assert [playlist.entry(i).name for i in range(len(playlist))] == ["good.jpg", "link.jpg"] and playlist.missing == 4
    assert find_images(tmp_path).names == tuple(found.names)  # a scan counts the others as broken


def test_links_to_folders_are_followed_and_circles_come_to_an_end(tmp_path: Path) -> None:
    touch(tmp_path, "root/a/1.jpg", "far/2.jpg", "far/deep/3.jpg")
    root = tmp_path / "root"
    (root / "out").symlink_to(tmp_path / "far")
    (root / "a" / "up").symlink_to("..")
    (root / "self").symlink_to(".")
    (tmp_path / "far" / "back").symlink_to(root)
    (tmp_path / "far" / "deep" / "again").symlink_to("..")
    (root / "knot").symlink_to("knot")
    found = listed(root, is_jpg)
    assert found.files == ["a/1.jpg", "out/2.jpg", "out/deep/3.jpg"] and found.skipped == 4
    assert find_images(root).names == ("a/1.jpg", "out/2.jpg", "out/deep/3.jpg")
    assert len(Playlist(root)) == 3


def test_links_criss_cross_do_not_multiply(tmp_path: Path) -> None:
    """Each of 12 folders leads to each other one: by all ways there are more than 12! names."""
    for i in range(12):
        touch(tmp_path, f"{i}/{i}.jpg")
        for j in range(12):
            if j != i:
                (tmp_path / f"{i}" / f"to{j}").symlink_to(f"../{j}")
    assert 12 <= len(listed(tmp_path, is_jpg).files) <= 24


def test_a_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a/1.jpg", "b/2.jpg")
    real = os.scandir

    def scandir(path: Path):
        if Path(path).name == "a":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = listed(tmp_path, is_jpg)
    assert found.files == ["b/2.jpg"] and found.skipped == 1
    with pytest.raises(UserError, match="cannot be listed .Permission denied"):
        listed(tmp_path / "a", is_jpg)


def test_a_folder_as_deep_as_paths_go(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(60):  # beyond 4096 bytes in all
        os.mkdir("d" * 100, dir_fd=here)
        here, above = os.open("d" * 100, os.O_RDONLY, dir_fd=here), here
        os.close(above)
    os.close(here)
    touch(tmp_path, "a.jpg")
    found = listed(tmp_path, is_jpg)
    assert found.files == ["a.jpg"] and found.skipped == 1


def test_numbers_of_any_length_have_a_place() -> None:
    assert sorted(["9" * 9000, "2", "10"], key=natural_key)[:2] == ["2", "10"]


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_pipe_as_input_says_what_cameras_are_called(kind: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x") if kind == "pipe" else (tmp_path / "x").symlink_to("/dev/zero")
    with pytest.raises(UserError, match=rf"x is a {kind}.*expected a folder.*a camera's number or a stream's address"):
        Playlist(tmp_path / "x")
    with pytest.raises(UserError, match=f"is a {kind}"):
        find_images(tmp_path / "x")


def test_names_in_lists_that_no_file_can_have(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "list.txt").write_bytes(b"a.jpg\nb\0c.jpg\n" + b"n" * 300 + b".jpg\npipe.jpg\n")
    playlist = Playlist(tmp_path / "list.txt")
    assert len(playlist) == 1 and playlist.missing == 3
    names = find_images(tmp_path / "list.txt").names
    assert len(names) == 4 and not any("\0" in name for name in names)
