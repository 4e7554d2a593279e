"""Codes of OpenCV's back-ends, as people have seen them, and the names that commands are bound to."""

from __future__ import annotations

import pytest

from deepvis.display.key_codes import NAMES, key_name

ORDER = ("left", "up", "right", "down", "pgup", "pgdn", "home", "end")
X11 = (0xFF51, 0xFF52, 0xFF53, 0xFF54, 0xFF55, 0xFF56, 0xFF50, 0xFF57)
WIN32 = (2424832, 2490368, 2555904, 2621440, 0x210000, 0x220000, 0x240000, 0x230000)
COCOA = (0xF702, 0xF700, 0xF703, 0xF701, 0xF72C, 0xF72D, 0xF729, 0xF72B)
KEYPAD = (0xFF96, 0xFF97, 0xFF98, 0xFF99, 0xFF9A, 0xFF9B, 0xFF95, 0xFF9C)
F11 = (0xFFC8, 0x7A0000, 0xF70E)  # X11, Win32, Cocoa
NUM_LOCK, SHIFT, CAPS_LOCK = 0x100000, 0x10000, 0x20000


@pytest.mark.parametrize("codes", [X11, WIN32, COCOA, KEYPAD], ids=["X11", "Win32", "Cocoa", "keypad"])
def test_cursor_keys(codes: tuple[int, ...]) -> None:
    assert tuple(map(key_name, codes)) == ORDER


def test_f11_on_every_desktop() -> None:
    assert {key_name(code) for code in F11} == {"f11"}


@pytest.mark.parametrize("bits", [NUM_LOCK, SHIFT, CAPS_LOCK, NUM_LOCK | SHIFT])
def test_gtk_adds_modifiers_in_higher_bits(bits: int) -> None:
    assert tuple(key_name(bits | code) for code in X11) == ORDER
    assert key_name(bits | ord("a")) == "a"
    assert key_name(bits | ord("5")) == "5"
    assert key_name(bits | ord("[")) == "["
    assert [key_name(bits | code) for code in (13, 10, 27, 8, 32)] == ["enter", "enter", "esc", "backspace", "space"]
    assert key_name(bits | 0xFFE1) is None


def test_capitals_come_back_small() -> None:
    for code in range(ord("A"), ord("Z") + 1):
        assert key_name(code) == key_name(code | SHIFT) == key_name(code | SHIFT | NUM_LOCK) == chr(code).lower()


def test_printable_characters_are_their_own_names() -> None:
    for code in range(33, 127):
        assert key_name(code) == chr(code).lower()


def test_named_control_keys() -> None:
    codes = {8: "backspace", 127: "backspace", 9: "tab", 10: "enter", 13: "enter", 27: "esc", 32: "space",
             0xFF08: "backspace", 0xFFFF: "backspace", 0xFF0D: "enter", 0xFF8D: "enter", 0xFF1B: "esc"}  # fmt: skip
    assert {code: key_name(code) for code in codes} == codes


@pytest.mark.parametrize("code", [
    -1, 0, 1, 3, 31, 128, 255, 0xFFFE,
    0xFFE1, 0xFFE2, 0xFFE3, 0xFFE5, 0xFFE9, 0xFFEB, 0xFF7F,  # Shift, Ctrl, Caps Lock, Alt, Super, Num Lock on X11
    0x100000, 0x110000, 0x700000,  # GTK: bits without a key; Win32: F1
])  # fmt: skip
def test_no_key_a_modifier_alone_and_unknown_keys_have_no_name(code: int) -> None:
    assert key_name(code) is None


def test_names_are_what_key_name_gives() -> None:
    assert len(NAMES) == len(set(NAMES))
    reached = {key_name(code) for code in (*range(256), *X11, *F11)}
    assert reached - {None} == set(NAMES)
    assert not any(name != name.lower() for name in NAMES)
