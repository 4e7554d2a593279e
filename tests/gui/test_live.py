"""One program, started without a camera, and everything that keys and mouse can do with it.

Each test finds the view as it is at the start (see `program`); only the input stays where the test
before has left it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from desktop import GONE, Program, Screen, changed, cut
from waiting import until

from deepvis.attribution.methods import METHODS
from deepvis.core import paths
from deepvis.inputs.playlist import Playlist
from deepvis.interface.commands import COMMANDS
from deepvis.interface.contents import CONTENTS
from deepvis.interface.layout import CHIP_LINE
from deepvis.interface.state import COMMON_BACKWARD, GAMMAS
from deepvis.interface.unit_grid import PaneView, make_grid
from deepvis.render import colors
from deepvis.render.panes.recipe_grid import tile_boxes
from deepvis.synthesis.presets import PRESETS, named, saved
from deepvis.synthesis.recipe_grid import RecipeGrid, table

NO_CAMERA = "63"


@pytest.fixture(scope="module")
def started(screen: Screen, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The program, with what was to be seen of it before its network was loaded."""
    with Program(screen, tmp_path_factory.mktemp("live"), "--input", NO_CAMERA, gated=True) as program:
        program.open()
        program.wait(lambda: program.now["frame"] and "camera" in program.words("status"), "there is a photo")
        program.wait(
            lambda: "input" in program.now["crc"] and program.words("input")[:8] == program.now["frame"][:8],
            "it is drawn",
        )
        until(lambda: cut(program.grab(), program.now["panes"]["input"]).std() > 20, "the photo is on the screen")
        early = SimpleNamespace(pixels=program.grab(), panes=program.now["panes"], layers=program.now["layers"],
                                big=program.words("layer"), status=program.words("status"))  # fmt: skip
        program.open_gate()
        program.ready()
        yield SimpleNamespace(program=program, early=early)


@pytest.fixture
def program(started: SimpleNamespace) -> Program:
    started.program.reset()
    return started.program


# ---- the start ----------------------------------------------------------------------------------


def test_the_window_is_up_and_says_what_it_does_before_the_network_is_there(started):
    early = started.early
    assert early.layers == []
    assert "loading efficientnet-lite0" in early.big
    assert cut(early.pixels, early.panes["input"]).std() > 20  # the photo, which the fixture waited for
    assert cut(early.pixels, early.panes["layer"]).max() > 100  # the words are on the screen
    assert "stem   " in started.program.words("layer")


def test_without_a_camera_it_says_so_and_shows_the_bundled_photos(started):
    assert f"camera {NO_CAMERA} does not exist" in started.early.status
    assert started.program.state["source"] == "files"
    assert (paths.PHOTOS / started.program.now["frame"]).is_file()


def test_the_window_has_the_size_of_the_settings(program):
    assert program.place[2:] == (1500, 930)
    assert program.now["size"] == [1500, 930]
    program.picture()  # and the picture is on it pixel by pixel


# ---- input --------------------------------------------------------------------------------------


def test_browsing_goes_through_the_photos_in_order_and_around_the_end(program):
    names = [path.name for path in Playlist(paths.PHOTOS)._entries]
    at = names.index(program.now["frame"])
    pictures = [program.picture()]
    for key, step in (("e", 1), ("Next", 1), ("w", -1), ("Prior", -1), ("w", -1), ("e", 1)):
        at = (at + step) % len(names)
        program.press(key)
        program.wait(lambda: program.now["frame"] == names[at], f"{names[at]} is shown")
        pictures.append(program.picture())
        assert program.words("input").startswith(names[at])
        assert {"input", "layer", "unit"} <= changed(*pictures[-2:])
    assert not changed(pictures[0], pictures[4]) and not changed(pictures[0], pictures[6])


def test_c_tries_the_camera_again_and_comes_back_with_the_reason(program):
    program.press("c")
    program.wait(
        lambda: program.state["source"] == "files" and "does not exist" in program.words("status"), "it is back"
    )
    program.picture()


