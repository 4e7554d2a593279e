"""Many units: stored, resumed, the same however often it was killed; what is said of units without facets."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from smallnets import small

from deepvis.core.errors import UserError
from deepvis.core.paths import Places
from deepvis.facets import excited, jobs, making
from deepvis.facets.excited import Candidates, Top, candidates, index_for
from deepvis.facets.facet_store import bundled_facets, open_facets, own_facets, read
from deepvis.facets.jobs import FacetCounts, FacetPlan, make_facets
from deepvis.inputs.datasets import Images, find_images
from deepvis.networks.network import Network
from deepvis.scan.index import Index, scan_folder
from deepvis.scan.options import Options
from deepvis.scan.scan import scan
from deepvis.store.unit_images import Store, open_store
from deepvis.synthesis.presets import recipe
from deepvis.synthesis.targets import parse_units

PLAN = FacetPlan(recipe("facet", {"steps": 2}), "facet", k=2, top=Top("8"))
UNITS = "fc:1-2,conv2:1"


def write_photos(folder: Path, count: int = 12) -> Images:
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    for number in range(count):
        image = cv2.resize(draw.integers(0, 255, (5, 5, 3), np.uint8), (36, 30), interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(folder / f"{number:02d}.png"), image)
    return find_images(folder)


@pytest.fixture(scope="module")
def network() -> Network:
    return small()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    return write_photos(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, network: Network, images: Images) -> Index:
    found = index_for(network, Places(*[tmp_path_factory.mktemp("places")] * 2), images, Top("8"))
    assert found.k == 8
    return found


def go(network: Network, index: Index, folder: Path, plan: FacetPlan = PLAN, units: str = UNITS) -> FacetCounts:
    store = open_store(folder, network.fingerprint, network.name)
    return make_facets(network, parse_units(units, network.layers), plan, candidates(index), store)


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and not p.name.startswith(".")
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, network: Network, index: Index) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "s"
    assert go(network, index, folder) == FacetCounts(made=3)
    return folder


def test_what_is_stored_is_what_is_read(whole: Path, network: Network, index: Index) -> None:
    store = open_store(whole, network.fingerprint)
    found = read(store, "fc", 2)
    assert found is not None and len(found.members) == 8 and len(found.facets) == 2 and found.root == index.root
    row = index.row("fc", 2)
    assert [member.name for member in found.members] == [index.files[i] for i in index.top.image[row]]
    np.testing.assert_allclose([member.value for member in found.members], index.top.value[row], rtol=1e-3)
    for number, facet in enumerate(found.facets):
        assert facet.size == sum(member.cluster == number for member in found.members)
        assert facet.image is not None and facet.image.shape == facet.mean.shape == (32, 32, 3)
        assert facet.called and facet.photos_called and facet.score != 0
    record = store.records["fc", 2]
    assert record["facets"][0]["photos"] == [found.members[i].name for i in found.facets[0].nearest]
    patch = read(store, "conv2", 1)
    assert patch is not None and patch.code == "conv2" and patch.facets[0].mean.shape == (5, 5, 3)
    assert read(store, "fc", 9) is None
    assert go(network, index, whole) == FacetCounts(found=3)


class Death(BaseException):
    """The process is killed."""


def test_killed_and_resumed_it_leaves_the_same_files(
    tmp_path: Path, whole: Path, network: Network, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second unit dies with its image in place and its record half written."""
    add, left = Store.add, [2]

    def dying(self: Store, layer: str, unit: int, images: np.ndarray, record: dict, part: str, quality: int) -> None:
        add(self, layer, unit, images, record, part, quality)
        left[0] -= 1
        if not left[0]:
            path = self.folder / f"added-{part}.jsonl"
            path.write_bytes(path.read_bytes()[:-40])
            raise Death

    with monkeypatch.context() as patched:
        patched.setattr(Store, "add", dying)
        with pytest.raises(Death):
            go(network, index, tmp_path / "s")
    assert go(network, index, tmp_path / "s") == FacetCounts(made=2, found=1)
    assert files(tmp_path / "s") == files(whole)


