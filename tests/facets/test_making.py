"""Codes, patches, mean images and starts against loops; what the map says of its clusters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from smallnets import layer, small

from deepvis.core.errors import UserError
from deepvis.facets import growing, making
from deepvis.facets.aims import Clusters, facet_objective, halfway_to, on_canvas
from deepvis.facets.codes import code_layer, look, named
from deepvis.facets.facet_map import FacetMap
from deepvis.facets.growing import FacetAscent
from deepvis.inputs.datasets import Photos, find_images
from deepvis.networks.network import Network
from deepvis.synthesis.ascent import canvas_size
from deepvis.synthesis.parameterizations import color_mix
from deepvis.synthesis.presets import recipe
from deepvis.synthesis.recipe import Recipe
from deepvis.synthesis.targets import SynthesisCanvas

Place = tuple[int, int]


@pytest.fixture(scope="module")
def network() -> Network:
    return small()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Photos:
    """Pictures of the network's own size, so that a patch is simply cut out."""
    folder, draw = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for number in range(14):
        image = cv2.resize(draw.integers(0, 255, (6, 6, 3), np.uint8), (32, 32), interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(folder / f"{number:02d}.png"), image)
    return Photos(find_images(folder))


def activations(network: Network, photo: np.ndarray, name: str) -> np.ndarray:
    """By a plain forward pass, layer by layer."""
    x, net = network.see(photo, crop=True), network.module
    found = {}
    with torch.no_grad():
        x = found["conv1"] = net.conv1(x)
        x = found["conv2"] = net.conv2(x.relu())
        x = found["conv3"] = net.conv3(x.relu())
        found["fc"] = net.fc(x.relu().mean((2, 3)))
    return found[name][0].numpy()


def test_a_maps_code_is_the_column_at_its_maximum(network: Network, photos: Photos) -> None:
    """In the loop: the largest value and its place; there the features of all channels."""
    one, unit = layer(network, "conv3"), 2
    for number in range(3):
        photo = photos.read(number)
        maps = activations(network, photo, "conv3")
        best = max((maps[unit, r, c], -r, -c) for r in range(maps.shape[1]) for c in range(maps.shape[2]))
        (seen,) = look(network, [photo], one, unit, code_layer(network, one), [None])
        assert (seen.row, seen.column) == (-best[1], -best[2]) and seen.value == pytest.approx(best[0], abs=1e-5)
        np.testing.assert_allclose(seen.code, [maps[c, seen.row, seen.column] for c in range(7)], atol=1e-5)
        (other,) = look(network, [photo], one, unit, layer(network, "conv1"), [(3, 5)])  # of twice the size
        np.testing.assert_allclose(other.code, activations(network, photo, "conv1")[:, 6, 10], atol=1e-5)


def test_a_classes_code_is_the_layer_before(network: Network, photos: Photos) -> None:
    fc, photo = layer(network, "fc"), photos.read(1)
    code = code_layer(network, fc)
    assert code.name == network.layers[[one.name for one in network.layers].index("fc") - 1].name
    (seen,) = look(network, [photo], fc, 4, layer(network, "conv3"), [None])
    np.testing.assert_allclose(seen.code, activations(network, photo, "conv3").mean((1, 2)), atol=1e-5)
    scores = activations(network, photo, "fc")
    assert seen.value == pytest.approx(scores[4], abs=1e-5) and seen.called == f"class-{scores.argmax()}"


def test_names_have_probabilities(network: Network) -> None:
    scores = torch.tensor([[0.0] * 9 + [np.log(3.0)]])
    assert named(network, scores, 1) == [(("class-9", 0.25),)]
    already = torch.full((1, 10), 0.05)
    already[0, 3] = 0.55
    assert named(network, already, 2)[0][0] == ("class-3", 0.55)
    assert named(network, torch.zeros(1, 3), 1) == []  # no names for these


def laid_out(network: Network, photos: Photos, name: str, unit: int) -> making.Points:
    return making.points(network, making.ground_of(network, layer(network, name)), photos, unit, None)


