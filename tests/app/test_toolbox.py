"""The live loop with a window, an input and an engine that are told what happens. No screen, no torch."""

from __future__ import annotations

import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from fakes import LAYERS, PHOTO, FakeEngine, FakeFeed, FakeWindow, idle, press, quiet
from waiting import until

from deepvis.app import effects, questions, unit_workers
from deepvis.app import opening as opening_module
from deepvis.app import toolbox as toolbox_module
from deepvis.app.status import RATE_SECONDS
from deepvis.app.toolbox import Toolbox, live
from deepvis.attribution.requests import Request, Result
from deepvis.core import paths
from deepvis.core.errors import UserError
from deepvis.core.frames import Photo
from deepvis.core.interrupt import ENDING
from deepvis.display.window import Close, Event, Key, Mouse, Resize
from deepvis.inputs.feed import FeedWish, Notice
from deepvis.interface import pointing
from deepvis.interface.commands import COMMANDS, bindings, help_rows
from deepvis.interface.requests import growth_wish, layer_images_wish, request_for, top_images_wish, unit_images_wish
from deepvis.interface.settings import DEFAULT_PANES, Settings
from deepvis.interface.state import FacetPhoto, State
from deepvis.interface.unit_grid import PaneView
from deepvis.scan.index import Span
from deepvis.scan.results import Patch
from deepvis.synthesis import presets, recipe
from deepvis.synthesis.presets import PRESETS
from deepvis.synthesis.recipe import image_seed
from deepvis.synthesis.recipe_grid import RecipeGrid, table
from deepvis.workers.layer_images import OpenIndex
from deepvis.workers.messages import (
    Grown,
    GrowthWish,
    LayerImagesWish,
    Scanning,
    TopImagesWish,
    TopPictures,
    UnitImagesWish,
)
from deepvis.workers.picture_messages import DreamView, DreamWish


@pytest.fixture
def box(tmp_path: Path) -> Toolbox:
    return toolbox(quiet(output=str(tmp_path / "out")))


def toolbox(settings: Settings) -> Toolbox:
    log: list[str] = []
    box = Toolbox(settings, FakeEngine(log), FakeFeed(log), FakeWindow(log), State())
    box._introduction = ""  # or it would take the place of the messages
    box.log = log
    return box


def saved(box: Toolbox) -> None:
    """Wait for what is being saved, and turn once more."""
    box.effects.saving.join()
    idle(box)


def message(box: Toolbox) -> tuple[str, bool]:
    status = box.scene().status
    return status.message, status.is_error


# ---- the loop ------------------------------------------------------------------------------------


@pytest.mark.parametrize("last", [[Key("q", 113)], [Close()], [Key("h", 0), Key("q", 0)]], ids=str)
def test_quit_and_the_close_button_end_the_loop_and_close_everything(box: Toolbox, last: list[Event]) -> None:
    box.window.events = [[], last, RuntimeError("the loop went on")]
    box.run()
    assert sorted(box.log) == ["engine", "feed", "window"]


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt(), UserError("no")], ids=repr)
def test_everything_is_closed_when_the_loop_raises(box: Toolbox, error: BaseException, tmp_path: Path) -> None:
    box.window.events = [[Key("r", 0)], [Key("p", 0)], error]
    before = threading.active_count()
    with pytest.raises(type(error)):
        box.run()
    assert sorted(box.log) == ["engine", "feed", "window"]
    assert threading.active_count() <= before  # the recorder's thread and the snapshot's
    assert is_playable(tmp_path / "out")
    assert len(list((tmp_path / "out").glob("*.png"))) == 1 + len(DEFAULT_PANES)


