from __future__ import annotations

import os
from pathlib import Path

import pytest

from deepvis.core.errors import UserError
from deepvis.inputs.playlist import Playlist


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names(playlist: Playlist) -> list[str]:
    return [playlist.entry(place).name for place in range(len(playlist))]


def test_natural_order_without_regard_to_case(tmp_path):
    touch(tmp_path, "img10.png", "IMG2.JPG", "img1.webp", "b.mp4", "A.tiff", "img2b.bmp")
    assert names(Playlist(tmp_path)) == [
        "A.tiff", "b.mp4", "img1.webp", "IMG2.JPG", "img2b.bmp", "img10.png",
    ]  # fmt: skip


def test_only_files_with_known_suffixes_that_are_not_hidden(tmp_path):
    touch(tmp_path, "a.png", ".b.png", "c.docx", "d", "e.png.part", "sub/f.png")
    (tmp_path / "folder.png").mkdir()
    assert names(Playlist(tmp_path)) == ["a.png"]


def test_subfolders_count_if_the_folder_has_nothing_itself(tmp_path):
    touch(tmp_path, "n10/a.png", "n2/b.png", "n2/deep/c.png", ".hidden/d.png", "readme.md")
    playlist = Playlist(str(tmp_path))
    listed = [playlist.entry(place).relative_to(tmp_path).as_posix() for place in range(3)]
    assert listed == ["n2/b.png", "n2/deep/c.png", "n10/a.png"] and len(playlist) == 3
    touch(tmp_path, "n2/deep/d.png")
    assert [playlist.step(1).name for _ in range(3)] == ["c.png", "d.png", "a.png"]


def test_around_the_ends(tmp_path):
    touch(tmp_path, "a.png", "b.png", "c.png")
    playlist = Playlist(tmp_path)
    assert [playlist.step(n).name for n in (0, -1, 1, 4, -7, 300)] == [
        "a.png", "c.png", "a.png", "b.png", "a.png", "a.png",
    ]  # fmt: skip
    assert playlist.entry(-1).name == "c.png" and playlist.entry(4).name == "b.png"
    assert playlist.peek(-1).name == "c.png" and playlist.step(0).name == "a.png"


def test_files_come_and_go(tmp_path):
    touch(tmp_path, "b.png", "d.png", "f.png")
    playlist = Playlist(tmp_path)
    assert playlist.step(1).name == "d.png"
    touch(tmp_path, "a.png", "c.png", "e.png")
    assert playlist.step(1).name == "e.png"
    (tmp_path / "b.png").unlink()
    assert playlist.step(-1).name == "d.png"
    assert playlist.step(-1).name == "c.png"


@pytest.mark.parametrize(
    "gone, current, steps, reached",
    [
        ("c", 2, 1, "d"),  # what would have followed it
        ("c", 2, 2, "e"),
        ("c", 2, 0, "d"),
        ("c", 2, -1, "b"),
        ("cd", 2, 1, "e"),
        ("cb", 2, -1, "a"),
        ("e", 4, 1, "a"),  # around the end
        ("e", 4, -1, "d"),
        ("a", 0, 1, "b"),
        ("a", 0, -1, "e"),
        ("ab", 2, 1, "d"),  # others vanished, not the current one
        ("abcde", 2, 1, "z"),
    ],
)
def test_the_current_file_vanishes(tmp_path, gone, current, steps, reached):
    touch(tmp_path, *(f"{letter}.png" for letter in "abcde"))
    playlist = Playlist(tmp_path)
    playlist.step(current)
    if len(gone) == 5:
        touch(tmp_path, "z.png")
    for letter in gone:
        (tmp_path / f"{letter}.png").unlink()
    assert playlist.step(steps).name == f"{reached}.png"


def test_an_old_folder_is_not_listed_again(tmp_path, monkeypatch):
    touch(tmp_path, "a.png", "b.png")
    os.utime(tmp_path, (1_000_000, 1_000_000))
    playlist = Playlist(tmp_path)
    monkeypatch.setattr(playlist, "_list", lambda: pytest.fail("listed again"))
    assert playlist.step(1).name == "b.png"