def test_patches_are_the_receptive_fields(network: Network, photos: Photos) -> None:
    """Cut by a loop over pixels; gray outside of the picture."""
    made = laid_out(network, photos, "conv2", 1)
    field = network.receptive_field("conv2")
    values = [member.value for member in made.members]
    assert len(made.members) == 14 and values == sorted(values, reverse=True)
    for member, patch in zip(made.members, made.patches):
        image = photos.read(photos.images.names.index(member.name))
        left, top, width, height = field.box(member.row, member.column)
        for y in range(height):
            for x in range(width):
                is_in = 0 <= top + y < 32 and 0 <= left + x < 32
                if is_in:
                    assert patch[y, x].tolist() == image[top + y, left + x].tolist()
                else:
                    assert patch[y, x].std() == 0


def test_the_map_says_what_its_clusters_are(network: Network, photos: Photos) -> None:
    made = laid_out(network, photos, "fc", 3)
    found = making.facet_map(made, 3)
    sizes = [facet.size for facet in found.facets]
    assert sizes == sorted(sizes, reverse=True) and sum(sizes) == 14 and found.code == made.code
    for number, facet in enumerate(found.facets):
        own = [i for i, member in enumerate(found.members) if member.cluster == number]
        assert len(own) == facet.size and set(facet.nearest) <= set(own)
        mean = sum(made.patches[i].astype(np.float64) for i in facet.nearest) / len(facet.nearest)
        np.testing.assert_array_equal(facet.mean, np.round(mean).astype(np.uint8))
        most = Counter(found.members[i].called for i in own).most_common(1)[0]
        assert facet.photos_called[0] == (most[0], pytest.approx(most[1] / len(own), abs=1e-4))
    assert len(making.facet_map(made).facets) == found.suggested
    with pytest.raises(UserError, match="15 facets of 14 photos"):
        making.facet_map(made, 15)


@pytest.mark.parametrize(("name", "preset"), [("fc", "facet"), ("conv2", "facet"), ("fc", "mfv")])
def test_the_start_is_the_mean_image_where_the_unit_sees_it(
    network: Network, photos: Photos, name: str, preset: str
) -> None:
    ground = making.ground_of(network, layer(network, name))
    made = laid_out(network, photos, name, 1)
    found = making.facet_map(made, 2)
    one = recipe(preset, {"steps": 4})
    means = [facet.mean for facet in found.facets]
    start = on_canvas(means, ground.place, canvas_size(one, ground.place.size), 3)
    edge = (start.shape[2] - ground.place.size[0]) // 2
    left, top, width, height = ground.place.field or (0, 0, 32, 32)
    seen = start[:, :, edge + top :, edge + left :][:, :, :height, :width]
    np.testing.assert_array_equal(seen.permute(0, 2, 3, 1).numpy(), np.stack(means))
    (done,) = grown(network, ground, [Clusters(made, found)], one)
    assert [facet.image.shape for facet in done.facets] == [mean.shape for mean in means]
    assert _scores(done) == _scores(grown(network, ground, [Clusters(made, found)], one)[0])
    assert done.facets[0].called and done.facets[0].mean_score != 0


