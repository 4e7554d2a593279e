"""For all tests."""

from __future__ import annotations

import os
import signal

from deepvis.core import runtime

runtime.tune()  # as the toolbox does when it starts, before anything imports torch or opens a video

# The folders that the tests make are their own; tests/test_trust.py tests the gate without this.
os.environ["DEEPVIS_TRUST"] = "1"

# A shell that starts the tests in the background has them ignore Ctrl-C, and all that they start; some press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