# ---- moving -------------------------------------------------------------------------------------


@pytest.mark.parametrize("left, right, up, down", [("Left", "Right", "Up", "Down"), ("j", "l", "i", "k")])
def test_the_cursor_walks_along_the_layers_into_the_channels_and_back(program, left, right, up, down):
    names = [layer["name"] for layer in program.now["layers"]]
    start = program.picture()
    program.press(right, right)
    assert (program.layer, program.state["in_channels"]) == (names[2], False)
    program.press(left)
    assert program.layer == names[1]
    program.settle()
    assert program.now["drawn"]["layer"]["layer"] == names[1]
    among_layers = program.picture()
    assert {"layers", "layer", "unit"} <= changed(start, among_layers)

    program.press(down)
    assert program.state["in_channels"]
    assert "layers" in changed(among_layers, program.picture())
    program.press(right, right, right, left)
    assert program.unit == f"{names[1]}:2"
    assert framed(program) == cell(program, 2)
    columns = grid(program).columns
    program.press(down)
    assert program.unit == f"{names[1]}:{2 + columns}"
    assert framed(program) == cell(program, 2 + columns)
    assert f"{names[1]}:{2 + columns}" in program.words("unit")
    program.press(up)
    assert (program.unit, program.state["in_channels"]) == (f"{names[1]}:2", True)
    program.press(up)
    assert (program.unit, program.state["in_channels"]) == (f"{names[1]}:2", False)
    program.press(left)
    assert program.layer == names[0]


def test_u_and_o_change_the_layer_and_leave_the_cursor_among_the_channels(program):
    names = [layer["name"] for layer in program.now["layers"]]
    program.press("Down", "o")
    assert (program.layer, program.state["in_channels"]) == (names[1], True)
    program.press("o", "u", "u")
    assert (program.layer, program.state["in_channels"]) == (names[0], True)
    program.press("u")
    assert program.layer == names[0]  # there is none before the first


def test_fast_keys_home_and_end(program):
    program.go("5a:3")
    columns = grid(program).columns
    for key, unit in (("End", 111), ("Home", 0), ("bracketright", 10), ("bracketleft", 0)):
        program.press(key)
        assert program.unit == f"5a:{unit}", key
    program.go("head:0")
    columns = grid(program).columns
    program.press("equal")
    assert program.unit == f"head:{10 * columns}"
    program.press("minus")
    assert program.unit == "head:0"
    assert framed(program) == cell(program, 0)


def test_g_goes_to_the_unit_whose_id_is_typed(program):
    before = program.picture()
    program.press("g")
    program.type("head:15")
    assert program.state["typing"] == "head:15"
    assert "head:15" in program.words("layer")
    assert changed(before, program.picture()) == {"layer"}  # the prompt; nothing has moved yet
    program.press("1", "BackSpace", "1", "Return")
    assert (program.unit, program.state["typing"]) == ("head:151", None)
    assert "head:151" in program.words("status")
    program.settle()
    assert program.now["drawn"]["layer"]["layer"] == "head"


def test_g_takes_the_name_of_a_class(program):
    program.press("g")
    program.type("probs:llama")
    program.press("Return")
    assert program.layer == "probs"
    program.settle()
    assert "llama" in program.words("unit")


def test_g_says_what_is_wrong_with_an_id_and_nothing_moves(program):
    before = program.unit
    program.press("g")
    program.type("head:5000")
    program.press("Return")
    assert "its units are 0 to 1279" in program.words("status")
    assert program.unit == before
    program.press("g")
    program.type("6b")
    program.press("Escape")
    assert (program.unit, program.state["typing"]) == (before, None)


# ---- the mouse ----------------------------------------------------------------------------------


def grid(program: Program):
    layer, view = program.now["layers"][program.state["layer"]], PaneView(**program.state["view"])
    size = program.now["mosaic"][2:]
    return make_grid(layer["units"], layer["height"], layer["width"], *size, view, program.state["unit"])