def test_the_end_does_not_wait_for_a_worker_that_cannot_be_interrupted(
    box: Toolbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as an import of torch, or a camera that opens; the others are told to stop nevertheless."""
    gate, waited = threading.Event(), []
    monkeypatch.setattr(box.engine, "close", lambda timeout=5.0: waited.append(not gate.wait(60)))
    box.window.events = [[]]
    box.run()
    gate.set()
    assert "window" in box.log and "feed" in box.log and True not in waited


def test_the_end_waits_for_what_is_being_saved(box: Toolbox) -> None:
    gate, done = threading.Event(), []
    box.effects.saving.start("test", lambda: done.append(gate.wait(60)) or "saved")
    box.window.events = [[], [Close()]]
    close = box.window.close
    box.window.close = lambda: (close(), done.append("closed"))
    threading.Timer(0.05, gate.set).start()
    box.run()
    assert done == [True, "closed"]


def test_a_network_that_cannot_be_loaded_ends_the_loop_with_its_words(box: Toolbox) -> None:
    box.engine.network, box.engine.error = None, "unknown model 'x'"
    box.window.events = [[], []]
    with pytest.raises(UserError, match="unknown model 'x'"):
        box.run()
    assert sorted(box.log) == ["engine", "feed", "window"]


def test_while_the_network_loads_there_is_a_picture_and_keys_work(box: Toolbox) -> None:
    box.engine.network, network = None, box.engine.network
    press(box, "right", "down", "z", "b", "h")
    assert box.state.help and box.window.pictures and not box.engine.asked
    assert "loading" in box.scene().waiting and "loading" in message(box)[0]
    box.engine.network = network
    idle(box)
    assert box.engine.asked


def test_without_a_first_picture_nothing_is_asked(box: Toolbox) -> None:
    box.feed.frame = None
    idle(box)
    assert not box.engine.asked and box.scene().waiting
    box.feed.frame = PHOTO
    idle(box)
    assert len(box.engine.asked) == 1


# ---- questions -----------------------------------------------------------------------------------


def test_the_engine_is_asked_only_what_is_new(box: Toolbox) -> None:
    idle(box, 5)
    press(box, "m", "t", "y", "h", "h", "8", "9", "d", "d", "5", "z", "z", "down")  # z ends at the backward image
    asked = [(r.layer, r.method, r.origin) for r in box.engine.asked]
    assert asked == [("stem", None, None), ("stem", "gradient", ("stem", 0))]
    press(box, "right", "z", "n", "o", "0")
    idle(box, 3)
    asked = [(r.layer, r.method, r.origin, r.crop) for r in box.engine.asked[2:]]
    assert asked == [
        ("stem", "gradient", ("stem", 1), True), ("stem", "deconv", ("stem", 1), True),
        ("head", "deconv", ("head", 1), True), ("head", "deconv", ("head", 1), False),
    ]  # fmt: skip
    box.feed.frame = replace(PHOTO)  # a new frame with the same picture
    idle(box, 2)
    assert len(box.engine.asked) == 7 and box.engine.asked[-1].frame is box.feed.frame


def test_new_live_frames_wait_while_the_engine_has_enough_to_do_and_wishes_do_not(box: Toolbox) -> None:
    box.feed.frame = replace(PHOTO, live=True)
    idle(box, 2)
    box.engine.slow, box.engine.backlog = True, questions.ENOUGH + 1
    box.feed.frame = replace(PHOTO, live=True)
    idle(box, 3)
    assert len(box.engine.asked) == 1
    press(box, "right")
    assert len(box.engine.asked) == 2 and box.engine.asked[1].layer == "head"
    assert box.engine.asked[1].frame is box.feed.frame
    box.feed.frame, box.engine.backlog = replace(PHOTO, live=True), questions.ENOUGH
    idle(box)
    assert len(box.engine.asked) == 2  # nothing holds up the answer to the key
    box.engine.result = Result(box.engine.asked[-1], error="or whatever it is")
    idle(box)
    assert box.engine.asked[-1].frame is box.feed.frame
    box.feed.frame, box.engine.backlog = replace(PHOTO), questions.ENOUGH + 1
    idle(box)
    assert box.engine.asked[-1].frame is box.feed.frame  # another photo is a wish


def test_without_anything_new_nothing_is_shown_again(box: Toolbox) -> None:
    idle(box, 3)
    box.bar.next_rates = float("inf")  # the rates in the status bar may change meanwhile
    box.bar.clear()
    while not (box.workers.unit_images.idle and box.workers.top_images.idle and box.workers.layer_images.idle):
        time.sleep(0.01)
        idle(box)
    idle(box)
    count = len(box.window.pictures)
    idle(box, 10)
    assert len(box.window.pictures) == count
    press(box, "right")
    assert len(box.window.pictures) == count + 1


def test_the_feed_is_told_what_the_state_wants(box: Toolbox) -> None:
    press(box, "e", "e", "w", "f", "c")
    assert box.feed.wishes == [FeedWish("files", False, 1), FeedWish("files", False, 2), FeedWish("files", False, 1),
                               FeedWish("files", True, 1), FeedWish("camera", False, 1)]  # fmt: skip


def test_request_for() -> None:
    assert request_for(State(), None, LAYERS) is None and request_for(State(), PHOTO, ()) is None
    state = State(layer=1, unit=3, origin=(0, 2), crop=False, layer_gradient=True, method="guided")
    assert request_for(state, PHOTO, LAYERS) == Request(PHOTO, False, "head", "guided", ("stem", 2), True)
    assert request_for(replace(state, method=None, layer_gradient=False), PHOTO, LAYERS).origin is None


# ---- collecting ------------------------------------------------------------------------------------


class FakeMoments:
    top = cells = None

    def __init__(self) -> None:
        self.count, self.taken, self.wishes, self.ended, self.saved = 0, [], [], 0, []

    def take(self, result: Result, layers: tuple, size: tuple[int, int]) -> None:
        assert (layers, size) == (LAYERS, (224, 224))
        self.taken.append(result)
        self.count += 1

    def want(self, wish) -> None:
        self.wishes.append(wish)

    def forget(self) -> None:
        self.ended += 1

    def save(self, folder: Path, model: str, fingerprint: str, say) -> None:
        self.saved.append((folder, model, fingerprint))
        say("kept", False)

    def close(self) -> None:
        pass


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(toolbox_module.time, "monotonic", lambda: now[0])
    return now


def test_v_collects_from_each_photo_once_and_stops(box: Toolbox, clock: list[float]) -> None:
    box.workers.moments = collector = FakeMoments()
    idle(box)
    press(box, "v")
    idle(box, 3)
    assert [r.request.frame for r in collector.taken] == [PHOTO]
    for _ in range(3):  # however fast they are walked through
        box.feed.frame = replace(PHOTO)
        idle(box, 2)
        assert collector.taken[-1].request.frame is box.feed.frame
    box.feed.frame = replace(
        PHOTO, source="", name="camera 0, moment 3"
    )  # a moment that is looked at again, also as it is left
    idle(box, 2)
    clock[0] += RATE_SECONDS
    idle(box)
    assert len(collector.taken) == 4 and box.scene().status.moments == 4
    assert (collector.wishes[-1].layer, collector.wishes[-1].unit, collector.wishes[-1].units) == ("stem", 0, ())
    press(box, "v")
    box.feed.frame = replace(PHOTO)
    idle(box, 2)
    assert len(collector.taken) == 4 and box.scene().status.moments == 4 and not collector.ended
    press(box, "esc")
    assert collector.ended == 1 and box.scene().status.moments is None


def test_of_live_frames_a_few_a_second_are_collected_from_and_never_two_in_a_row(
    box: Toolbox, clock: list[float]
) -> None:
    box.workers.moments = collector = FakeMoments()
    idle(box)
    box.feed.frame = replace(PHOTO, live=True)
    press(box, "v")
    for frames_a_second, most in ((100, 10), (30, 10), (5, 2.5)):
        collector.taken.clear()
        box.engine.asked.clear()
        for _ in range(4 * frames_a_second):
            clock[0] += 1 / frames_a_second
            box.feed.frame = replace(PHOTO, live=True)
            idle(box)
        assert len(box.engine.asked) == 4 * frames_a_second
        assert 0.7 * most <= len(collector.taken) / 4 <= most
        peaks = [request.peaks for request in box.engine.asked]
        assert not any(one and other for one, other in zip(peaks, peaks[1:]))


def test_a_frame_that_is_collected_from_is_no_wish_that_may_not_wait(box: Toolbox, clock: list[float]) -> None:
    idle(box)
    box.feed.frame = replace(PHOTO, live=True)
    press(box, "v")
    idle(box)
    box.engine.slow, box.engine.backlog = True, questions.ENOUGH + 1
    count = len(box.engine.asked)
    for _ in range(5):
        clock[0] += 1
        box.feed.frame = replace(PHOTO, live=True)
        idle(box)
    assert len(box.engine.asked) == count


def test_enter_keeps_what_was_collected(box: Toolbox) -> None:
    box.workers.moments = collector = FakeMoments()
    box.engine.network.name, box.engine.network.fingerprint = "some/net", "f"
    idle(box)
    press(box, "enter")
    assert not collector.saved
    press(box, "v", "enter")
    ((folder, model, fingerprint),) = collector.saved
    assert (model, fingerprint) == ("some/net", "f") and folder.parts[-3:-1] == ("some%2Fnet", "live")
    idle(box)
    assert message(box) == ("kept", False)


@pytest.mark.parametrize("error", [None, UserError("no room"), OSError(28, "No space left")], ids=str)
def test_enter_keeps_what_grows_in_ones_own_store_and_never_waits_for_the_disk(
    box: Toolbox, monkeypatch, tmp_path: Path, error
) -> None:
    gate, threads, stores = threading.Event(), [], []
    monkeypatch.setattr(paths, "data", lambda: tmp_path)

    class FakeGrowth:
        answer = Grown(GrowthWish("stem", 0, "modern", (1,)), (np.zeros((4, 4, 3), np.uint8),), (1.0,), 3)

        def want(self, wish) -> None: ...

    def keep(grown, store, network) -> str:
        threads.append(threading.current_thread())
        stores.append(store.folder)
        assert gate.wait(20)
        if error:
            raise error
        return "kept 1 images"

    monkeypatch.setattr(unit_workers, "keep_grown", keep)
    box.workers.growth = FakeGrowth()
    box.engine.network.name, box.engine.network.fingerprint = "net", "f"
    idle(box)
    press(box, "x", "enter")  # does not wait
    press(box, "enter")
    assert "still being saved" in message(box)[0]
    gate.set()
    box.effects.saving.join()
    idle(box)
    words, is_error = message(box)
    assert is_error == bool(error) and ("kept 1" in words if error is None else str(error.args[-1]) in words)
    assert (
        stores == [tmp_path / "precomputed" / "net" / "synthesized-own"] and threads[0] is not threading.main_thread()
    )
    press(box, "enter")
    assert "still" not in message(box)[0]
    box.effects.saving.join()


def test_what_flows_back_to_moments_is_asked_for_once_they_stay(box: Toolbox) -> None:
    patch = Patch(0, "camera 0", 0, 0, 1.0, (0, 0, 2, 2), np.zeros((2, 2, 3), np.uint8))
    moments = TopPictures("stem", 3, "", (patch,), seen=(patch.pixels,))
    still = State(unit=3, moments=True)
    assert top_images_wish(still, LAYERS, "deconv", moments) == TopImagesWish("stem", 3, "deconv", moments)
    for other in (
        replace(still, collecting=True),
        replace(still, unit=4),
        replace(still, moments=False),
        replace(still, layer=1),
    ):
        assert top_images_wish(other, LAYERS, "deconv", moments).moments is None
    assert top_images_wish(still, LAYERS, TopPictures("stem", 3, note="no moment yet")).moments is None
    # What is shown: never a data set's images under the moments' title, nor the other way round.
    carried, photos = (
        replace(moments, backward=(np.zeros((2, 2, 3), np.float32),)),
        TopPictures("stem", 3, "/photos", (patch,)),
    )
    box.workers.moments, box.workers.top_images = (
        SimpleNamespace(top=moments, cells=None),
        SimpleNamespace(answer=photos),
    )
    for state, pictures, shown in (
        (still, photos, moments),
        (still, carried, carried),
        (replace(still, collecting=True), carried, moments),
        (State(unit=3), photos, photos),
        (State(unit=3), carried, None),
    ):
        box.state, box.workers.top_images.answer = state, pictures
        assert box.workers.findings_for(state).tops is shown


def test_the_layer_pane_says_what_it_needs_of_the_index(box: Toolbox) -> None:
    assert layer_images_wish(State(), LAYERS, range(0), 0) == LayerImagesWish("", False, "stem")
    assert layer_images_wish(State(content="top images"), LAYERS, range(3), 8) == LayerImagesWish(
        "", False, "stem", (0, 1, 2), 8
    )
    assert layer_images_wish(State(content="top images", moments=True), LAYERS, range(3), 8) == LayerImagesWish(
        "", False, "stem", (), 8
    )
    for content in ("histograms", "correlation", "correlation, sorted"):
        wish = layer_images_wish(State(content=content, layer=1), LAYERS, range(0), 0)
        assert (wish.layer, wish.is_sorted) == ("head", content.endswith("sorted"))


def test_only_cells_that_are_seen_are_wanted_and_none_under_the_help() -> None:
    state = State(content="synthesized", unit=2)
    assert unit_images_wish(state, LAYERS, range(3), 8) == UnitImagesWish("stem", 2, (0, 1, 2), 8)
    for other in (replace(state, help=True), replace(state, content="activations")):
        assert unit_images_wish(other, LAYERS, range(3), 8) == UnitImagesWish("stem", 2)


def test_a_slow_network_is_busy_after_a_while_and_not_at_once(box: Toolbox, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(toolbox_module.time, "monotonic", lambda: now[0])
    idle(box)
    now[0] += 60  # nothing to do for a minute
    box.engine.slow = True
    press(box, "o")
    assert not box.scene().busy
    now[0] += questions.BUSY_AFTER + 0.01
    assert box.scene().busy
    press(box, "u")  # asking again does not start the waiting anew
    assert box.scene().busy
    box.engine.idle = True
    assert not box.scene().busy
    box.feed.busy = True
    assert box.scene().busy


def test_the_loop_polls_briefly_only_while_something_is_on_its_way(box: Toolbox) -> None:
    idle(box)
    still = box._patience()
    box.engine.idle = False
    assert box._patience() < still
    box.engine.idle, box.feed.frame = True, replace(PHOTO, live=True)
    assert box._patience() < still
    press(box, "f")
    assert box._patience() == still


# ---- events --------------------------------------------------------------------------------------


def test_the_mouse(box: Toolbox) -> None:
    idle(box)
    left, top, width, height = box.renderer.layout.panes["layer"]
    place = (left + width // 2 + 20, top + height // 2 + 20)
    box.window.events = [[Mouse("move", *place)]]
    box.turn()
    hover = box.state.hover
    assert hover is not None and hover.layer == 0 and box.state.unit == 0
    box.window.events = [[Mouse("click", *place), Mouse("wheel", *place, 3)]]
    box.turn()
    assert box.state.unit == hover.unit and box.state.in_channels and box.state.view.scale > 1.5
    box.window.events = [
        [Mouse("move", 0, 0), Mouse("click", 0, 0), Mouse("wheel", 0, 0, 1), Mouse("wheel", *place, 0)]
    ]
    box.turn()
    assert box.state.hover is None and box.state.unit == hover.unit


def test_a_new_size_lays_the_window_out_anew(box: Toolbox) -> None:
    idle(box)
    box.window.events = [[Resize(700, 500)]]
    box.turn()
    assert box.window.pictures[-1].shape == (500, 700, 3)


def test_keys_without_a_name_and_unbound_ones_do_nothing(box: Toolbox) -> None:
    box.window.events = [[Key(None, 0xFFE1), Key("}", 125)]]
    box.turn()
    assert box.state == State()


def test_keys_of_the_settings(tmp_path: Path) -> None:
    box = toolbox(quiet(output=str(tmp_path), keys={"next_layer": ("x", "h"), "zoom": ()}))
    press(box, "x")
    assert box.state.layer == 1
    press(box, "o", "z", "h")
    assert (box.state.layer, box.state.zoom, box.state.help) == (1, "layer", False)
    rows = {words: keys for _, keys, words in box._help}
    assert set(rows[COMMANDS["next_layer"].help].split()) == {"x", "h"}
    assert rows[COMMANDS["zoom"].help] == rows[COMMANDS["help"].help] == "—"


def test_the_help_names_every_command_and_the_mouse() -> None:
    rows = help_rows(bindings())
    assert [words for _, _, words in rows[: len(COMMANDS)]] == [command.help for command in COMMANDS.values()]
    assert {keys for group, keys, _ in rows if group == "mouse"} == {"hover", "click", "double click", "drag", "wheel"}


# ---- what the parts have to say ------------------------------------------------------------------


def test_a_photo_that_cannot_be_read_is_given_up(box: Toolbox) -> None:
    box.state = State(photo=(photo := Photo("/data", "a.jpg")))
    box.feed.source, box.feed.notice = "photo", Notice("something else", 1, True)
    box.window.events = [[]]
    box.turn()
    assert box.state.photo == photo and box.feed.wishes[-1].photo == photo
    box.feed.source, box.feed.notice = "files", Notice("a.jpg does not exist", 2, True)
    box.window.events = [[]]
    box.turn()
    assert box.state.photo is None and message(box) == ("a.jpg does not exist", True)


def test_the_camera_is_given_up_and_may_be_tried_again(box: Toolbox) -> None:
    box.state = State(source="camera", frozen=True)
    box.feed.notice = Notice("camera 0 is not there; showing photos instead", 1, True)
    idle(box)
    assert (box.state.source, box.state.frozen) == ("files", False)
    assert message(box) == ("camera 0 is not there; showing photos instead", False)
    press(box, "c")  # the old notice must not take it back before the camera has had its chance
    idle(box, 3)
    assert box.state.source == "camera" and box.feed.wishes[-1].source == "camera"
    box.feed.notice = Notice("camera 0 is not there", 2, True)
    idle(box)
    assert box.state.source == "files"


def test_a_notice_that_is_no_error_changes_nothing_but_the_message(box: Toolbox) -> None:
    box.state = State(source="camera")
    box.feed.notice = Notice("camera 0", 1, False)
    idle(box, 2)
    assert box.state.source == "camera" and message(box) == ("camera 0", False)


def test_an_error_of_the_network_is_in_the_status(box: Toolbox) -> None:
    idle(box)
    box.engine.result = Result(box.engine.asked[-1], error="RuntimeError: it broke")
    idle(box)
    assert message(box) == ("network: RuntimeError: it broke", True)
    press(box, "o")
    assert box.engine.result.activations is not None and box.engine.asked[-1].layer == "head"


@pytest.mark.parametrize("is_error, seconds", [(False, 8), (True, 16)])
def test_messages_go_after_a_while_and_errors_stay_twice_as_long(
    box: Toolbox, clock: list[float], is_error: bool, seconds: float
) -> None:
    box.feed.notice = Notice("broken.jpg was skipped", 1, is_error)
    idle(box)
    clock[0] += seconds - 0.1
    idle(box)
    assert message(box) == ("broken.jpg was skipped", is_error)
    clock[0] += 0.2
    idle(box)
    assert message(box) == ("", False)


def test_timings_are_shown_on_request(box: Toolbox) -> None:
    idle(box)
    assert box.scene().status.timings == ""
    box.bar.next_rates = 0.0
    press(box, "5")
    assert "draw layer" in box.scene().status.timings


# ---- snapshots and recordings --------------------------------------------------------------------


def test_a_unit_that_does_not_exist_is_said_until_the_next_key(tmp_path: Path) -> None:
    box = toolbox(replace(quiet(output=str(tmp_path)), unit="nonsense:3"))
    for _ in range(3):
        box.turn()
    box.bar.say("something else")
    box.turn()
    assert box.state.message_is_error and "unknown layer 'nonsense'" in box.state.message
    box._press("k")
    assert not box.state.message


def finish_snapshots(box: Toolbox) -> None:
    box.effects.saving.join()
    idle(box)


def test_a_snapshot_saves_the_window_and_each_pane(box: Toolbox, tmp_path: Path) -> None:
    idle(box)
    while not (box.workers.unit_images.idle and box.workers.top_images.idle):
        idle(box)
    idle(box)
    box.bar.next_rates = float("inf")  # else the status bar may change meanwhile
    seen = box.window.pictures[-1]
    press(box, "p")
    saved(box)
    (window,) = [p for p in (tmp_path / "out").iterdir() if not any(p.stem.endswith(f"-{n}") for n in DEFAULT_PANES)]
    assert np.array_equal(cv2.imread(str(window)), seen)
    for name, (_, _, width, height) in box.renderer.layout.panes.items():
        picture = cv2.imread(str(window.with_name(f"{window.stem}-{name}.png")))
        assert max(picture.shape) > 1000 and picture.shape[1] / picture.shape[0] == pytest.approx(
            width / height, rel=0.1
        )
    assert message(box) == (f"saved {window} and a picture of each pane", False)
    press(box, "p")
    saved(box)
    assert len(list((tmp_path / "out").iterdir())) == 2 * (1 + len(DEFAULT_PANES))


def test_one_snapshot_is_saved_at_a_time(box: Toolbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk or the computer is slow their pictures would pile up in memory."""
    gate, real = threading.Event(), effects.save_snapshot
    monkeypatch.setattr(effects, "save_snapshot", lambda *arguments: (gate.wait(60), real(*arguments))[1])
    press(box, "p")
    press(box, "p")
    assert "still being saved" in message(box)[0]
    gate.set()
    saved(box)
    press(box, "p")
    saved(box)
    assert len(list((tmp_path / "out").iterdir())) == 2 * (1 + len(DEFAULT_PANES))


def test_a_snapshot_that_cannot_be_saved_says_so(box: Toolbox, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file where the folder should be")
    press(box, "p")
    saved(box)
    assert message(box)[1] and str(tmp_path / "out") in message(box)[0]


def is_playable(folder: Path) -> bool:
    videos = [p for p in folder.iterdir() if p.suffix in (".mp4", ".avi")]
    return len(videos) == 1 and cv2.VideoCapture(str(videos[0])).read()[0]


def test_recording_on_and_off(box: Toolbox, tmp_path: Path) -> None:
    idle(box)
    press(box, "r")
    assert box.scene().status.recording and message(box)[0].startswith(f"recording {tmp_path / 'out'}")
    press(box, "right", "h")
    press(box, "r")
    assert not box.scene().status.recording
    saved(box)
    assert message(box)[0].startswith(f"saved {tmp_path / 'out'}")
    assert is_playable(tmp_path / "out")


def test_quitting_finishes_the_recording(box: Toolbox, tmp_path: Path) -> None:
    box.window.events = [[], [Key("r", 0)], [Key("right", 0)], [Close()]]
    box.run()
    assert is_playable(tmp_path / "out")


def test_a_recording_that_cannot_start_says_so(box: Toolbox, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file where the folder should be")
    press(box, "r")
    assert not box.scene().status.recording
    assert message(box)[1] and str(tmp_path / "out") in message(box)[0]
    press(box, "r")  # tries again, and is not "off" now
    assert message(box)[1]


def test_a_recording_that_fails_midway_ends_with_its_words(box: Toolbox) -> None:
    press(box, "r")
    real = box.effects.recording._recorder
    closed = []
    summary = SimpleNamespace(path="x.mp4", seconds=1.0, frames=20)
    box.effects.recording._recorder = SimpleNamespace(
        error="recording stopped: the disk takes no more",
        offer=lambda image: None,
        close=lambda: closed.append(1) or summary,
    )
    idle(box)
    assert box.effects.recording._recorder is None
    saved(box)
    assert closed and message(box) == ("recording stopped: the disk takes no more", True)
    real.close()


def test_a_recording_whose_end_fails_does_not_say_saved(box: Toolbox) -> None:
    press(box, "r")
    real = box.effects.recording._recorder
    box.effects.recording._recorder = SimpleNamespace(error=None, offer=lambda image: None)

    def close() -> SimpleNamespace:
        box_recorder.error = "recording stopped: the end of the file could not be written"
        return SimpleNamespace(path="x.mp4", seconds=0.0, frames=0)

    box_recorder = box.effects.recording._recorder
    box_recorder.close = close
    press(box, "r")
    saved(box)
    real.close()
    assert message(box) == ("recording stopped: the end of the file could not be written", True)


# ---- live ----------------------------------------------------------------------------------------


def test_live_opens_starts_runs_and_gives_the_signals_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    log: list[str] = []
    window = FakeWindow(log)
    window.events = [[], []]
    opened = []
    monkeypatch.setattr(toolbox_module, "Window", lambda *arguments: opened.append(arguments) or window)
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    live(quiet(output=str(tmp_path)), FakeEngine(log), FakeFeed(log), State(), lambda: log.append("probe"))
    assert opened == [("deepvis", 1500, 930, None)]
    assert log[0] == "probe" and set(log[1:3]) == {"engine starts", "feed starts"}
    assert sorted(log[3:]) == ["engine", "feed", "window"]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_ends_the_loop_cleanly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int) -> None:
    log: list[str] = []
    window = FakeWindow(log)

    def poll(milliseconds: int) -> list[Event]:
        assert "window" not in log and len(window.pictures) < 5
        signal.raise_signal(number)
        return []

    window.poll = poll
    monkeypatch.setattr(toolbox_module, "Window", lambda *arguments: window)
    live(quiet(output=str(tmp_path)), FakeEngine(log), FakeFeed(log), State(), lambda: None)
    assert sorted(log)[:1] == ["engine"] and "window" in log and "feed" in log


def test_without_a_display_no_window_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolbox_module, "Window", lambda *arguments: pytest.fail("a window was opened"))

    def probe() -> None:
        raise UserError("no display")

    with pytest.raises(UserError, match="no display"):
        live(quiet(), FakeEngine([]), FakeFeed([]), State(), probe)


# ---- the desk --------------------------------------------------------------------------------


def test_what_is_to_grow(box: Toolbox) -> None:
    assert growth_wish(State(), LAYERS) is None and growth_wish(State(growing=True), ()) is None
    assert growth_wish(State(growing=True, unit=2, preset="plain"), LAYERS) == GrowthWish(
        "stem", 2, "plain", tuple(image_seed(0, 2, i) for i in range(4))
    )
    shown = RecipeGrid("modern", PRESETS["modern"], seed=5)
    wish = growth_wish(State(layer=1, unit=2, recipe_grids=(RecipeGrid("plain", PRESETS["plain"]), shown)), LAYERS)
    assert wish == GrowthWish("head", 2, "modern", (image_seed(5, 2, 0),) * 16, table(shown).recipes)


def test_a_saved_recipe_is_one_of_the_presets_from_then_on(
    box: Toolbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "data", lambda: tmp_path)
    monkeypatch.setattr(box.workers.growth, "want", lambda wish: None)
    press(box, "2", "3", "4", "enter", *["backspace"] * 30, *"mine", "enter")
    shown = box.state.recipe_grids[-1]
    assert presets.named("mine") == shown.recipe and shown.seed == 1
    text, is_error = message(box)
    assert (
        str(tmp_path / "recipes" / "mine.yaml") in text
        and "--units stem:0 --preset mine --seed 1" in text
        and not is_error
    )
    assert box.state.preset == "mine" and [*box._facts().recipes][-1] == "mine"
    press(box, "x")
    assert growth_wish(box.state, LAYERS).preset == "mine"


def test_a_recipe_that_cannot_be_saved_or_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "data", lambda: tmp_path)
    (tmp_path / "recipes").write_text("a file")
    box = toolbox(quiet(output=str(tmp_path / "out")))
    monkeypatch.setattr(box.workers.growth, "want", lambda wish: None)
    press(box, "2", "enter", "enter")
    assert "cannot be written" in message(box)[0] and message(box)[1] and box.state.preset == "modern"
    (tmp_path / "recipes").unlink()
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "bad.yaml").write_text("stepz: 4")
    box = toolbox(quiet(output=str(tmp_path / "out")))
    assert "Did you mean steps" in message(box)[0] and "bad" not in box._facts().recipes


