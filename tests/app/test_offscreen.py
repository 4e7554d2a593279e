"""Keys and commands by name for the picture without a window."""

from __future__ import annotations

import pytest

from deepvis.app.offscreen import _pressed
from deepvis.core.errors import UserError
from deepvis.interface.command import Facts
from deepvis.interface.commands import bindings
from deepvis.interface.state import State


def pressed(*keys: str) -> State:
    return _pressed(State(), keys, lambda state: Facts(), bindings())


def test_keys_and_commands_by_name() -> None:
    assert pressed("7", "content=top_images", "filter=blurred norm") == State(
        receptive_field=False, content="top images", filter="blurred norm", own_filter="blurred norm"
    )
    assert pressed("values") == State(values=True)


def test_what_is_neither_says_what_there_is() -> None:
    with pytest.raises(UserError, match="no key and no command 'contents=x'.* commands: .*content"):
        pressed("contents=x")
    with pytest.raises(UserError, match="'content=histogram'.*no option 'histogram'.*histograms"):
        pressed("content=histogram")
