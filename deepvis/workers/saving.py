"""Writing files for the window in threads of their own, so that no key waits for an encoder or a disk."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from deepvis.core.errors import words
from deepvis.core.runtime import be_patient


class Saving:
    """Runs jobs that write files. The program does not exit before they have ended.

    Attributes:
        said: (message, whether it is an error) of each job that has ended, for the loop to take.
    """

    def __init__(self) -> None:
        self.said: deque[tuple[str, bool]] = deque()
        self._threads: list[threading.Thread] = []

    def start(self, name: str, save: Callable[[], str]) -> None:
        """Run a job in a thread; never blocks. The job returns a message that says what it did, or raises."""

        def run() -> None:
            be_patient()
            try:
                self.said.append((save(), False))
            except Exception as error:  # whatever it is, the user has to see it
                self.said.append((words(error), True))

        thread = threading.Thread(target=run, name=f"deepvis-{name}")
        self._threads = [one for one in self._threads if one.is_alive()] + [thread]
        thread.start()

    def is_busy(self, name: str) -> bool:
        """Whether a job of that name still runs."""
        return any(one.name == f"deepvis-{name}" and one.is_alive() for one in self._threads)

    def join(self) -> None:
        """Wait until everything is written."""
        for thread in self._threads:
            thread.join()
