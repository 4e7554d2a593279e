"""Key codes of OpenCV's back-ends -> names."""

from __future__ import annotations

# X11 key symbols (Qt and GTK on Linux), Win32 virtual keys << 16, Cocoa function keys.
_SPECIAL: dict[int, str] = {
    0xFF51: "left", 0xFF52: "up", 0xFF53: "right", 0xFF54: "down",
    0xFF55: "pgup", 0xFF56: "pgdn", 0xFF50: "home", 0xFF57: "end",
    0xFF96: "left", 0xFF97: "up", 0xFF98: "right", 0xFF99: "down",  # keypad
    0xFF9A: "pgup", 0xFF9B: "pgdn", 0xFF95: "home", 0xFF9C: "end",
    0xFF08: "backspace", 0xFFFF: "backspace", 0xFF0D: "enter", 0xFF8D: "enter", 0xFF1B: "esc", 0xFF09: "tab",
    0xFFC8: "f11", 0x7A0000: "f11", 0xF70E: "f11",
    0x250000: "left", 0x260000: "up", 0x270000: "right", 0x280000: "down",
    0x210000: "pgup", 0x220000: "pgdn", 0x240000: "home", 0x230000: "end", 0x2E0000: "backspace",
    0xF700: "up", 0xF701: "down", 0xF702: "left", 0xF703: "right",
    0xF72C: "pgup", 0xF72D: "pgdn", 0xF729: "home", 0xF72B: "end",
    8: "backspace", 9: "tab", 10: "enter", 13: "enter", 27: "esc", 32: "space", 127: "backspace",
}  # fmt: skip

_PRINTABLE = {code: chr(code) for code in range(33, 127)}
NAMES: tuple[str, ...] = (*dict.fromkeys(_SPECIAL.values()), *(c for c in _PRINTABLE.values() if not c.isupper()))


def key_name(code: int) -> str | None:
    """The name of a key code from `cv2.waitKeyEx`; None for no key, a modifier alone or an unknown key.

    Capital letters become small ones, because the usual back-end does not distinguish them.
    """
    if code < 0:
        return None
    name = _SPECIAL.get(code)
    if name is None and code > 0xFFFF:  # GTK: modifiers (NumLock, Shift) in the bits above
        code &= 0xFFFF
        name = _SPECIAL.get(code)
    return name or _PRINTABLE.get(code, "").lower() or None
