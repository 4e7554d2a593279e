from __future__ import annotations

from collections.abc import Iterator

import pytest
from desktop import Screen


@pytest.fixture(scope="session")
def screen() -> Iterator[Screen]:
    with Screen() as screen:
        yield screen