def test_a_change_in_the_same_tick_is_not_missed(tmp_path):
    touch(tmp_path, "a.png")
    before = tmp_path.stat().st_mtime_ns
    playlist = Playlist(tmp_path)
    touch(tmp_path, "b.png")
    os.utime(tmp_path, ns=(before, before))
    assert playlist.step(1).name == "b.png"


def test_an_emptied_folder_is_an_error_until_it_has_files_again(tmp_path):
    touch(tmp_path, "a.png", "b.png", "c.png")
    playlist = Playlist(tmp_path)
    playlist.step(1)
    for path in tmp_path.iterdir():
        path.unlink()
    with pytest.raises(UserError, match="no picture or video"):
        playlist.step(1)
    touch(tmp_path, "a.png", "c.png")
    assert playlist.step(1).name == "c.png"
    for path in tmp_path.iterdir():
        path.unlink()
    tmp_path.rmdir()
    with pytest.raises(UserError, match="does not exist"):
        playlist.step(1)


def test_list_file(tmp_path):
    touch(tmp_path, "pictures/b.png", "a.png", "ü x.jpg", "odd.name")
    lines = f"# mine\n\npictures/b.png\r\n  a.png  \ngone.png\nü x.jpg\n{tmp_path}/a.png\nodd.name\n."
    (tmp_path / "list.txt").write_text(lines, encoding="utf-8")
    playlist = Playlist(tmp_path / "list.txt")
    assert names(playlist) == ["b.png", "a.png", "ü x.jpg", "a.png", "odd.name"]
    assert playlist.missing == 2
    assert [playlist.step(1).name for _ in range(6)] == [
        "a.png", "ü x.jpg", "a.png", "odd.name", "b.png", "a.png",
    ]  # fmt: skip


def test_a_path_that_is_listed_twice_is_no_trap(tmp_path):
    touch(tmp_path, "a.png", "b.png", "c.png")
    (tmp_path / "list.txt").write_text("a.png\nb.png\na.png\nc.png")
    playlist = Playlist(tmp_path / "list.txt")
    assert [playlist.step(1).name for _ in range(5)] == [
        "b.png", "a.png", "c.png", "a.png", "b.png",
    ]  # fmt: skip


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_lists_as_windows_writes_them(tmp_path, encoding):
    touch(tmp_path, "ä.png")
    (tmp_path / "LIST.TXT").write_text("ä.png\r\n", encoding=encoding)
    assert names(Playlist(tmp_path / "LIST.TXT")) == ["ä.png"]


def test_a_changed_list_is_read_again(tmp_path):
    touch(tmp_path, "a.png", "b.png", "c.png")
    (tmp_path / "list.txt").write_text("c.png\na.png")
    playlist = Playlist(tmp_path / "list.txt")
    (tmp_path / "list.txt").write_text("a.png\nc.png\nb.png")
    assert playlist.step(1).name == "b.png"


@pytest.mark.parametrize("name", ["a.png", "A.JPEG", "film.mp4"])
def test_a_file_alone(tmp_path, name):
    touch(tmp_path, name, "other.png")
    playlist = Playlist(tmp_path / name)
    assert names(playlist) == [name] and playlist.step(5).name == name


def test_what_cannot_be_browsed(tmp_path):
    (tmp_path / "empty").mkdir()
    touch(tmp_path, "notes.doc", "empty.txt", "dead.txt")
    (tmp_path / "dead.txt").write_bytes(b"gone.png\n\x00\xff\n" + b"x" * 5000)
    for name, words in {
        "missing": "missing does not exist; expected a folder.*check",
        "missing.png": "does not exist",
        "missing.txt": "does not exist",
        "empty": "empty has no picture or video.*expected.*png.*mp4.*put some",
        "notes.doc": "neither",
        "empty.txt": "no path of an existing file",
        "dead.txt": "3 do not exist",
    }.items():
        with pytest.raises(UserError, match=words):
            Playlist(tmp_path / name)
