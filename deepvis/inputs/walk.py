"""The walk through the files: which one is shown, what a step leads to, a video's next frame."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from deepvis.core.errors import UserError
from deepvis.core.frames import Files
from deepvis.inputs.camera import OpenCapture
from deepvis.inputs.decode import VIDEO_SUFFIXES
from deepvis.inputs.output import Output
from deepvis.inputs.player import Ahead, Player, Still
from deepvis.inputs.playlist import Playlist

AHEAD_AFTER_S = 0.03
"""Decode ahead only when no wish has come for so long: not while the user leans on a key."""


class Walk:
    """Shows the file that is wished for, or the first one beyond it that can be read. The feed's thread's own.

    Nothing is opened before the first turn.

    Attributes:
        files: the files that it goes through; other threads may read it.
    """

    def __init__(
        self,
        files: Path | str | None,
        read: Callable[..., np.ndarray],
        open_capture: OpenCapture | None,
        output: Output,
        clock: Callable[[], float],
    ) -> None:
        self._files = files
        self._read = read
        self._open_capture = open_capture
        self._output = output
        self._clock = clock
        self._playlist: Playlist | None = None
        self.files = Files()
        self._entry: Still | Player | None = None
        self._stepped = 0
        self._direction = 1
        self._stuck_at: int | None = None
        self._broken: set[Path] = set()
        self._ahead = Ahead(read)
        self._look_ahead_at: float | None = None

    def turn(self, step: int, frozen: bool, is_overtaken: Callable[[], bool]) -> float | None:
        """Do what is due; returns when there will be more to do even without news.

        Args:
            step: how many files on from the first one, around the ends.
            frozen: a video stands still.
            is_overtaken: there is another wish, for which a search is broken off.
        Raises:
            UserError: there is no file, or none that can be read.
        """
        if self._output.source == "files" and self._stuck_at == step:
            return None  # it failed and the notice was given; only another step tries again
        if self._entry is None or step != self._stepped:
            self._find(step, is_overtaken)
        elif self._output.source != "files":
            self._show(self._entry)
        if isinstance(self._entry, Player):
            return self._play(self._entry, step, frozen, is_overtaken)
        return self._look_ahead()

    def pause(self) -> None:
        """Something else is shown: a video stands still until the next turn."""
        if isinstance(self._entry, Player):
            self._entry.pause()

    def give_up(self, step: int) -> None:
        """Nothing can be shown: another step is what tries again."""
        self._stuck_at = step

    def try_again(self) -> None:
        """The next turn tries again what could not be shown."""
        self._stuck_at = None

    def read_anew(self) -> None:
        """Pictures are read in another way from now on. Videos are the same for all."""
        self._stuck_at = None
        self._ahead = Ahead(self._read)
        if isinstance(self._entry, Still):
            self._entry = None

    def _open_playlist(self) -> Playlist:
        if self._files is None:
            raise UserError("no files are configured; choose a folder, a picture or a video")
        with self._output.working():
            playlist = Playlist(self._files)
        if playlist.missing:
            self._output.say(f"{playlist.missing} of the paths in {self._files} cannot be found", is_error=False)
        return playlist

    def _find(self, step: int, is_overtaken: Callable[[], bool]) -> None:
        """Show the file that is wished for, or the first one beyond it that can be read.

        Gives up the search, to be gone on with by the next turn, as soon as there is a new wish.
        """
        if self._playlist is None:
            self._playlist = self._open_playlist()
        path = self._step(self._playlist, step)
        failure: UserError | None = None
        for _ in range(len(self._playlist)):
            if failure and is_overtaken():
                return
            try:
                with self._output.working():
                    self._entry = self._open(path)
            except UserError as error:
                failure = error
                self._skip(path, error)
                path = self._playlist.step(self._direction)
            else:
                self.files = self._playlist.files
                self._show(self._entry)
                self._look_ahead_at = self._clock() + AHEAD_AFTER_S
                return
        raise UserError(f"nothing in {self._files} can be read; the last file: {failure}")

    def _step(self, playlist: Playlist, step: int) -> Path:
        """Leave the current file; returns where the difference to the last step leads."""
        steps, self._stepped = step - self._stepped, step
        if steps:
            self._direction = 1 if steps > 0 else -1
        path = playlist.step(steps)
        self._stuck_at = self._look_ahead_at = None
        if isinstance(self._entry, Player):
            self._entry.close()
        self._entry = None
        return path

    def _open(self, path: Path) -> Still | Player:
        if path.suffix.lower() in VIDEO_SUFFIXES:
            return Player(path, self._open_capture or cv2.VideoCapture)
        image = self._ahead.take(path)
        return Still(self._read(path) if image is None else image, path)

    def _show(self, entry: Still | Player) -> None:
        self._output.publish(entry.image, entry.name, "files", entry.is_live, entry.path, entry.seconds)

    def _skip(self, path: Path, error: UserError) -> None:
        self._broken.add(path)
        self._output.say(f"skipped ({len(self._broken)} so far): {error}", is_error=False)

    def _play(self, player: Player, step: int, frozen: bool, is_overtaken: Callable[[], bool]) -> float | None:
        if frozen:
            player.pause()
            return None
        try:
            is_new = player.advance(self._clock())
        except UserError as error:
            self._skip(player.path, error)
            self._stepped -= self._direction  # so that `_find` goes on to the next file
            self._find(step, is_overtaken)
            return self._clock()
        if player.damage:
            self._output.say(player.damage, is_error=False)
            player.damage = None
        if is_new:
            self._show(player)
        return player.due

    def _look_ahead(self) -> float | None:
        due = self._look_ahead_at
        if due is not None and self._playlist is not None and self._clock() >= due:
            self._ahead.load(self._playlist.peek(self._direction))
            due = self._look_ahead_at = None
        return due
