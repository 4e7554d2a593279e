"""The recording that runs, if one does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from deepvis.core.errors import UserError
from deepvis.display.recorder import Recorder
from deepvis.workers.saving import Saving


class Recording:
    """One at a time; what it has to say goes to `say`, what takes long to `saving`."""

    def __init__(self, saving: Saving, say: Callable[[str, bool], None]) -> None:
        self._saving, self._say = saving, say
        self._recorder: Recorder | None = None

    @property
    def is_on(self) -> bool:
        return self._recorder is not None

    def start(self, path: Path, first: np.ndarray) -> None:
        """Record into a new file, which begins with that picture."""
        try:
            self._recorder = Recorder(path, (first.shape[1], first.shape[0]))
        except UserError as error:
            self._say(str(error), True)
            return
        self._recorder.offer(first)
        self._say(f"recording {path}: the same key stops it", False)

    def offer(self, image: np.ndarray) -> None:
        """A picture has been shown."""
        if self._recorder:
            self._recorder.offer(image)

    def check(self) -> None:
        """End a recording that has failed, and say so."""
        if self._recorder and self._recorder.error:
            self._say(self._recorder.error, True)
            self.stop()

    def stop(self) -> None:
        """End the recording that runs; the encoder may be seconds behind."""
        if self._recorder is None:
            return
        recorder, self._recorder = self._recorder, None

        def finish() -> str:
            summary = recorder.close()
            if recorder.error:
                raise UserError(recorder.error)
            return f"saved {summary.path}: {summary.seconds:.1f} s"

        self._saving.start("recording", finish)
