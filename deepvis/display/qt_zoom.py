"""Undoes the zoom of OpenCV's Qt window.

On Linux the wheel also makes OpenCV's Qt view magnify the whole window, and cv2 offers no way to prevent or undo
this. The view has a slot that resets the zoom; this module calls it through Qt's exported C++ functions. If these
are not those of the Qt 5 in the opencv-python wheels, nothing is done and the window stays zoomed.
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any

_LIBRARY = re.compile(r"/\S*/libQt5(Core|Gui|Widgets)[^/\s]*\.so[^/\s]*")


def reset_zoom() -> None:
    """Reset the zoom of the view under the mouse after the current event has been handled.

    Call it from the window's mouse callback, in the main thread.
    """
    reset = _reset()
    if reset is not None:
        reset()


@lru_cache(maxsize=1)
def _reset() -> Callable[[], None] | None:
    """The function that queues a call of the slot; None if this is not a Qt 5 window."""
    try:
        return _from_qt(*_libraries())
    except (OSError, KeyError, AttributeError, ValueError):
        return None


def _libraries() -> list[ctypes.CDLL]:
    """The Qt libraries that cv2 has loaded: Core, Gui, Widgets."""
    if not sys.platform.startswith("linux"):
        raise OSError("no Qt window on this system")
    with open("/proc/self/maps") as maps:
        paths = {found.group(1): found.group() for found in _LIBRARY.finditer(maps.read())}
    return [ctypes.CDLL(paths[name]) for name in ("Core", "Gui", "Widgets")]


def _from_qt(core: ctypes.CDLL, gui: ctypes.CDLL, widgets: ctypes.CDLL) -> Callable[[], None]:
    pointer = ctypes.c_void_p
    ns, same = "14QtOpenCVPython", "NS_"  # the wheels build Qt in a namespace of their own; no other Qt is touched

    def function(library: ctypes.CDLL, symbol: str, result: object, *arguments: object) -> Any:
        found = getattr(library, symbol)
        found.restype, found.argtypes = result, arguments
        return found

    def address(library: ctypes.CDLL, symbol: str) -> int:
        return ctypes.addressof(ctypes.c_char.in_dll(library, symbol))

    position = function(gui, f"_ZN{ns}7QCursor3posEv", ctypes.c_uint64)  # a QPoint: two 32-bit numbers
    widget_at = function(widgets, f"_ZN{ns}12QApplication8widgetAtERK{same}6QPointE", pointer, pointer)
    window_of = function(widgets, f"_ZNK{ns}7QWidget6windowEv", pointer, pointer)
    find_child = function(
        core,
        f"_ZN{ns}20qt_qFindChild_helperEPK{same}7QObjectERK{same}7QStringERK{same}11QMetaObject"
        f"E{same}6QFlagsI{same}2Qt15FindChildOptionEEE",
        pointer, pointer, pointer, pointer, ctypes.c_int,
    )  # fmt: skip
    single_shot = function(
        core, f"_ZN{ns}6QTimer10singleShotEiPK{same}7QObjectEPKc", None, ctypes.c_int, pointer, ctypes.c_char_p
    )
    any_name = pointer(address(core, f"_ZN{ns}10QArrayData11shared_nullE"))  # an empty QString
    view_class = address(widgets, f"_ZN{ns}13QGraphicsView16staticMetaObjectE")

    def reset() -> None:
        point = ctypes.c_uint64(position())
        widget = widget_at(ctypes.addressof(point))
        view = find_child(window_of(widget), ctypes.addressof(any_name), view_class, 1) if widget else None
        if view:
            single_shot(0, view, b"1resetZoom()")  # "1" is how Qt marks a slot

    return reset