@pytest.mark.parametrize(
    "name, content",
    [
        (
            "bomb.yaml",
            b"a0: &a0 [x, x]\n" + b"".join(b"a%d: &a%d [*a%d, *a%d]\n" % (n, n, n - 1, n - 1) for n in range(1, 40)),
        ),
        ("deep.yaml", b"[" * 9999),
        ("huge.yaml", b"steps: 1000000000000"),
        ("bytes.yaml", bytes(range(256))),
        ("odd.yaml.yaml", b"steps: x"),
        ("line\nbreak.yaml", b"steps: x"),
        ("\udcff.yaml", b"steps: x"),
        ("folder.yaml", None),
        (" .yaml", b"[1"),
        ("modern.yaml", b"[1"),
    ],
)
def test_one_broken_recipe_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes | None
) -> None:
    monkeypatch.setattr(paths, "recipes", lambda: tmp_path)
    recipe.save(tmp_path / "mine.yaml", PRESETS["plain"])
    (tmp_path / name).mkdir() if content is None else (tmp_path / name).write_bytes(content)
    box = toolbox(quiet())
    assert "mine" in box._facts().recipes and {"modern", "yosinski-1"} <= set(box._facts().recipes)
    told = name not in ("line\nbreak.yaml", "\udcff.yaml", "modern.yaml")  # names that cannot be shown; a preset's
    assert message(box)[1] == told and (name in message(box)[0]) == told