def cell(program: Program, unit: int) -> tuple[int, int, int, int]:
    """Where a unit's frame should be in the window: left, top, width, height."""
    left, top, width, height = grid(program).box(unit)
    x, y = max(0, left - 1), max(0, top - 1)  # at the edge of the mosaic the frame lies in the cell
    return program.now["mosaic"][0] + x, program.now["mosaic"][1] + y, left + width - x, top + height - y


def inside(program: Program, picture: dict[str, np.ndarray], unit: int) -> np.ndarray:
    """The pixels of a unit's cell without its frame."""
    left, top, width, height = cell(program, unit)
    x, y, *_ = program.now["panes"]["layer"]
    return picture["layer"][top - y + 5 : top - y + height - 5, left - x + 5 : left - x + width - 5]


def middle(box) -> tuple[float, float]:
    left, top, width, height = box
    return left + width / 2, top + height / 2


def accent(pixels: np.ndarray) -> tuple[int, int, int, int]:
    """Bounding box of what has the colour of the selection: left, top, width, height."""
    rows, columns = np.nonzero((pixels == colors.DARK.accent[::-1]).all(axis=2))
    assert rows.size, "nothing is marked as selected"
    return columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1


def framed(program: Program) -> tuple[int, int, int, int]:
    """Where the layer pane's selection frame is on the screen, in pixels of the window."""
    left, top, width, height = accent(mosaic(program))
    return left + program.now["mosaic"][0], top + program.now["mosaic"][1], width, height


def chips(program: Program) -> dict[int, int]:
    """{layer: x} of each name in the list, found by moving the mouse along its middle."""
    left, top, width, height = program.now["panes"]["layers"]
    found = {}
    for x in range(left + 8, left + width - 8, 24):
        program.point(x, top + height / 2)
        if program.state["hover"]:
            found.setdefault(program.state["hover"]["layer"], x)
    return found


def test_a_click_selects_the_layer_whose_name_is_under_the_mouse(program):
    left, top, _, height = program.now["panes"]["layers"]
    found = chips(program)
    assert len(found) >= 15 and list(found) == sorted(found)
    for layer in (5, 17, 2):
        program.click(found[layer], top + height / 2)
        assert (program.state["layer"], program.state["in_channels"]) == (layer, False)
        marked_left, _, marked_width, _ = accent(program.picture()["layers"])
        assert marked_left <= found[layer] - left < marked_left + marked_width
        assert program.now["drawn"]["layer"]["layer"] == program.layer


@pytest.mark.parametrize("layer, units", [("stem", (0, 7, 31)), ("head", (0, 640, 1279)), ("probs", (0, 999, 151))])
def test_a_click_selects_the_unit_that_is_under_the_mouse(program, layer, units):
    program.go(f"{layer}:5")
    for unit in units:
        box = cell(program, unit)
        program.click(*middle(box))
        assert program.unit == f"{layer}:{unit}"
        assert f"{layer}:{unit}" in program.words("unit")
        program.point(*middle(program.now["panes"]["status"]))  # takes away the frame of the hover
        assert framed(program) == box


def test_a_click_beside_the_channels_selects_nothing(program):
    program.go("stem:5")
    *_, width, height = program.now["mosaic"]
    assert grid(program).at(width - 3, height - 3) is None
    program.click(program.now["mosaic"][0] + width - 3, program.now["mosaic"][1] + height - 3)
    assert program.unit == "stem:5"


def test_hovering_names_the_unit_and_its_value(program):
    program.go("5a:0")
    shown = set()
    for unit in (3, 50):
        program.point(*middle(cell(program, unit)))
        assert program.state["hover"] == {"layer": program.state["layer"], "unit": unit, "other": None, "tile": None}
        program.wait(lambda: f"5a:{unit}" in program.words("status"), "the status bar names it")
        assert "max" in program.words("status")
        shown.add(program.words("status"))
    assert program.unit == "5a:0" and len(shown) == 2
    program.point(*middle(program.now["panes"]["status"]))
    assert program.state["hover"] is None
    assert "5a:50" not in program.words("status")


