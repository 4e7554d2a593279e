"""`deepvis live`: the toolbox in a window."""

from __future__ import annotations

import argparse
import os
import sys

from deepvis.app.sources import first_state, sources
from deepvis.cli.options import (
    Commands,
    add_input,
    add_network,
    add_unit,
    add_view,
    begun,
    consent_of,
    network_of,
    settings_of,
    view_of,
)
from deepvis.networks import trust


def add(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser("live", help="open the toolbox in a window (the default)")
    parser.set_defaults(run=_live)
    add_network(parser)
    add_input(parser)
    add_view(parser)
    add_unit(parser)


def _live(args: argparse.Namespace) -> None:
    from deepvis.display.window import DisplayProbe

    probe = DisplayProbe()
    from deepvis.app.toolbox import live
    from deepvis.inputs.feed import Feed
    from deepvis.workers.engine import Engine

    view, consent = view_of(args), consent_of(args)
    settings = settings_of(args, view)
    camera, files, first = sources(settings)
    trust.ask(settings.model, consent)  # asked here because the network is loaded in another thread
    start = begun(args, view, first_state(settings, first), files)
    engine, feed = Engine(lambda: network_of(settings, consent)), Feed(camera, files)
    if not live(settings, engine, feed, start, probe.check, view):
        sys.stdout.flush()
        os._exit(0)
