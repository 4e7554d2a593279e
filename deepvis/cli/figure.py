"""`deepvis figure`: figures of the papers, made of your own network."""

from __future__ import annotations

from deepvis.cli.figures import (
    ascent_figures,
    between_units,
    facet_figures,
    priors,
    priors_compared,
    relevance,
    two_units,
)
from deepvis.cli.options import Commands

FIGURES = (relevance, priors_compared, facet_figures, ascent_figures, two_units, between_units, priors)
"""A module each, whose `add` puts the figure into the parser; `deepvis figure --help` lists them in this order."""


def add(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser("figure", help="draw a figure of one of the papers, of your own network")
    figures = parser.add_subparsers(required=True, metavar="FIGURE")
    for figure in FIGURES:
        figure.add(figures)
