"""`deepvis nearest`: the photos nearest to a picture, in pixels and in each layer's code."""

from __future__ import annotations

import argparse

from deepvis.cli.options import Commands, add_network, add_picture, count, load_network, path_argument
from deepvis.core import interrupt, paths


def add(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser("nearest", help="the photos nearest to a picture: does it only repeat one?")
    parser.add_argument("--image", type=path_argument, required=True, help="the picture, such as a synthesized one")
    parser.add_argument("--images", type=path_argument, metavar="DIR", help="the photos (the bundled ones)")
    parser.add_argument("--layers", default="", help="in whose codes, with commas (four along the network)")
    parser.add_argument("--count", type=count, default=6, help="photos of each row (6)")
    add_picture(parser)
    add_network(parser)
    parser.set_defaults(run=_nearest)


def _nearest(args: argparse.Namespace) -> None:
    from tqdm import tqdm

    from deepvis.core.picture_files import check_suffix, write
    from deepvis.inputs.datasets import find_images
    from deepvis.inputs.decode import read_image

    check_suffix(args.out)
    picture, images = read_image(args.image), find_images(args.images or paths.PHOTOS)
    network = load_network(args)
    from deepvis.render.figures import labelled, near_rows
    from deepvis.scan.nearest_photos import nearest
    from deepvis.scan.scan import layers_from

    layers = list(layers_from(network, args.layers)) if args.layers else _along([one.name for one in network.layers])
    with interrupt.raised(), tqdm(total=len(images.names), unit="photo") as bar:
        found, broken = nearest(network, picture, images, layers, args.count, lambda done: bar.update(done - bar.n))
    for name, near in found.items():
        words = ", ".join(f"{images.names[one.number]} {one.distance:.2f}" for one in near[:3])
        print(f"{name:10} {words}")
    for number, why in broken.items():
        print(f"left out: {images.names[number]}: {why}")
    photos = {name: [(images.read(one.number)[..., :3], one.distance) for one in near] for name, near in found.items()}
    write(args.out, labelled(*near_rows(picture, photos), least=128))
    print(f"saved {args.out}", flush=True)


def _along(names: list[str]) -> list[str]:
    """Four layers from the first to the last but one, whose scores are not of the picture alone."""
    last = max(0, len(names) - 2)
    return list(dict.fromkeys(names[round(i * last / 3)] for i in range(4)))
