"""Recording the window as a video."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from deepvis.core.errors import UserError
from deepvis.display.recorder import Recorder
from deepvis.workers.saving import Saving


class Recording:
    """Starts and stops recordings, one at a time. Messages go to `say`; whatever takes long is done by `saving`."""

    def __init__(self, saving: Saving, say: Callable[[str, bool], None]) -> None:
        self._saving, self._say = saving, say
        self._recorder: Recorder | None = None

    @property
    def is_on(self) -> bool:
        return self._recorder is not None

    def start(self, path: Path, first: np.ndarray) -> None:
        """Start a recording in a new file, with this first picture."""
        try:
            self._recorder = Recorder(path, (first.shape[1], first.shape[0]))
        except UserError as error:
            self._say(str(error), True)
            return
        self._recorder.offer(first)
        self._say(f"recording {path}: the same key stops it", False)

    def offer(self, image: np.ndarray) -> None:
        """Record a picture that has been shown, if a recording runs."""
        if self._recorder:
            self._recorder.offer(image)

    def check(self) -> None:
        """If the recording has failed, say so and stop it."""
        if self._recorder and self._recorder.error:
            self._say(self._recorder.error, True)
            self.stop()

    def stop(self) -> None:
        """Stop the recording and finish its file in the background, because the encoder may be seconds behind."""
        if self._recorder is None:
            return
        recorder, self._recorder = self._recorder, None

        def finish() -> str:
            summary = recorder.close()
            if recorder.error:
                raise UserError(recorder.error)
            return f"saved {summary.path}: {summary.seconds:.1f} s"

        self._saving.start("recording", finish)
