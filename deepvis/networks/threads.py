"""How many cores torch uses in a thread."""

from __future__ import annotations

import torch


def use_threads(count: int) -> None:
    """Let torch use `count` threads for what the calling thread asks of it.

    A thread's first question to torch takes over the number that any thread has set last, over one that it has set
    itself. So it is asked something first: else a thread could compute with the number of another one for ever, which
    is slower, and rounds differently because oneDNN and MKL divide sums by the number of threads.
    """
    torch.get_num_threads()
    torch.set_num_threads(count)