def test_where_the_network_takes_no_smaller_input_the_image_is_what_the_unit_sees(
    network: Network, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a vision transformer: the canvas is the whole input, and the unit's receptive field is cut out."""
    one = layer(network, "conv2")
    monkeypatch.setattr(making, "canvas", lambda *_: SynthesisCanvas((32, 32), (one.height // 2, one.width // 2)))
    ground = making.ground_of(network, one)
    field = network.receptive_field("conv2")
    assert ground.place.position is not None and ground.place.field == field.box(*ground.place.position)
    made = laid_out(network, photos, "conv2", 1)
    (done,) = grown(network, ground, [Clusters(made, making.facet_map(made, 2))], recipe("facet", {"steps": 3}))
    for facet in done.facets:
        assert facet.image is not None and facet.image.shape == facet.mean.shape == (field.height, field.width, 3)
    monkeypatch.setattr(making, "field_box", lambda *_: (-1, 0, 32, 32))  # at every place beyond the input's edge
    assert making.ground_of(network, one).field is None


def test_a_facet_is_far_from_its_start(network: Network, photos: Photos) -> None:
    """The image changes by more than a third of what lies between the photos and the mean image."""
    ground = making.ground_of(network, layer(network, "fc"))
    made = laid_out(network, photos, "fc", 1)
    units = [Clusters(made, making.facet_map(made, 2))]
    (done,) = grown(network, ground, units, recipe("facet"))
    for facet in done.facets:
        mean = facet.mean.astype(float)
        photo = np.mean([np.abs(made.patches[i] - mean).mean() for i in facet.nearest])
        assert np.abs(facet.image - mean).mean() > photo / 3


def grown(network: Network, ground: making.Ground, units: list[Clusters], one: Recipe) -> list[FacetMap]:
    ascent = FacetAscent(network, ground, units, one)
    for _ in range(one.steps):
        ascent.step()
    return ascent.now(final=True)


def _scores(found: FacetMap) -> Sequence[float]:
    return [facet.score for facet in found.facets]


def test_the_mean_is_of_what_lies_in_the_photos(network: Network, photos: Photos) -> None:
    """By a loop over pixels: gray beyond a photo's edge does not count."""
    made = laid_out(network, photos, "conv2", 1)
    field = network.receptive_field("conv2")
    mean = making.mean_image(made.patches[:3], made.covers[:3])
    for y in range(mean.shape[0]):
        for x in range(mean.shape[1]):
            seen = []
            for member, patch in zip(made.members[:3], made.patches):
                left, top, _, _ = field.box(member.row, member.column)
                if 0 <= left + x < 32 and 0 <= top + y < 32:
                    seen.append(patch[y, x].astype(float))
            if seen:
                np.testing.assert_allclose(mean[y, x], np.mean(seen, axis=0), atol=0.51)
    patch = np.zeros((2, 2, 3), np.uint8)
    patch[0] = 90
    corner = making.mean_image([patch], [(0, 0, 2, 1)])
    assert (corner == 90).all()


def test_photos_that_cannot_be_read(network: Network, photos: Photos, tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / f"{number}.png").write_bytes(b"")
    ground = making.ground_of(network, layer(network, "fc"))
    with pytest.raises(UserError, match=r"0 of 6 photos can be read.*in now: deepvis scan --images DIR"):
        making.points(network, ground, Photos(find_images(tmp_path)), 1, None)


def test_too_few_photos(network: Network, photos: Photos) -> None:
    few = Photos(replace(photos.images, names=photos.images.names[:3]))
    with pytest.raises(UserError, match="3 photos; facets need 4 or more.*deepvis facets --units fc:1 --images DIR"):
        making.points(network, making.ground_of(network, layer(network, "fc")), few, 1, None)


# ---- what the images climb -----------------------------------------------------------------------


def codes_of(network: Network, ground: making.Ground, made: making.Points, name: str, at: Place | None) -> np.ndarray:
    """Of each patch by a plain pass, of length 1: at a place of the layer, or its mean."""
    height, width = ground.place.size
    left, top, w, h = ground.place.field or (0, 0, width, height)
    codes = []
    for patch in made.patches:
        canvas = np.pad(patch, ((top, height - top - h), (left, width - left - w), (0, 0)), mode="symmetric")
        x = torch.from_numpy(network.input.normalised(canvas)).permute(2, 0, 1)[None]
        found = network.up_to(name, x)[0].detach()
        code = found if found.ndim == 1 else found.flatten(1).mean(1) if at is None else found[:, at[0], at[1]]
        codes.append((code / code.norm()).numpy())
    return np.stack(codes)


@pytest.mark.parametrize(("name", "unit"), [("fc", 3), ("conv3", 2)])
def test_a_facet_climbs_towards_its_own_photos(network: Network, photos: Photos, name: str, unit: int) -> None:
    """The terms of the objective by loops over images, clusters and positions."""
    ground = making.ground_of(network, layer(network, name))
    made = laid_out(network, photos, name, unit)
    found = making.facet_map(made, 3)
    one = recipe("facet", {"cluster": 2.0, "texture": 0.5, "unlike": 3.0})
    other = laid_out(network, photos, name, 1)
    units = [Clusters(made, found), Clusters(other, making.facet_map(other, 2))]
    aim = facet_objective(network, ground, units, one)
    code, halfway = found.code, halfway_to(network, ground)
    x = torch.rand(5, 3, *ground.place.size, generator=torch.Generator().manual_seed(0)) - 0.5
    activations = {layer: network.up_to(layer, x).detach() for layer in aim.layers}
    values = aim(activations).numpy()
    position = ground.place.position
    of_code, of_half = (activations[one].numpy() for one in (code, halfway))
    strength = np.std([member.value for member in found.members])
    unit_norm = lambda v, axis=None: v / np.linalg.norm(v, axis=axis, keepdims=axis is not None)
    for i in range(3):
        own = activations[name][i, unit]
        expected = float(own if position is None else own[position])
        for weight, name_, features, at in ((2.0, code, of_code, position), (0.5, halfway, of_half, None)):
            codes = codes_of(network, ground, made, name_, at)
            means = [codes[[m.cluster == c for m in found.members]].mean(0) for c in range(3)]
            direction = unit_norm(means[i] - np.mean([means[j] for j in range(3) if j != i], axis=0))
            image = features[i].reshape(len(features[i]), -1).mean(1) if at is None else features[i][:, at[0], at[1]]
            expected += weight * strength * float(unit_norm(image) @ direction)
        alike = [np.mean([(unit_norm(of_half[i], 0) * unit_norm(of_half[j], 0)).sum(0)]) for j in range(3) if j != i]
        expected -= 3.0 * strength * float(np.mean(alike))
        assert values[i] == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_units_that_grow_together_grow_as_alone(network: Network, photos: Photos) -> None:
    ground = making.ground_of(network, layer(network, "fc"))
    one = recipe("facet", {"steps": 3, "cluster": 1.0, "unlike": 1.0})
    units = []
    for number, k in ((1, 2), (4, 3)):
        made = laid_out(network, photos, "fc", number)
        units.append(Clusters(made, making.facet_map(made, k)))
    both = grown(network, ground, units, one)
    for found, alone in zip(both, units):
        (same,) = grown(network, ground, [alone], one)
        assert found.unit == same.unit == alone.found.unit and len(found.facets) == len(same.facets)
        assert _scores(found) == pytest.approx(_scores(same), rel=1e-3)
        for facet, again in zip(found.facets, same.facets):
            assert np.abs(facet.image.astype(int) - again.image).max() <= 2


def test_held_magnitudes_are_those_of_the_clusters_own_photos(network: Network, photos: Photos) -> None:
    """Of photos of the canvas's own size: the root mean square over the cluster, each coefficient by itself."""
    ground = making.ground_of(network, layer(network, "fc"))
    made = laid_out(network, photos, "fc", 3)
    units = [Clusters(made, making.facet_map(made, 3))]
    spectra = growing._spectra(units, 3, (32, 32)).numpy()
    to_planes = np.linalg.inv(color_mix(torch.ones(1))[0].numpy())
    for number, spectrum in enumerate(spectra):
        own = [p for p, m in zip(made.patches, units[0].found.members) if m.cluster == number]
        planes = [np.einsum("kc,hwc->khw", to_planes, patch.astype(float)) for patch in own]
        expected = np.sqrt(np.mean([np.abs(np.fft.rfft2(one)) ** 2 for one in planes], axis=0))
        expected[:, 0, 0] = 0
        np.testing.assert_allclose(spectrum[:, :17], expected[:, :17], rtol=1e-3, atol=1)  # the others are mirrored
    (done,) = grown(network, ground, units, recipe("facet", {"parameterization": "maco", "steps": 3}))
    assert done.facets[0].image is not None and done.facets[0].image.std() > 10