def test_two_processes_share_the_units(
    tmp_path: Path, whole: Path, network: Network, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    for rank in ("0", "1"):
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", rank)
        assert go(network, index, tmp_path / "s").made == (2 if rank == "0" else 1)
    assert files(tmp_path / "s") == files(whole)


def test_units_without_facets_say_why_each_time(tmp_path: Path, network: Network, index: Index) -> None:
    """Also in a later run, which does not try them again."""
    named = replace(network, options=" --model M")
    for _ in range(2):
        few = go(named, index, tmp_path / "s", replace(PLAN, top=Top("3")), "fc:1-5")
        assert few.made == few.found == 0 and few.failures == (
            "\n5 units failed (fc:1, fc:2, fc:3, …): 3 photos; facets need 4 or more. Take others, or more of them "
            "(--top): deepvis facets --model M --units UNIT --images DIR"
        )
        many = go(network, index, tmp_path / "s", replace(PLAN, k=9), "fc:7")
        assert many.failures.startswith("\n1 unit failed (fc:7): 9 facets of 8 photos: expected 1 to 8. Ask for fewer")
    store = open_store(tmp_path / "s", network.fingerprint)
    assert "--units fc:2 --images DIR" in store.records["fc", 2]["failed"] and read(store, "fc", 2) is None


def test_photos_that_are_missing_are_looked_for_again(tmp_path: Path, network: Network, index: Index) -> None:
    gone = replace(index, root=str(tmp_path / "elsewhere"))
    failures = go(network, gone, tmp_path / "s", units="fc:1").failures
    assert "8 of 8 photos are not in" in failures and failures.endswith("in now: deepvis scan --images DIR")
    assert ("fc", 1) not in open_store(tmp_path / "s", network.fingerprint).records


def test_a_classes_own_photos_all_count(tmp_path: Path, network: Network, images: Images) -> None:
    store = open_store(tmp_path / "s", network.fingerprint, network.name)
    chosen = parse_units("fc:4", network.layers)
    assert make_facets(network, chosen, PLAN, Candidates(images), store).made == 1
    found = read(store, "fc", 4)
    assert found is not None and len(found.members) == 12
    values = [member.value for member in found.members]
    assert values == sorted(values, reverse=True)


def test_the_networks_index_is_used_if_it_keeps_enough(tmp_path: Path, network: Network, images: Images) -> None:
    places = Places(tmp_path / "own", tmp_path / "bundled")
    with pytest.raises(UserError, match="small has no index.*--images DIR"):
        index_for(network, places, None, Top("5"))
    scan(network, images, scan_folder(places.own, network.name), options=Options(k=6))
    assert index_for(network, places, None, Top("5")).k == 6
    more = index_for(network, places, None, Top("75%"))  # of 12 photos
    assert more.k == 9 and list(more.files) == list(images.names)
    assert [path.name[:12] for path in (tmp_path / "own" / "small").iterdir()].count("scan-facets-") == 1
    broken = replace(network, fingerprint="another")
    with pytest.raises(UserError, match="the index is of another network"):
        index_for(broken, places, None, Top("5"))
    shutil.move(images.root, tmp_path / "moved")
    try:
        with pytest.raises(UserError, match="12 of 12 photos are not in .* in now: deepvis scan --images DIR"):
            index_for(network, places, None, Top("9"))
    finally:
        shutil.move(tmp_path / "moved", images.root)


@pytest.mark.parametrize("text", ["0", "x", "101%", "-3", "2.5", "%"])
def test_how_many_is_refused_in_words(text: str) -> None:
    with pytest.raises(UserError, match="expected a number of photos such as 60, or a share of them such as 2%"):
        Top(text).of(100)


def test_how_many() -> None:
    assert [Top(text).of(500) for text in ("60", "2%", "0.01%", "900")] == [60, 10, 1, 500]


def test_own_facets_come_before_the_bundled_ones(tmp_path: Path, whole: Path, network: Network) -> None:
    places = Places(tmp_path / "own", tmp_path / "bundled")
    shutil.copytree(whole, bundled_facets(places, network.name))
    both = open_facets(network, places)
    assert both.read("fc", 1) is not None and both.note == ""
    other = open_store(own_facets(places, network.name), "another", "other")
    other.finish()
    both = open_facets(replace(network, options=" --model M"), places)
    assert both.read("fc", 1) is not None and "another network" in both.note
    (bundled_facets(places, network.name) / "fc" / "0001.json").write_text("{}")
    with pytest.raises(UserError, match="facets of fc:1 cannot be read.*deepvis facets --model M --units fc:1"):
        both.read("fc", 1)


def test_several_units_grow_in_one_batch(
    tmp_path: Path, network: Network, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU; a unit of which nothing can be made does not keep the others back."""
    batches = []
    ascent = jobs.FacetAscent
    monkeypatch.setattr(jobs, "FacetAscent", lambda *a: batches.append([c.found.unit for c in a[2]]) or ascent(*a))
    monkeypatch.setattr(jobs, "_images_at_once", lambda *a: 5)
    failing = jobs.top_of

    def top_of(network: Network, found: Index, name: str, unit: int, count: int) -> list[making.Place]:
        if unit == 2:
            raise UserError("dead")
        return failing(network, found, name, unit, count)

    monkeypatch.setattr(jobs, "top_of", top_of)
    why = {"dead": ["fc:2"]}
    assert go(network, index, tmp_path / "s", units="fc:0-3") == FacetCounts(made=3, failed=why)
    assert batches == [[0, 1], [3]]
    before = files(tmp_path / "s")
    (tmp_path / "s" / "fc" / "0001.webp").unlink()
    batches.clear()
    assert go(network, index, tmp_path / "s", units="fc:0-3") == FacetCounts(made=1, found=2, failed=why)
    assert batches == [[0, 1]] and files(tmp_path / "s") == before


def test_out_of_memory_halves_the_batch(network: Network, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    ascent, tried = jobs.FacetAscent, []

    def scarce(network: Network, ground: making.Ground, units: list, *others: object) -> object:
        tried.append(len(units))
        if len(units) > 1:
            raise MemoryError
        return ascent(network, ground, units, *others)

    monkeypatch.setattr(jobs, "FacetAscent", scarce)
    part = jobs._UnitsAtOnce(jobs.ground_of(network, network.layers[-1]), [1, 2, 3])
    photos = jobs.Photos(excited.candidates(index).images)
    made = jobs._made(network, index, photos, part, PLAN, threading.Event())
    assert [one.unit for one in made] == [1, 2, 3] and tried == [3, 1, 2, 1, 1]


def test_ctrl_c_between_two_photos(tmp_path: Path, network: Network, index: Index) -> None:
    """The pool's stop ends a unit before its images are made."""
    stopped = threading.Event()
    stopped.set()
    ground = jobs.ground_of(network, network.layers[-1])
    photos = jobs.Photos(excited.candidates(index).images)
    with pytest.raises(CancelledError):
        jobs._made(network, index, photos, jobs._UnitsAtOnce(ground, [0]), PLAN, stopped)