def test_the_wheel_magnifies_where_the_mouse_is_and_comes_back(program):
    program.go("5a:0")
    x, y = middle(cell(program, 50))
    program.point(x, y)
    before, width = program.picture(), cell(program, 50)[2]
    try:
        program.wheel(x, y, 3)
        assert program.state["view"]["scale"] == pytest.approx(1.25**3)
        near = program.picture()  # fails if the window's own zoom, OpenCV's, gets the wheel too
        assert changed(before, near) == {"layer"}
        left, top, wide, high = cell(program, 50)
        assert wide > 1.8 * width
        assert left - 2 <= x <= left + wide + 2 and top - 2 <= y <= top + high + 2  # still under the mouse
        program.press("Home", "End")  # the view follows the selection
        left, top, wide, high = cell(program, 111)
        right, bottom = (sum(program.now["mosaic"][i::2]) for i in (0, 1))
        assert left + wide <= right + 1 and top + high <= bottom + 1
    finally:
        program.wheel(x, y, -5)
    assert program.state["view"]["scale"] == 1
    program.press("Home")
    assert not changed(before, program.picture())


def test_the_wheel_elsewhere_does_nothing(program):
    before = program.picture()
    x, y = middle(program.now["panes"]["input"])
    try:
        program.wheel(x, y, 2)
        assert not changed(before, program.picture())
    finally:
        program.wheel(x, y, -2)


# ---- cycles -------------------------------------------------------------------------------------

CYCLES = {  # key: (keys before, presses until it is as before, panes that change, panes that may)
    "b": ("", len(COMMON_BACKWARD), {"backward", "unit_images"}, set()),
    "m": ("b", 4, {"backward", "unit_images"}, set()),
    "z": ("b", 4, {"layer"}, set()),
    "a": ("b", 2, {"layer"}, set()),
    "d": ("b", 2, {"layers", "backward"}, {"layer"}),
    "s": ("", len(CONTENTS), {"layer"}, set()),
    "t": ("", len(GAMMAS), {"layer", "unit"}, set()),
    "y": ("", 4, {"layer"}, {"unit"}),
    "8": ("", 2, {"input"}, set()),
    "9": ("", 2, {"unit_images"}, set()),
    "6": ("", 2, {"unit_images"}, set()),
    "h": ("", 2, {"layer"}, set()),
}


@pytest.mark.parametrize("key", CYCLES)
def test_a_cycle_changes_its_pane_at_each_press_and_ends_where_it_began(program, key):
    before, presses, must, may = CYCLES[key]
    program.go("5a:10")
    program.press(*before)
    first = last = program.picture()
    status = program.words("status")
    for press in range(1, presses + 1):
        program.press(key)
        now = program.picture()
        assert must <= changed(last, now) <= must | may, f"press {press}"
        assert bool(changed(first, now)) == (press < presses), f"press {press}"
        last = now
    for fact in ("gradient", "frozen", "gamma", "boost"):
        assert (fact in status) == (fact in program.words("status"))


def test_n_goes_through_all_methods(program):
    program.go("5a:10")
    for name in (*METHODS, None):
        program.press("n")
        assert program.state["method"] == name
    program.settle()


def test_the_backward_pane_names_method_and_filter(program):
    program.go("head:151")
    for method in ("gradient", "deconv", "guided"):
        program.press("b")
        program.settle()
        assert program.now["drawn"]["backward"]["method"] == method
        assert program.now["drawn"]["backward"]["origin"] == ["head", 151]
        assert f"{method} from head:151" in program.words("backward")
        assert method in program.words("status")
    program.press("b", "m")
    assert "blurred norm" not in program.words("backward") and "raw" in program.words("backward")