def test_a_folder_of_recipes_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "data", lambda: tmp_path)
    (tmp_path / "recipes").write_text("a file")
    box = toolbox(quiet())
    assert "cannot be listed" in message(box)[0] and "modern" in box._facts().recipes


# ---- what fills by itself ------------------------------------------------------------------------


def opening(**settings: object) -> Toolbox:
    """A toolbox that opens by itself, with an index that says how large each unit of the stem gets."""
    box = toolbox(Settings(scan="off", grow="off", **settings))
    box._introduction = None
    highest = np.array([[1.0], [1], [1], [0.99], [1], [1]], np.float32)
    index = SimpleNamespace(
        count=7, spans=(Span("stem", 0, 6, 8, 8),), span=lambda name: Span("stem", 0, 6, 8, 8),
        top=SimpleNamespace(value=highest),
    )  # fmt: skip
    box.workers.top_images = SimpleNamespace(
        opened=OpenIndex(index), answer=None, want=lambda wish: None, close=lambda timeout=5.0: True
    )
    return box


def test_it_opens_on_the_strongest_unit_with_its_backward_image_and_says_what_runs_where() -> None:
    box = opening()
    idle(box, 4)
    assert (box.state.layer, box.state.unit, box.state.method) == (0, 3, "lrp")
    assert box.opening.is_over and box.questions.result.request.origin == ("stem", 3)
    text, is_error = message(box)
    assert text.startswith("fake on ") and "top images: " in text and "7 photos" in text and not is_error
    box.bar.clear()
    idle(box, 3)
    assert message(box)[0] == ""  # said once


