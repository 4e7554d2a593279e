"""`deepvis keys`: what the window receives when a key is pressed."""

from __future__ import annotations

import argparse

from deepvis.cli.options import Commands


def add(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser("keys", help="print the keys and codes that the window receives")
    parser.set_defaults(run=_keys)


def _keys(_args: argparse.Namespace) -> None:
    from deepvis.display.window import Close, DisplayProbe, Key, Window

    DisplayProbe().check()
    window = Window("deepvis keys", 480, 160)
    print("press keys in the window; q or the close button ends", flush=True)
    while True:
        for event in window.poll(20):
            if isinstance(event, Key):
                print(f"{event.name or '(no name)':12} code {event.code} = {event.code:#x}", flush=True)
            if isinstance(event, Close) or getattr(event, "name", None) == "q":
                window.close()
                return
