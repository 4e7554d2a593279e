"""`deepvis dream`: what a layer sees in a picture or a video, stronger; an endless zoom."""

from __future__ import annotations

import argparse
import re
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepvis.cli.options import Commands, add_network, add_seed, count, load_network, path_argument
from deepvis.core import interrupt
from deepvis.core.errors import UserError
from deepvis.core.geometry import Box

if TYPE_CHECKING:
    from deepvis.networks.network import Network
    from deepvis.synthesis.dream import Dreamer, DreamPlan, Pull

LARGEST = 65535  # pixels on a side; larger pictures are reduced
RATE = 25.0  # frames per second of an endless zoom


def add(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser("dream", help="make what a layer sees in a picture stronger (DeepDream)")
    parser.add_argument("--image", type=path_argument, required=True, help="the picture, or a video")
    parser.add_argument("--layer", default="4c", help="layer, or a unit (4c:7), or several with commas for --zoom (4c)")
    parser.add_argument("--size", type=_size, metavar="WxH", help="size of the result (the picture's own)")
    parser.add_argument("--guide", type=path_argument, metavar="FILE", help="a picture whose features guide the dream")
    parser.add_argument(
        "--box", type=_box, metavar="L,T,W,H", help="guided by this box of --guide, or of the picture itself, in pixels"
    )
    parser.add_argument("--octaves", type=count, help="how many sizes (4)")
    parser.add_argument("--scale", type=float, help="of each size to the next (1.4)")
    parser.add_argument("--steps", help="at each size from the smallest, with commas (10,10,6,3)")
    parser.add_argument("--step", type=float, help="mean change of a value in a step (1.5)")
    parser.add_argument("--jitter", type=int, help="largest shift in pixels (32)")
    parser.add_argument("--notebook", action="store_true", help="the schedule of the original notebook")
    parser.add_argument("--tile", type=count, help="side of the parts that the network sees at once (by free memory)")
    parser.add_argument("--zoom", type=count, metavar="FRAMES", help="so many frames of an endless zoom, as a video")
    parser.add_argument("--zoom-by", type=float, default=0.05, metavar="SHARE", help="of the zoom, each frame (0.05)")
    parser.add_argument("--turn", type=float, default=0.0, metavar="DEGREES", help="of the zoom, each frame (0)")
    parser.add_argument("--drift", type=float, nargs=2, default=(0.0, 0.0), metavar=("X", "Y"), help="pixels a frame")
    parser.add_argument(
        "--each", type=count, default=50, metavar="FRAMES", help="of the zoom, for each layer or unit (50)"
    )
    parser.add_argument("--stretch", action="store_true", help="stretch the picture to --size; else it is cropped")
    add_seed(parser, "of the shifts (0)")
    parser.add_argument("--out", type=path_argument, required=True, help="picture to write; .mp4 or .avi for a video")
    parser.set_defaults(run=_dream)
    add_network(parser)


def _size(text: str) -> tuple[int, int]:
    """An argparse type: WxH -> (height, width)."""
    found = re.fullmatch(r"(\d{1,6})[x×](\d{1,6})", text)
    if not found or not int(found[1]) or not int(found[2]):
        raise argparse.ArgumentTypeError(f"{text!r}: expected WIDTHxHEIGHT in pixels, such as 1100x622")
    return int(found[2]), int(found[1])


def _box(text: str) -> Box:
    """An argparse type: left, top, width and height in pixels."""
    parts = text.split(",")
    if len(parts) != 4 or not all(part.isdecimal() for part in parts) or not int(parts[2]) or not int(parts[3]):
        raise argparse.ArgumentTypeError(f"{text!r}: expected left,top,width,height in pixels, such as 120,40,96,96")
    left, top, width, height = (int(part) for part in parts)
    return left, top, width, height


def _dream(args: argparse.Namespace) -> None:
    from deepvis.core.picture_files import check_suffix
    from deepvis.inputs.decode import VIDEO_SUFFIXES

    _check_zoom(args)
    if args.out.exists() and args.image.exists() and args.out.samefile(args.image):
        raise UserError(f"--out {args.out}: it is the picture or video that is dreamed of. Give another file")
    is_video = args.image.suffix.lower() in VIDEO_SUFFIXES
    if not (is_video or args.zoom):
        check_suffix(args.out)
    network = load_network(args)
    dreamer, pulls = _dreamer(args, network)
    with interrupt.raised():
        if is_video:
            _video(args, dreamer)
        elif args.zoom:
            _zoom(args, dreamer, pulls)
        else:
            _picture(args, dreamer)
    print(f"saved {args.out}", flush=True)


def _check_zoom(args: argparse.Namespace) -> None:
    """Refuse a zoom in which pictures would fall apart. Raises UserError."""
    right, down = args.drift
    for name, value, low, high in (
        ("--zoom-by", args.zoom_by, -0.5, 1),
        ("--turn", args.turn, -180, 180),
        ("--drift", right, -1000, 1000),
        ("--drift", down, -1000, 1000),
    ):
        if not low <= value <= high:  # also if it is no number
            raise UserError(f"{name} {value:g}: expected {low:g} to {high:g} for each frame")


def _dreamer(args: argparse.Namespace, network: Network) -> tuple[Dreamer, list[Pull]]:
    """The dreamer of the first layer, and what an endless zoom walks through (units of that layer)."""
    from deepvis.core.layers import parse_unit
    from deepvis.synthesis.dream import Dreamer, guided_by, of_layer, of_unit

    pulls: list[Pull] = []
    names: list[str] = []
    for text in filter(None, (part.strip() for part in args.layer.split(","))):
        index, unit = parse_unit(text, network.layers, layer_alone=True)
        names.append(network.layers[index].name)
        pulls.append(of_unit(unit) if ":" in text and text not in names else of_layer)
    if not pulls or len(set(names)) != 1:
        raise UserError(
            f"--layer {args.layer!r}: expected a layer such as 4c, or units of one layer such as 4c:7,4c:12"
        )
    dreamer = Dreamer(network, names[0], pulls[0], _margin(network, names[0]))
    if args.guide is not None or args.box is not None:
        if len(pulls) > 1 or pulls[0] is not of_layer:
            raise UserError(f"--layer {args.layer!r}: expected one layer, such as 4c, with --guide or --box")
        dreamer.pull = guided_by(dreamer, *_guide(args))
    return dreamer, pulls if len(pulls) > 1 else []


def _guide(args: argparse.Namespace) -> tuple[np.ndarray, Box | None]:
    """The picture that guides, and the box of it."""
    picture = _read(args, args.guide or args.image, None)
    if args.box is not None:
        left, top, width, height = args.box
        if left + width > picture.shape[1] or top + height > picture.shape[0]:
            raise UserError(
                f"--box {left},{top},{width},{height}: expected a box inside the picture of "
                f"{picture.shape[1]}×{picture.shape[0]} pixels"
            )
    return picture, args.box


def _margin(network: Network, layer: str) -> int:
    """The margin of tiles: the receptive field, but at most MOST_MARGIN: what lies further away counts little."""
    from deepvis.synthesis.dream import MOST_MARGIN

    field = network.receptive_field(layer)
    return min(MOST_MARGIN, max(field.height, field.width))


def _plan(args: argparse.Namespace, dreamer: Dreamer, size: tuple[int, int]) -> DreamPlan:
    from deepvis.synthesis.dream import NOTEBOOK, DreamPlan, tile_for
    from deepvis.synthesis.moving_dreams import ZOOM_PLAN

    plan = NOTEBOOK if args.notebook else ZOOM_PLAN if args.zoom else DreamPlan()
    given = {
        name: getattr(args, name) for name in ("octaves", "scale", "step", "jitter") if getattr(args, name) is not None
    }
    plan = replace(plan, seed=args.seed, **given)
    if args.steps:
        parts = args.steps.split(",")
        if not all(part.strip().isdecimal() and int(part) for part in parts):
            raise UserError(f"--steps {args.steps!r}: expected numbers of steps from 1, such as 10,10,6,3")
        plan = replace(plan, iterations=tuple(int(part) for part in parts))
    if not 1 < plan.scale <= 16:
        raise UserError(f"--scale {plan.scale:g}: expected more than 1, up to 16")
    if not 0 < plan.step <= 255:
        raise UserError(f"--step {plan.step:g}: expected more than 0, up to 255 gray levels")
    if plan.jitter < 0:
        raise UserError(f"--jitter {plan.jitter}: expected 0 or more pixels")
    tile = args.tile or tile_for(dreamer.network)
    return replace(plan, tile=tile if tile and max(size) > tile + dreamer.margin else 0)


def _read(args: argparse.Namespace, path: Path, size: tuple[int, int] | None) -> np.ndarray:
    from deepvis.core.geometry import fit
    from deepvis.inputs.decode import read_image

    picture = read_image(path, LARGEST)
    return np.ascontiguousarray(picture if size is None else fit(picture, size[1], size[0], not args.stretch))


def _picture(args: argparse.Namespace, dreamer: Dreamer) -> None:
    from tqdm import tqdm

    from deepvis.core.picture_files import write
    from deepvis.synthesis.dream import as_bytes, dream

    picture = _read(args, args.image, args.size)
    plan, note, now = _plan(args, dreamer, picture.shape[:2]), "", None
    with tqdm(desc=f"dream of {dreamer.layer}", unit="step") as bar:
        for now in dream(dreamer, picture, plan):
            bar.total = now.total
            bar.update()
            if now.note != note:
                note = now.note
                tqdm.write(note)
    if now is None or not now.moved:
        raise UserError(f"layer {dreamer.layer}: no gradient reaches the picture, so that there is nothing to dream")
    write(args.out, as_bytes(now.picture)[..., ::-1])


def _zoom(args: argparse.Namespace, dreamer: Dreamer, pulls: list[Pull]) -> None:
    from tqdm import tqdm

    from deepvis.display.film import Film
    from deepvis.synthesis.dream import as_bytes
    from deepvis.synthesis.moving_dreams import Zoom, endless

    picture = _read(args, args.image, args.size)
    zoom = Zoom(args.zoom_by, args.turn, tuple(args.drift))
    frames = endless(dreamer, picture, zoom, _plan(args, dreamer, picture.shape[:2]), pulls, args.each)
    with Film(args.out, RATE) as film:
        for frame in tqdm(islice(frames, args.zoom), total=args.zoom, unit="frame"):
            film.add(as_bytes(frame.picture))


def _video(args: argparse.Namespace, dreamer: Dreamer) -> None:
    from tqdm import tqdm

    from deepvis.core.geometry import fit
    from deepvis.display.film import Film
    from deepvis.inputs.decode import VideoFile
    from deepvis.synthesis.moving_dreams import LiveDream

    video, live = VideoFile(args.image), LiveDream(dreamer)
    try:
        with Film(args.out, video.rate) as film, tqdm(total=video.expected or None, unit="frame") as bar:
            while (frame := video.read()) is not None:
                if args.size:
                    frame = np.ascontiguousarray(fit(frame, args.size[1], args.size[0], not args.stretch))
                film.add(live.next(frame))
                bar.update()
    finally:
        video.close()
    if not film.frames:
        raise UserError(f"{args.image}: no frame of it can be read; expected an undamaged video")
