"""`deepvis invert`: the picture that each layer's code still tells of."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from deepvis.cli.options import Commands, add_network, add_recipe, count, load_network, path_argument, recipe_of
from deepvis.core import interrupt, paths
from deepvis.core.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from deepvis.networks.network import Network
    from deepvis.synthesis.decoder import Decoder
    from deepvis.synthesis.inversion import Code, Reconstruction
    from deepvis.synthesis.objectives import Objective
    from deepvis.synthesis.recipe import Recipe

STARTS = ("decoder", "noise")
AT_ONCE = 8  # layers whose decoders are learned in one run through the photos


def add(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser("invert", help="rebuild a picture from each layer's code")
    parser.add_argument("--image", type=path_argument, required=True, help="the picture")
    parser.add_argument("--layer", default="all", help="layers, with commas, or all (all)")
    parser.add_argument("--units", default="", help="of these units' part of the code alone: numbers, with commas")
    parser.add_argument("--times", type=count, default=1, metavar="N", help="reconstructions of each code (1)")
    parser.add_argument(
        "--start", choices=STARTS, help="where the ascent starts (the decoder's picture; with --times noise)"
    )
    parser.add_argument("--closed-form", action="store_true", help="the decoder's picture alone, without ascent")
    parser.add_argument(
        "--stronger", metavar="UNIT[=WEIGHT]", default="", help="with that unit stronger (5c:12, 5c:12=0.2)"
    )
    parser.add_argument(
        "--photos", type=path_argument, metavar="DIR", help="photos that decoders are learned from (those of the index)"
    )
    parser.add_argument("--stretch", action="store_true", help="stretch the picture to the input; else it is cropped")
    parser.add_argument(
        "--out", type=path_argument, required=True, help="picture to write, or a folder for a picture of each layer"
    )
    parser.set_defaults(run=_invert)
    add_recipe(parser)
    add_network(parser)


def _invert(args: argparse.Namespace) -> None:
    from deepvis.core.picture_files import check_suffix

    if args.out.suffix:
        check_suffix(args.out)
    recipe = recipe_of(args, "invert")
    network = load_network(args)
    from deepvis.inputs.decode import read_image
    from deepvis.synthesis.inversion import seen_picture

    picture = seen_picture(network.input, read_image(args.image), not args.stretch)
    rows: list[_Row] = []
    with interrupt.raised():
        try:
            rows.extend(_rows(args, network, recipe, picture))
        except KeyboardInterrupt:
            if rows:
                print(f"stopped after {len(rows)} layers, which are written", flush=True)
                _write(args.out, picture, rows)
            raise
        _write(args.out, picture, rows)
    print(f"saved {args.out}", flush=True)


@dataclass(frozen=True)
class _Row:
    """A layer's reconstructions, or why there are none."""

    layer: str
    made: Sequence[Reconstruction] = ()
    why: str = ""


def _rows(args: argparse.Namespace, network: Network, recipe: Recipe, picture: np.ndarray) -> Iterator[_Row]:
    from deepvis.scan.scan import layers_from

    layers = layers_from(network, args.layer)
    units = _units(args.units)
    start = args.start or ("noise" if args.times > 1 or (args.preset or "invert") != "invert" else "decoder")
    needs = args.closed_form or start == "decoder"
    decoders = _decoders(network, layers, args.photos) if needs else {}
    for layer in layers:
        try:
            row = _Row(layer, _made(args, network, layer, units, recipe, picture, decoders.get(layer)))
        except UserError as error:
            if len(layers) == 1:
                raise
            row = _Row(layer, why=str(error))
        print(_said(row, network, picture, units), flush=True)
        yield row


def _made(
    args: argparse.Namespace,
    network: Network,
    layer: str,
    units: tuple[int, ...],
    recipe: Recipe,
    picture: np.ndarray,
    decoder: Decoder | None,
) -> list[Reconstruction]:
    from tqdm import tqdm

    from deepvis.synthesis.inversion import Code, Inversion

    code = _checked(Code, network, layer, picture, units)
    start = code.decoded(decoder) if decoder is not None else None
    if args.closed_form:
        if start is None:
            raise UserError(
                f"layer {layer} has no closed-form decoder. Leave out --closed-form, or choose another layer"
            )
        return [code.judged(start)]
    also = _also(args.stronger, network, code)
    seeds = range(args.seed, args.seed + args.times)
    inversion = Inversion([code] * len(seeds), recipe, seeds, () if start is None else [start] * len(seeds), also)
    for _ in tqdm(range(recipe.steps), desc=layer, unit="step", leave=False):
        inversion.step()
    if bool(inversion.ascent.dead.all()):
        raise UserError(f"layer {layer}: no gradient reaches the picture, so that it cannot be inverted by ascent")
    return inversion.results()


