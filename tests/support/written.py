"""What is written in the window."""

from __future__ import annotations

import pytest

from deepvis.interface.layout import lay_out
from deepvis.interface.settings import DEFAULT_PANES
from deepvis.render import Renderer, text
from deepvis.render.scene import Scene


def words(shown: Scene, monkeypatch: pytest.MonkeyPatch) -> str:
    """All that is written in the window for a scene."""
    said: list[str] = []
    put = text.put
    monkeypatch.setattr(text, "put", lambda image, words, *a, **k: (said.append(words), put(image, words, *a, **k))[1])
    Renderer(lay_out(DEFAULT_PANES, 1500, 930, 1.0)).compose(shown)
    monkeypatch.undo()
    return "  ".join(said)