def test_z_enlarges_the_unit_and_the_backward_image_in_the_big_pane(program):
    program.go("5a:10")
    program.press("b", "m", "m", "m")  # the blurred norm: a picture that can be compared at another size
    small = program.picture()
    program.press("z")
    assert program.words("layer").startswith("5a:10")
    same(mosaic(program), small["unit"][22:-4])
    program.press("z")
    assert program.words("layer").startswith("gradient from 5a:10")
    same(mosaic(program), small["backward"][22 : -CHIP_LINE - 2])


def same(large: np.ndarray, small: np.ndarray) -> None:
    """Both panes, without their titles and chips, show the same square picture in their middle."""
    pictures = []
    for body in (large, small):
        side = min(body.shape[:2]) - 8
        top, left = (body.shape[0] - side) // 2, (body.shape[1] - side) // 2
        square = body[top : top + side, left : left + side]
        pictures.append(cv2.resize(square, (48, 48), interpolation=cv2.INTER_AREA).astype(float).ravel())
    assert np.corrcoef(*pictures)[0, 1] > 0.9


def test_a_shows_backward_values_in_orange_and_blue(program):
    program.go("head:151")
    program.press("b", "d")
    program.go("stem:0")
    gray = mosaic(program)
    assert (np.ptp(gray.astype(int), axis=2) < 12).mean() > 0.9  # activations have no colour
    program.press("a")
    assert program.state["layer_gradient"]
    values = mosaic(program).astype(int)
    red, green, blue = np.moveaxis(values, 2, 0)
    assert ((red > green + 15) & (green > blue + 15)).sum() > 500
    assert ((blue > green + 15) & (green > red + 15)).sum() > 500
    assert "gradient from head:151" in program.words("layer")


def mosaic(program: Program) -> np.ndarray:
    """The screen's pixels in the layer pane, without its title."""
    return program.picture()["layer"][program.now["mosaic"][1] - program.now["panes"]["layer"][1] :]


def test_d_holds_the_origin_while_one_walks_elsewhere(program):
    program.go("head:151")
    program.press("b", "d")
    held = program.picture()
    program.press("Right", "u")
    assert program.unit == "7a:152"
    walked = program.picture()
    assert "backward" not in changed(held, walked)
    assert {"layer", "unit"} <= changed(held, walked)
    assert "from head:151" in program.words("backward") and "frozen" in program.words("backward")
    assert "origin head:151 frozen" in program.words("status")
    program.press("d")
    assert "backward" in changed(walked, program.picture())
    assert "from 7a:152" in program.words("backward")


def test_5_shows_the_timings_in_the_status_bar(program):
    assert "ms:" not in program.words("status")
    program.press("5")
    assert program.state["debug"]
    program.wait(lambda: "ms:" in program.words("status"), "the timings are shown", 30)
    program.press("5")
    assert "ms:" not in program.words("status")


def test_s_shows_the_stored_images_of_all_units(program):
    program.press("s")
    program.wait(
        lambda: "28 stored" in program.words("layer"), "the stored images are there", 30
    )  # of 32; four are dead
    program.settle()
    assert program.picture()["layer"].std() > 20
    program.go("head:3")
    program.wait(
        lambda: "No images are stored for layer head" in program.words("layer"), "it says that there are none", 30
    )


