"""The user's own things go before those that come with the program, and are where the settings say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import platformdirs
import pytest

from deepvis.core import paths
from deepvis.core.errors import UserError
from deepvis.networks import loading
from deepvis.networks.trust import model_file
from deepvis.scan.index import INDEX, index_folder
from deepvis.scan.index_file import load, save


@pytest.fixture(autouse=True)
def as_usual_afterwards() -> Iterator[None]:
    yield
    paths.use(paths.USUAL)


def test_a_checkout_keeps_its_own_folders() -> None:
    assert not paths.IS_INSTALLED
    for places in (paths.models(), paths.precomputed()):
        assert places.own == places.bundled and places.bundled.is_dir()
    assert paths.recipes() == paths.ROOT / "recipes" and paths.PHOTOS.is_dir()


def test_an_installed_package_keeps_them_in_the_users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "IS_INSTALLED", True)
    monkeypatch.setattr(platformdirs, "user_data_path", lambda *of, **more: tmp_path.joinpath(*of))
    assert paths.models() == (tmp_path / "deepvis" / "models", paths.ROOT / "models")
    assert paths.precomputed().own == tmp_path / "deepvis" / "precomputed"
    assert paths.recipes() == tmp_path / "deepvis" / "recipes"
    paths.use("elsewhere")
    assert paths.recipes() == Path.cwd() / "elsewhere" / "recipes" and paths.models().bundled == paths.ROOT / "models"
    assert paths.usual_data() == tmp_path / "deepvis"  # the settings lie there, which say where the rest is


def test_ones_own_models_go_before_the_bundled_ones(tmp_path: Path) -> None:
    own = tmp_path / "models" / "efficientnet-lite0" / "model.yaml"
    own.parent.mkdir(parents=True)
    paths.use(str(tmp_path))
    assert model_file("efficientnet-lite0") == paths.ROOT / "models" / "efficientnet-lite0" / "model.yaml"
    own.write_text("source: timm:resnet18")
    assert model_file("efficientnet-lite0") == own
    assert model_file("caffenet") == paths.ROOT / "models" / "caffenet" / "model.yaml"


def test_the_weights_of_a_bundled_model_lie_with_ones_own(tmp_path: Path) -> None:
    """Where the bundled ones are nothing can be put."""
    paths.use(str(tmp_path))
    with pytest.raises(UserError, match="no weight file") as error:
        loading.load("caffenet")
    assert f"{tmp_path / 'models' / 'caffenet' / 'bvlc_reference_caffenet.caffemodel'}." in str(error.value)


def test_a_scan_of_ones_own_goes_before_the_bundled_one(tmp_path: Path) -> None:
    paths.use(str(tmp_path))
    places, model = paths.precomputed(), "efficientnet-lite0"
    bundled = index_folder(places, model)
    assert bundled == places.bundled / model / "bundled"
    index = load(bundled / INDEX)
    own = places.own / model / "scan"
    own.mkdir(parents=True)
    save(index, own / INDEX)  # of the same photos, which another place is no way from
    assert index_folder(places, model) == own and Path(load(own / INDEX).root) == paths.PHOTOS
    assert index_folder(places, "nobody") == places.own / "nobody" / "scan"
