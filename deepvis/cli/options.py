"""What the commands have in common: options, and what is made of them: settings, a network, a recipe."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from deepvis.attribution.methods import take_in
from deepvis.core import paths
from deepvis.core.errors import UserError
from deepvis.core.processes import environment_number
from deepvis.display import key_codes
from deepvis.interface import commands
from deepvis.interface.settings import Settings, naming_options
from deepvis.interface.settings import load as load_settings
from deepvis.networks import trust
from deepvis.synthesis.presets import PRESETS

MOST_GAMMA = 100.0  # larger ones leave nothing of the units but their difference

if TYPE_CHECKING:
    from deepvis.interface.saved_view import SavedView
    from deepvis.interface.state import State
    from deepvis.networks.network import Network
    from deepvis.synthesis.recipe import Recipe

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""What a command is added to."""

# Settings that commands have options for.
_OVERRIDES = ("model", "weights", "input", "device", "precision", "data", "unit")


def add_network(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose a network and where it runs; `load_network` reads them."""
    parser.add_argument("--settings", type=path_argument, help="settings file (settings.yaml)")
    parser.add_argument(
        "--data",
        metavar="DIR",
        help="folder of your own models, recipes, scans and images (the checkout, or else your account's data folder)",
    )
    parser.add_argument("--model", help="folder in models/, a model.yaml, or a source such as torchvision:resnet18")
    parser.add_argument("--weights", help="auto, none (random), a name such as DEFAULT or IMAGENET1K_V1, or a file")
    parser.add_argument("--device", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument("--precision", help="float32, bfloat16, float16")
    parser.add_argument(
        "--trust", action="store_true", help="trust the Python code in the model's folder, now and until it changes"
    )


def add_input(parser: argparse.ArgumentParser) -> None:
    """Add the option that chooses what the network sees."""
    parser.add_argument("--input", help="camera, camera index, video, stream address, folder, list file, image, photos")


def add_view(parser: argparse.ArgumentParser) -> None:
    """Add the option that opens a view again; `view_of` reads it."""
    parser.add_argument(
        "--view", metavar="FILE|LINK", help="open this view: a file that the key + saved, or a link of the key &"
    )


def view_of(args: argparse.Namespace) -> SavedView | None:
    """The view that the options name, or None. Raises UserError."""
    from deepvis.interface.saved_view import read_view

    if args.view is None:
        return None
    of_file = load_settings(args.settings, commands=commands.COMMANDS, key_names=key_codes.NAMES)
    take_in(of_file.composites)  # the view may show such a method
    return read_view(args.view)


def begun(args: argparse.Namespace, view: SavedView | None, state: State, files: Path) -> State:
    """The state that the window begins with: what the view says of it in place of the usual. Raises UserError."""
    from deepvis.app import views

    return state if view is None else views.begun(view, state, files, args.input)


def add_unit(parser: argparse.ArgumentParser) -> None:
    """Add the option that chooses the unit that is selected first."""
    parser.add_argument("--unit", help="the selected unit: layer:number or layer:class (head:151), or auto")


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose how images are synthesized; `recipe_of` reads them."""
    parser.add_argument("--preset", help=f"{', '.join(PRESETS)}, the name of a saved recipe, or a recipe file")
    parser.add_argument(
        "--set",
        nargs="*",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="parameters other than the preset's, such as --set steps=64 rate=0.2",
    )
    add_seed(parser)


def add_seed(parser: argparse.ArgumentParser, words: str = "(0)") -> None:
    """Add the seed of what is random."""
    parser.add_argument("--seed", type=_seed, default=0, help=words)


def add_picture(parser: argparse.ArgumentParser) -> None:
    """Add the name of the picture that the command draws."""
    parser.add_argument("--out", type=path_argument, required=True, help="picture to write")


def add_synthesized_figure(parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], None]) -> None:
    """Add what the figures of synthesized images have in common: the picture, the recipe and the network."""
    add_picture(parser)
    add_recipe(parser)
    add_network(parser)
    parser.set_defaults(run=run)


def load_network(args: argparse.Namespace) -> Network:
    """The network that the options and the settings name, on a device of this process's own. Raises UserError."""
    found, consent = settings_of(args), consent_of(args)
    trust.ask(found.model, consent)
    if found.device == "auto" or found.device == "cuda" and "LOCAL_RANK" in os.environ:
        found = replace(found, device=_own_device(found.device))
    return network_of(found, consent)


def asked_network(settings: Settings, consent: trust.Consent) -> Network:
    """The settings' network, after the user was asked about its code where that must be. Raises UserError."""
    trust.ask(settings.model, consent)
    return network_of(settings, consent)


def network_of(settings: Settings, consent: trust.Consent) -> Network:
    """The settings' network; of code that has to be trusted, and is not yet, nothing is run. Raises UserError."""
    from deepvis.networks import loading

    network = loading.load(settings.model, settings.device, settings.precision, settings.weights, consent=consent)
    return replace(network, options=naming_options(settings))


def recipe_of(args: argparse.Namespace, default: str) -> Recipe:
    """The recipe that the options name, or the preset `default`, with their changes. Raises UserError."""
    from deepvis.synthesis.presets import named

    changes: dict[str, object] = {}
    for pair in args.set:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UserError(f"--set {pair!r}: expected NAME=VALUE, such as steps=128")
        if name == "phases":
            raise UserError(
                f"--set {pair!r}: phases do not fit into a word: write them into a recipe file (--preset FILE)"
            )
        changes[name] = value
    return named(default if args.preset is None else args.preset, changes)


def settings_of(args: argparse.Namespace, view: SavedView | None = None) -> Settings:
    """The settings file with the view's values and the command's options in place of its values. Raises UserError.

    The file's name is printed on stderr (see `settings.load`). From now on the user's data folder is the one that the
    settings name.
    """
    overrides = {name: getattr(args, name, None) for name in _OVERRIDES}
    if view is not None:
        from deepvis.app import views

        overrides |= views.overrides(view, args.model, args.input)
    found = load_settings(args.settings, overrides, commands=commands.COMMANDS, key_names=key_codes.NAMES, say=_say)
    paths.use(found.data)
    take_in(found.composites)
    return found


def _say(line: str) -> None:
    print(f"deepvis: {line}", file=sys.stderr, flush=True)


def consent_of(args: argparse.Namespace) -> trust.Consent:
    """The consent to run the model's code that the command's options express."""
    return trust.Consent(typed=args.model is not None, trust=args.trust)


def _own_device(device: str) -> str:
    """The GPU of this process: under torchrun each process of a machine takes its own. `device`: auto or cuda."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        return "cpu" if device == "auto" else device  # loading on "cuda" will say that there is no GPU
    return f"cuda:{(environment_number('LOCAL_RANK') or 0) % count}"


def path_argument(text: str) -> Path:
    """An argparse type: a path. Refuses an empty text (an unset shell variable), which means the current folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty; expected a path (. is the current folder)")
    return Path(text)


def count(text: str) -> int:
    """An argparse type: a whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 1")
    return int(text)


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) > 10**9:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 0 to 1000000000")
    return int(text)


def check_gamma(gamma: float) -> None:
    """Raise UserError if γ, how much neither of two units may run ahead of the other, makes no image."""
    if not 0 <= gamma <= MOST_GAMMA:
        raise UserError(f"--gamma {gamma:g}: expected 0 to {MOST_GAMMA:g}, such as 0.5")
