"""For all tests."""

from __future__ import annotations

import os
import signal

import pytest

from deepvis.core import runtime

runtime.tune()  # as the toolbox does when it starts, before anything imports torch or opens a video

# The folders that the tests make are their own; tests/test_trust.py tests the gate without this.
os.environ["DEEPVIS_TRUST"] = "1"

# A shell that starts the tests in the background has them ignore Ctrl-C, and all that they start; some press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

LONG = ("test_benchmarks.py", "test_benchmark_scan.py", "test_scan.py", "test_wheel.py", "test_trust.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long come first: of several processes none is left alone with one at the end."""
    items.sort(key=lambda item: item.path.name not in LONG)  # the others stay in their order
