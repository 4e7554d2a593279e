"""Carrying out the effects of commands: snapshots, recordings, keeping images and moments, saving recipes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from deepvis.app.recipes import Recipes
from deepvis.app.recording import Recording
from deepvis.app.status import StatusBar
from deepvis.app.taking import Taken, link_of
from deepvis.app.unit_workers import UnitWorkers
from deepvis.core.errors import UserError
from deepvis.core.files import folder_name
from deepvis.core.layers import stands_for, unit_id
from deepvis.display.clipboard import copy_picture
from deepvis.display.recorder import save_snapshot
from deepvis.interface.effects import (
    CopyPicture,
    Effect,
    ForgetMoments,
    KeepDream,
    KeepImages,
    KeepMoments,
    SaveNumbers,
    SaveRecipe,
    TakeSnapshot,
    TellLink,
    ToggleRecording,
)
from deepvis.interface.settings import Settings
from deepvis.interface.state import State
from deepvis.render import LoadingScene, Renderer, Scene
from deepvis.workers.saving import Saving
from deepvis.workers.worker import MUCH_MEMORY

if TYPE_CHECKING:
    from deepvis.networks.network import Network


class Effects:
    """Carries out effects. Whatever takes long is done in threads of `saving`.

    Attributes:
        saving: the jobs that write files, and their messages.
        recording: the recording of the window.
        recipes: the recipes that key 1 goes through.
    """

    def __init__(
        self,
        settings: Settings,
        workers: UnitWorkers,
        bar: StatusBar,
        renderer: Renderer,
        pointed: Callable[[], str | None] = lambda: None,
    ) -> None:
        """
        Args:
            pointed: returns the pane under the mouse.
        """
        self._settings, self._workers, self._bar, self._renderer = settings, workers, bar, renderer
        self._pointed = pointed
        self.saving = Saving()
        self.recording = Recording(self.saving, bar.say)
        self.recipes = Recipes(lambda words: bar.say(words, True))

    def do(self, effect: Effect, state: State, network: Network | None, scene: Callable[[], LoadingScene]) -> State:
        """Carry out an effect.

        Args:
            scene: builds the current scene.
        Returns:
            The state afterwards; a recipe that was saved is selected.
        """
        match effect:
            case TakeSnapshot():
                self._snapshot(scene())
            case ToggleRecording():
                self._toggle_recording(scene)
            case KeepImages():
                self._keep_images(network)
            case KeepDream():
                self._keep_dream()
            case KeepMoments() if network is not None:
                self._workers.keep_moments(network, _stamp(), lambda *said: self.saving.said.append(said))
            case ForgetMoments():
                self._workers.moments.forget()
            case SaveRecipe() if network is not None:
                return self._save_recipe(effect, state, network)
            case SaveNumbers():
                self._save_numbers(scene(), network)
            case TellLink():
                self._tell_link(scene())
            case CopyPicture():
                self._copy(scene())
        return state

    def _snapshot(self, scene: LoadingScene) -> None:
        """Save a snapshot in the background; one at a time, because its pictures take much memory for a second."""
        if self.saving.is_busy("snapshot"):
            self._bar.say("the snapshot before is still being saved")
            return
        window, renderer = self._renderer.compose(scene)[0].copy(), self._renderer

        def save() -> str:
            with MUCH_MEMORY:
                pictures = {"window": window, **renderer.pane_pictures(scene)}
                path = save_snapshot(Path(self._settings.output), _stamp(), pictures)
            return f"saved {path} and a picture of each pane"

        self.saving.start("snapshot", save)

    def _save_numbers(self, scene: LoadingScene, network: Network | None) -> None:
        """Save the numbers of the picture in view, and the view, in the background."""
        result = scene.own_result if isinstance(scene, Scene) else None
        if network is None or not isinstance(scene, Scene) or result is None:
            self._bar.say("there are no numbers yet: the network has not answered for this layer")
        elif self.saving.is_busy("numbers"):
            self._bar.say("the numbers before are still being saved")
        else:
            index = self._workers.top_images.opened.index
            taken = Taken(scene, result, network, index, self._settings)
            self.saving.start("numbers", lambda: taken.save(Path(self._settings.output), _stamp()))

    def _tell_link(self, scene: LoadingScene) -> None:
        """Print a link to the view, whole in the terminal, and say it in the status bar."""
        if not isinstance(scene, Scene):
            self._bar.say("there is nothing to link to yet: the network is loading")
            return
        link = link_of(scene, self._settings)
        print(link, flush=True)
        self._bar.say(f"{link}   (whole in the terminal; deepvis live --view LINK opens it)")

    def _copy(self, scene: LoadingScene) -> None:
        """Copy the pane under the mouse to the clipboard; the window if that is the status bar or none."""
        picture, _ = self._renderer.compose(scene)
        pane = self._pointed()
        what = "the window"
        if pane is not None and pane != "status":
            left, top, width, height = self._renderer.layout.panes[pane]
            picture, what = picture[top : top + height, left : left + width], f"the pane {pane}"
        if self.saving.is_busy("copy"):
            self._bar.say("the picture before is still being copied")
            return
        kept = picture.copy()

        def copy() -> str:
            copy_picture(cv2.imencode(".png", kept)[1].tobytes())
            return f"copied {what} to the clipboard"

        self.saving.start("copy", copy)

    def _toggle_recording(self, scene: Callable[[], LoadingScene]) -> None:
        if self.recording.is_on:
            self.recording.stop()
        else:
            path = Path(self._settings.output, f"{_stamp()}.mp4")
            self.recording.start(path, self._renderer.compose(scene())[0].copy())

    def _keep_images(self, network: Network | None) -> None:
        """Put the growing images into the user's own store."""
        grown = self._workers.growth.answer
        if network is None or grown is None or not grown.images:
            self._bar.say("nothing to keep yet")
        elif self.saving.is_busy("keep"):
            self._bar.say("the images before are still being saved")
        else:
            self.saving.start("keep", lambda: self._workers.keep(grown, network))

    def _keep_dream(self) -> None:
        """Save the dreamed picture in the background."""
        dream = self._workers.dreams.answer
        if dream is None or dream.picture is None:
            self._bar.say("nothing is dreamed yet")
        elif self.saving.is_busy("dream"):
            self._bar.say("the dream before is still being saved")
        else:
            picture, folder = cv2.cvtColor(dream.picture, cv2.COLOR_RGB2BGR), Path(self._settings.output)
            name = f"{_stamp()}-dream-{folder_name(dream.wish.layer)}"
            self.saving.start("dream", lambda: f"saved {save_snapshot(folder, name, {'window': picture})}")

    def _save_recipe(self, wanted: SaveRecipe, state: State, network: Network) -> State:
        """Save the recipe grid's chosen settings under the name that the user typed."""
        unit, name, seed = unit_id(stands_for(network.layers, state.layer), state.unit), wanted.name, wanted.grid.seed
        try:
            path = self.recipes.save(name, wanted.grid, self._settings.model, unit)
        except UserError as error:
            self._bar.say(str(error), True)
            return state
        option = f" --seed {seed}" if seed else ""
        command = f"deepvis synthesize --units {unit} --preset {name}{option}"
        self._bar.say(f"saved {path}; key x uses it, and so does {command}")
        return replace(state, preset=name)


def _stamp() -> str:
    return f"deepvis-{datetime.now():%Y%m%d-%H%M%S}"