def _checked(make: type[Code], network: Network, layer: str, picture: np.ndarray, units: tuple[int, ...]) -> Code:
    from deepvis.core.layers import find_layer

    most = network.layers[find_layer(layer, network.layers)].units
    if wrong := [unit for unit in units if unit >= most]:
        raise UserError(f"--units {wrong[0]}: layer {layer} has the units 0 to {most - 1}")
    return make(network, layer, picture, units)


def _also(text: str, network: Network, code: Code) -> Objective | None:
    """The objective of --stronger; None without it."""
    if not text:
        return None
    from deepvis.core.layers import parse_unit
    from deepvis.synthesis.inversion import accentuation

    name, equals, weight = text.rpartition("=") if "=" in text else (text, "", "0.1")
    try:
        strength = float(weight)
    except ValueError as error:
        raise UserError(f"--stronger {text!r}: expected UNIT or UNIT=WEIGHT, such as 5c:12=0.2") from error
    if not -100 <= strength <= 100:
        raise UserError(f"--stronger {text!r}: expected a weight of -100 to 100 (less than 0: weaker)")
    index, unit = parse_unit(name, network.layers)
    return accentuation(network, network.layers[index].name, unit, code, strength)


def _units(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if wrong := [part for part in parts if not part.isdecimal()]:
        raise UserError(f"--units {wrong[0]!r}: expected numbers of units with commas, such as 3,17")
    return tuple(int(part) for part in parts)


def _decoders(network: Network, layers: Sequence[str], photos: Path | None) -> dict[str, Decoder]:
    """The layers' decoders: the stored ones, and new ones, which are learned and stored."""
    from tqdm import tqdm

    from deepvis.synthesis.decoder import can_have_decoder, keep_decoder, learn, photos_for, stored_decoder

    root = paths.precomputed().own
    fitting = [layer for layer in layers if can_have_decoder(network, layer)]
    found = {} if photos else {name: made for name in fitting if (made := stored_decoder(network, name, root))}
    missing = [layer for layer in fitting if layer not in found]
    images = photos_for(network, photos) if missing else None
    for first in range(0, len(missing), AT_ONCE):
        part = missing[first : first + AT_ONCE]
        assert images is not None
        with tqdm(desc=f"decoders of {', '.join(part)}", unit="photo", leave=False) as bar:

            def progress(done: int, total: int, bar: tqdm[NoReturn] = bar) -> None:
                bar.total = total
                bar.update(done - bar.n)

            learned = learn(network, part, images, progress)
        found |= learned
        for made in learned.values() if photos is None else ():
            keep_decoder(network, made, root)
    return found


def _said(row: _Row, network: Network, picture: np.ndarray, units: tuple[int, ...]) -> str:
    if not row.made:
        return f"{row.layer}: {row.why}"
    from deepvis.synthesis.inversion import Code, differences

    pictures = [one.picture for one in row.made]
    errors, between = Code(network, row.layer, picture, units).exact_errors(pictures)
    each = ", ".join(f"{one.psnr:.1f} dB, code error {error:.4f}" for one, error in zip(row.made, errors))
    said = f"{row.layer}: {each}"
    if len(pictures) > 1:
        said += (
            f"; the pictures differ by {differences(pictures):.1f} of 255, their codes by {between.max():.4f} at most"
        )
    return said


def _write(out: Path, picture: np.ndarray, rows: Sequence[_Row]) -> None:
    import numpy as np

    from deepvis.core.picture_files import write
    from deepvis.render.figures import labelled

    made = [row for row in rows if row.made]
    if not made:
        raise UserError("no layer could be inverted: " + "; ".join(row.why for row in rows))
    if not out.suffix:
        for row in made:
            for i, one in enumerate(row.made):
                write(out / f"{row.layer}{f'-{i + 1}' if len(row.made) > 1 else ''}.png", one.picture[..., ::-1])
        return
    if len(made) == 1 and len(made[0].made) == 1:
        write(out, made[0].made[0].picture[..., ::-1])
        return
    times = len(made[0].made)
    wide = times + 1 if times > 1 else min(7, len(made) + 1)
    cells = [(picture, "the picture")] if times == 1 else []
    for row in made:
        cells += [(picture, "the picture")] if times > 1 else []
        cells += [(one.picture, f"{row.layer}  {one.psnr:.1f} dB, error {one.error:.3f}") for one in row.made]
    blank = np.zeros_like(picture)
    cells += [(blank, "")] * (-len(cells) % wide)
    lines = [cells[first : first + wide] for first in range(0, len(cells), wide)]
    pictures = [np.stack([image for image, _ in line]) for line in lines]
    write(out, labelled(pictures, [[title for _, title in line] for line in lines]))
