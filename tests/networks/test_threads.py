"""How many cores torch uses in a thread."""

from __future__ import annotations

import threading

import torch

from deepvis.networks.threads import use_threads


def test_what_another_thread_sets_later_changes_nothing() -> None:
    is_set, has_changed = threading.Event(), threading.Event()
    before, found = torch.get_num_threads(), []

    def first() -> None:
        use_threads(1)
        is_set.set()
        has_changed.wait()
        found.append(torch.get_num_threads())  # the first time that this thread asks torch for something

    def second() -> None:
        is_set.wait()
        use_threads(3)
        has_changed.set()
        found.append(torch.get_num_threads())

    threads = [threading.Thread(target=run) for run in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [1, 3] and torch.get_num_threads() == before
    use_threads(before)  # threads that begin later get this number