@pytest.mark.parametrize("without", [{"pixels": np.zeros((8, 8, 3), np.float32)}, {"error": "no rule for this"}])
def test_it_opens_with_the_usual_method_where_there_is_no_relevance(without: dict[str, object]) -> None:
    box = opening()
    engine: FakeEngine = box.engine
    collect = engine.collect

    def result_of(timeout: float = 0.0) -> Result | None:
        result = collect(timeout)
        return replace(result, **without) if result is not None and result.request.method == "lrp" else result

    engine.collect = result_of
    idle(box, 6)
    assert (box.state.unit, box.state.method, box.state.home.method) == (3, "deconv", "deconv")
    press(box, "b", "b")
    idle(box, 4)
    assert box.state.method == "lrp"  # asked for: the pane says why there is none


@pytest.mark.parametrize("turns", [0, 1])
def test_a_selecting_key_before_wins(turns: int) -> None:
    box = opening()
    box.engine.slow = True
    idle(box, turns)
    press(box, "o")
    box.engine.slow = False
    idle(box, 4)
    assert (box.state.layer, box.state.unit) == (1, 0) and box.opening.is_over


def test_it_waits_for_the_index_but_not_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    box = opening()
    box.workers.top_images.opened = OpenIndex()
    idle(box, 4)
    assert not box.opening.is_over and box.state.method is None
    monkeypatch.setattr(opening_module, "PATIENCE", 0.0)
    idle(box, 2)
    assert box.opening.is_over and box.state.unit == 0  # all activations are equal


