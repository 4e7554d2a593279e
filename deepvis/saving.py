"""What takes a while to be written, beside the window: no key waits for an encoder or a disk."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from deepvis.errors import words
from deepvis.runtime import be_patient


class Saving:
    """Each thing is saved in a thread of its own, which no exit cuts off.

    Attributes:
        said: (words, is_error) of what has been saved, or could not be; whoever shows them takes them out.
    """

    def __init__(self) -> None:
        self.said: deque[tuple[str, bool]] = deque()
        self._threads: list[threading.Thread] = []

    def begin(self, work: Callable[[], str]) -> None:
        """Do this elsewhere; never blocks. What it returns is said, or why it failed."""
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        thread = threading.Thread(target=self._run, args=[work], name="deepvis-saving")
        self._threads.append(thread)
        thread.start()

    def wait(self) -> None:
        """Until all is saved."""
        for thread in self._threads:
            thread.join()

    def _run(self, work: Callable[[], str]) -> None:
        be_patient()
        try:
            self.said.append((work(), False))
        except Exception as error:  # a thread must not die unheard
            self.said.append((words(error), True))