def test_s_goes_through_what_a_scan_found_out_and_back_to_the_activations(program):
    program.go("3a:5")
    start = program.picture()
    program.press("s", "s")
    program.wait(lambda: "top image of each unit" in program.words("layer"), "the top images are named", 30)
    tops = program.picture()
    assert inside(program, tops, 7).std() > 5  # a patch of a photo
    program.press("s")
    program.wait(lambda: "histograms of the maxima in 424 images" in program.words("layer"), "histograms", 30)
    assert "none dead" in program.words("layer")
    histograms = program.picture()
    program.press("s")
    program.wait(lambda: "3a   correlation" in program.words("layer"), "correlation", 30)
    plain = program.picture()
    assert "5 goes most with" in program.words("layer")
    x0, y0, w, h = program.now["mosaic"]
    side = min(w, h)
    place = (x0 + (w - side) // 2 + side * 20.5 / 40, y0 + (h - side) // 2 + side * 10.5 / 40)  # row 10, column 20
    program.point(*place)
    program.wait(lambda: "3a:10   and   3a:20   r = " in program.words("status"), "both units are named")
    program.click(*place)
    assert program.unit == "3a:10"
    program.press("s")
    program.wait(lambda: "correlation, sorted" in program.words("layer"), "sorted", 30)
    is_sorted = program.picture()
    for one, other in ((start, tops), (tops, histograms), (histograms, plain), (plain, is_sorted)):
        assert "layer" in changed(one, other)
    program.press(*["s"] * 7)  # past strongest units, difference, weights, what is remembered, the prior, the dream
    program.go("3a:5")
    program.point(2, 2)
    program.wait(lambda: not program.state["hover"], "the mouse points at nothing")
    assert "layer" not in changed(start, program.picture())


def test_v_collects_the_strongest_moments_of_the_files_that_are_walked_through(program):
    program.go("3a:5")
    program.press("v", "s", "s")
    for count in (2, 3, 4):
        before = program.now["frame"]
        program.press("e")
        program.wait(lambda: program.now["frame"] != before, "the next photo is shown")
        program.wait(lambda: f"collecting: {count} moments" in program.words("status"), f"{count} moments", 30)
    assert "strongest moment of each unit" in program.words("layer")
    program.press("v")
    program.wait(
        lambda: "collecting" not in program.words("status") and "4 moments" in program.words("status"),
        "it has stopped",
        30,
    )
    assert inside(program, program.picture(), 7).std() > 5
    program.press("Escape")
    program.wait(lambda: "moments" not in program.words("status"), "the collection is over", 30)
    program.press("w", "w", "w")


def test_top_images_of_the_selected_unit_and_a_click_that_shows_one_to_the_network(program):
    program.go("4a:15")
    program.wait(
        lambda: (
            "top images" in (words := program.words("unit_images"))
            and "4a:15" in words
            and "their guided" in words
            and "computing" not in words
        ),
        "the top images are there",
        30,
    )
    left, top, width, height = program.now["panes"]["unit_images"]
    right = program.picture()["unit_images"]
    for block in (1, 2):
        middle = right[height * block // 3 + 30 : height * (block + 1) // 3 - 10, 20:-20]
        tiles = [tile for row in np.array_split(middle, 3) for tile in np.array_split(row, 3, axis=1)]
        assert min(tile.std() for tile in tiles) > 4  # something is in each
    before = program.now["frame"]
    x, y = left + width / 2, top + height / 2
    program.point(x, y)
    program.wait(lambda: "a click shows the whole photo" in program.words("status"), "its name is said")
    name = program.words("status").split(".jpg")[0].split()[-1] + ".jpg"
    assert name != before
    program.click(x, y)
    program.wait(lambda: program.now["frame"] == name, "the photo is the input")
    program.settle()
    assert program.now["drawn"]["layer"]["frame"] == name and "e: back" in program.words("input")
    program.press("e")
    program.wait(lambda: program.now["frame"] == before, "the files are back")


def test_a_click_on_a_class_selects_its_unit(program):
    program.settle()
    labels = program.now["layers"][-1]["labels"]
    first = next(word for word in program.now["words"]["input"] if word in labels)
    left, top, width, height = program.now["panes"]["input"]
    program.click(left + 20, top + height - CHIP_LINE - 5 * 19 + 9)
    program.wait(lambda: program.layer == "probs", "the class is selected")
    assert labels[program.state["unit"]] == first


def test_x_grows_images_of_the_selected_unit_until_it_is_pressed_again(program):
    program.press("x")
    program.wait(
        lambda: "growing" in program.words("unit_images") and "step" in program.words("unit_images"), "images grow", 30
    )
    program.press("x")
    program.wait(lambda: "growing" not in program.words("unit_images"), "the stored images are back", 30)


def test_the_desk_closes_in_on_a_click_goes_back_and_saves(program):
    program.go("2a:3")
    program.press("2")
    program.wait(
        lambda: "recipe grid" in program.words("layer") and "step" in program.words("layer"), "sixteen images grow", 30
    )
    left, top, width, height = program.now["mosaic"]
    tile_left, tile_top, tile_width, tile_height = tile_boxes(width, height, 1.0)[6]
    place = (left + tile_left + tile_width / 2, top + tile_top + tile_height / 2)
    wanted = table(RecipeGrid("modern", PRESETS["modern"])).recipes[6]
    program.point(*place)
    program.wait(lambda: f"rate {wanted.rate:g}, power 1" in program.words("status"), "the tile's settings are named")
    program.click(*place)
    assert [one["recipe"]["rate"] for one in program.state["recipe_grids"]] == [PRESETS["modern"].rate, wanted.rate]
    program.wait(lambda: "best" in program.words("layer"), "the next sixteen grow", 30)
    program.press("Return")
    name = program.state["typing"]
    program.press("Return")
    try:
        program.wait(lambda: f"--preset {name}" in program.words("status"), "it says how to use the recipe")
        assert named(name) == wanted
    finally:
        saved()[name].unlink()
    program.press("BackSpace")
    assert len(program.state["recipe_grids"]) == 1
    program.press("1")  # after the saved ones the first again
    program.press("Escape")
    assert (program.state["recipe_grids"], program.state["preset"], program.unit) == ([], "modern", "2a:3")


def test_escape_resets_the_view_and_leaves_the_input(program):
    start = program.picture()
    first = program.now["frame"]
    program.press("e")
    program.wait(lambda: program.now["frame"] != first, "the next photo is shown")
    frame = program.now["frame"]
    program.press("o", "Down", "Right", "b", "d", "t", "y", "z", "8", "9")
    program.press("Escape")
    assert program.state | {"step": 0} == program.state | {
        "layer": 0, "unit": 0, "in_channels": False, "method": None, "origin": None, "gamma": 0, "boost": 0,
        "zoom": "layer", "predictions": True, "unit_images": True, "step": 0,
    }  # fmt: skip
    assert program.now["frame"] == frame
    program.press("w")
    program.wait(lambda: program.now["frame"] == first, "the photo before is shown")
    assert not changed(start, program.picture())


# ---- help, snapshots, recordings ------------------------------------------------------------------


def test_help_lists_every_command_with_its_keys(program):
    program.press("h")
    program.picture()
    lines = program.now["words"]["layer"]
    for name, command in COMMANDS.items():
        assert command.help in lines, f"{name} is cut off or missing"
        assert " ".join(command.keys) in lines
    program.press("Escape")
    assert not program.state["help"]


def test_p_saves_what_the_screen_shows_and_each_pane_large(program):
    program.go("5a:10")
    program.press("b")
    seen = program.picture()
    program.press("p")
    program.wait(lambda: "saved" in program.words("status"), "it says where it saved")
    folder = program.folder / "deepvis-output"
    files = {path.stem.split("-", 3)[-1]: path for path in folder.glob("deepvis-*-*-*.png")}
    assert set(files) == set(program.now["panes"])
    (window,) = set(folder.glob("*.png")) - set(files.values())
    assert window.name in program.words("status")
    saved = cv2.cvtColor(cv2.imread(str(window)), cv2.COLOR_BGR2RGB)
    for name, pixels in seen.items():
        assert np.array_equal(cut(saved, program.now["panes"][name]), pixels), name
        large = cv2.imread(str(files[name]))
        assert max(large.shape) == 1800 and large.std() > 5, name


def test_r_records_a_video_that_plays_and_stops(program):
    program.press("r")
    program.wait(lambda: "REC" in program.words("status"), "it says that it records")
    for key in ("o", "Down", "Right", "t", "b"):
        program.press(key)
        last = program.picture()
    program.wait(lambda: program.now["network_rate"] == 0, "the last picture has been there for a while")
    program.press("r")
    program.wait(lambda: "saved" in program.words("status"), "it is saved")
    assert "REC" not in program.words("status")
    frames = play(*(program.folder / "deepvis-output").glob("*.mp4"))
    assert len(frames) >= 2 and frames[0].shape == (930, 1500, 3)
    for name, pixels in last.items():
        recorded = cut(frames[-1], program.now["panes"][name])
        assert np.abs(recorded.astype(int) - pixels).mean() < 8, name
    assert np.abs(frames[0].astype(int) - frames[-1]).mean() > 2


def play(path: Path) -> list[np.ndarray]:
    """All frames of a video, RGB."""
    video, frames = cv2.VideoCapture(str(path)), []
    while (got := video.read())[0]:
        frames.append(cv2.cvtColor(got[1], cv2.COLOR_BGR2RGB))
    return frames


# ---- the window ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1100, 760), (1700, 1000), (640, 420), (1500, 930)])
def test_a_resized_window_is_laid_out_anew(program, size):
    program.go("stem:5")
    program.screen.do("windowsize", "--sync", program.window, *size)
    program.wait(lambda: tuple(program.now["size"]) == size, "the picture has the new size")
    program.picture()  # the screen shows it pixel by pixel: it was drawn anew, not stretched
    right = max(left + width for left, _, width, _ in program.now["panes"].values())
    bottom = max(top + height for _, top, _, height in program.now["panes"].values())
    assert (right, bottom) == size
    program.click(*middle(cell(program, 9)))  # and the mouse finds the units where they are now
    assert program.unit == "stem:9"


def test_a_double_click_enlarges_a_pane_and_the_next_one_shows_all_again(program):
    program.go("5a:10")
    panes = program.now["panes"]
    program.double_click(*middle(panes["unit_images"]))  # on a top image: a click alone would show its photo
    program.wait(lambda: set(program.now["panes"]) == {"unit_images", "status"}, "the pane is large")
    program.picture()
    assert program.state["photo"] is None and program.unit == "5a:10"
    program.double_click(*middle(program.now["panes"]["unit_images"]))
    program.wait(lambda: program.now["panes"] == panes, "all panes are back")
    program.double_click(*middle(cell(program, 3)))
    program.wait(lambda: set(program.now["panes"]) == {"layer", "status"}, "the layer pane is large")
    assert program.unit == "5a:10"
    program.press("Escape")
    program.wait(lambda: program.now["panes"] == panes, "all panes are back")
    assert program.unit == "5a:10"
    program.picture()


def test_f11_fills_the_screen_and_comes_back(program):
    before = program.now["size"]
    program.press("F11")
    program.wait(lambda: program.now["size"][1] > before[1], "the window fills the screen")
    program.picture()
    program.press("F11")
    program.wait(lambda: program.now["size"] == before, "the window has its size again")
    program.picture()


def test_heat_lies_over_the_picture_and_the_top_images(program):
    program.go("5a:10")
    plain = program.picture()
    program.press("backslash")
    program.settle()
    active = program.picture()
    assert {"input", "unit_images"} <= changed(plain, active) <= {"input", "unit_images"}
    assert "heat: where 5a:10 is active" in program.words("status")
    program.press("backslash")
    program.settle()
    assert "input" in changed(active, program.picture()) and program.state["method"] == "gradient"
    program.press("bar")
    assert program.state["opacity"] == 0.7
    program.press("backslash")
    assert program.state["heat"] == "off"


def test_the_theme_changes_every_pane_and_back(program):
    dark = program.picture()
    program.press("asterisk")
    assert changed(dark, program.picture()) == set(dark) - {"status"}
    program.press("asterisk")
    assert not changed(dark, program.picture())


def test_a_rate_of_nothing_new_costs_nothing(program):
    """Once a still photo is shown, the network rests."""
    program.wait(lambda: program.now["network_rate"] == 0, "the network rests")


# ---- the end: last, because it ends the program --------------------------------------------------


def test_q_ends_it_at_once_with_nothing_on_stderr(program):
    program.press("o")
    program.screen.do("key", "q")
    assert program.end(GONE) == 0
    assert program.stderr == ""