def test_the_unit_of_the_settings() -> None:
    box = opening(unit="head:7")
    idle(box, 2)
    assert (box.state.layer, box.state.unit, box.state.method) == (1, 7, None)
    press(box, "u", "esc")
    assert (box.state.layer, box.state.unit) == (1, 7)


def test_a_unit_that_does_not_exist_is_said_and_it_opens_all_the_same() -> None:
    box = opening(unit="head:77")
    idle(box, 2)
    assert "head:77" in box.state.message and box.state.message_is_error
    idle(box, 2)
    assert (box.state.layer, box.state.unit) == (0, 3)


@pytest.mark.parametrize("is_error", [True, False])
def test_what_was_said_is_read_before_the_introduction(is_error: bool) -> None:
    box = opening()
    box.bar.say("no camera", is_error)
    idle(box, 4)
    assert message(box) == ("no camera", is_error)
    box.bar.clear()
    idle(box)
    assert message(box)[0].startswith("fake on ")


def test_images_that_are_asked_for_wait_for_the_first_picture(box: Toolbox, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = []
    monkeypatch.setattr(box.workers.growth, "want", wanted.append)
    box.engine.slow = True
    press(box, "x")
    idle(box, 3)
    assert box.state.growing and not wanted
    box.engine.slow = False
    box.engine.want(box.engine.asked[-1])
    idle(box, 2)
    assert wanted[-1].wish.unit == box.state.unit


@pytest.mark.parametrize(("setting", "wanted"), [("auto", True), ("off", False)])
def test_scanning_and_growing_can_be_turned_off(setting: str, wanted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    box = toolbox(Settings(unit="stem:0", scan=setting, grow=setting))
    scans, grows = [], []
    monkeypatch.setattr(box.workers.own_scan, "want", scans.append)
    monkeypatch.setattr(box.workers.growth, "want", lambda wish: grows.append(wish) if wish else None)
    monkeypatch.setattr(type(box.workers.unit_images), "records", {})
    until(lambda: idle(box) or box.workers.top_images.opened != OpenIndex())
    idle(box, 2)
    assert any(scans) is wanted
    assert bool(grows) is wanted and all(one.wish.by_itself for one in grows)


def test_nothing_grows_by_itself_while_photos_are_scanned(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = toolbox(quiet()).workers
    scanning = [Scanning(16, 424)]
    monkeypatch.setattr(type(workers.own_scan), "answer", property(lambda self: scanning[0]))
    monkeypatch.setattr(type(workers.unit_images), "records", {})
    network = FakeEngine([]).network
    assert workers._growth_by_itself(State(), network, range(0)) is None
    scanning[0] = Scanning(is_over=True, error="no photos")
    assert workers._growth_by_itself(State(), network, range(0)).unit == 0


def test_dragging_moves_the_facet_map_and_nothing_else() -> None:
    box = toolbox(quiet())
    left, top, width, height = box.renderer.layer_box
    at = (left + width // 4, top + height // 2)
    for zoom, moves in (("facets", True), ("layer", False)):
        box.state = replace(box.state, zoom=zoom, facet_view=PaneView(4.0))
        before = box.state
        box._react(Mouse("move", *at))
        box._react(Mouse("drag", at[0] + width // 10, at[1]))
        assert (box.state.facet_view.x < 0.5) is moves and box.state.view == before.view


def test_a_photo_of_the_facet_map_is_clicked_where_the_button_is_released(monkeypatch: pytest.MonkeyPatch) -> None:
    """A drag that begins on a photo moves the map, and does not make the photo the input."""
    box, applied = toolbox(quiet()), []
    left, top, width, height = box.renderer.layer_box
    x, y = left + width // 4, top + height // 2
    photo = FacetPhoto(1, Photo("photos", "1.png"))
    monkeypatch.setattr(box.renderer, "target_at", lambda *_: photo)
    monkeypatch.setattr(box, "_apply", applied.append)
    box.state = replace(box.state, zoom="facets", facet_view=PaneView(4.0))
    expected = pointing.click(box.state, photo, box._facts())
    for events, is_click in (
        ([("move", 0), ("click", 0), ("drag", 1), ("release", 1)], True),
        ([("move", 0), ("click", 0), ("drag", 40), ("release", 40)], False),
    ):
        before = box.state.facet_view
        for kind, right in events:
            box._react(Mouse(kind, x + right, y))
            if kind == "click":
                assert not applied
        assert applied == ([expected] if is_click else []) and (box.state.facet_view == before) is is_click
        applied.clear()


def test_a_box_is_drawn_in_the_dream_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    box = toolbox(quiet())
    idle(box)
    box.state = replace(box.state, content="dream", dreaming=False)
    layer, of = box.engine.network.layers[box.state.layer].name, box.feed.frame
    picture = np.zeros((40, 40, 3), np.uint8)
    view = DreamView(DreamWish(layer, None, "picture", of, True), picture, "octave 1 of 4")
    monkeypatch.setattr(type(box.workers.dreams), "answer", property(lambda self: view))
    left, top, width, height = box.renderer.layer_box
    middle = left + width // 2, top + height // 2
    for begin, draws in (((left + 2, top - 40), False), (middle, True)):
        box._react(Mouse("click", *begin))
        box._react(Mouse("drag", middle[0] + height // 4, middle[1] + height))
        assert (box.state.new_box is not None) is draws and box.state.guide_box is None
        box._react(Mouse("release", *middle))
        assert (box.state.guide_box is not None) is draws and box.state.new_box is None
    drawn = box.state.guide_box
    assert drawn.frame is of and drawn.box.bottom == 1
    assert np.allclose((drawn.box.left, drawn.box.top, drawn.box.right), (0.5, 0.5, 0.75), atol=0.03)
    box._react(Mouse("click", *middle))
    box._react(Mouse("release", *middle))
    assert box.state.guide_box is drawn and box.state.dreaming
