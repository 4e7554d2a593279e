"""Draws the pictures of docs/tour.md with the real renderer: python docs/build_tour.py [NAME …]

The page itself is written, too. ResNet-152, the vision transformer and the segmentation network have random weights
here, so that nothing has to be fetched: they show how such networks look in the window, not what they have learned.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import cv2

from deepvis.cli import main
from deepvis.interface.settings import Settings, WindowSettings

HERE = Path(__file__).resolve().parent
PHOTO = HERE.parent / "deepvis" / "photos" / "animal-horse-zebra.jpg"


@dataclass(frozen=True)
class Shot:
    """A picture of the tour: its file name, the options of `deepvis render`, and what it shows."""

    name: str
    options: tuple[str, ...]
    words: str


RANDOM = ("--weights", "none")
SHOTS = (
    Shot(
        "opening",
        ("--size", "1500x930"),
        (
            "What the window opens on: a middle layer, the unit that answers most to the picture, where in "
            "the picture that comes from (relevance), and the photos and the synthesized images that excite "
            "the unit most."
        ),
    ),
    Shot(
        "light",
        ("--size", "1280x720", "--keys", "theme=light heat=activation"),
        ("The light theme in a small window, with heat over the picture: where the unit is active (`\\`)."),
    ),
    Shot(
        "large",
        ("--size", "3840x2160", "--unit", "5c:7", "--keys", "content=top_images"),
        "A large screen: type grows with the window. Each unit's top image (`s`, or the tab).",
    ),
    Shot(
        "large-light",
        ("--size", "3840x2160", "--unit", "head:151", "--back", "guided", "--keys", "theme=light content=histograms"),
        "Histograms of 1,280 units over the bundled photos, in the light theme.",
    ),
    Shot(
        "strongest",
        ("--size", "1500x930", "--unit", "6c:0", "--back", "guided", "--keys", "content=strongest tab"),
        "The ten units that answer most (the tab “strongest”); the key tab walks through them.",
    ),
    Shot(
        "classes",
        ("--size", "1500x930", "--unit", "logits:zebra", "--back", "lrp", "--keys", "content=synthesized"),
        (
            "The images that the network makes for its classes, and relevance for the selected one, as LRP "
            "distributes it over the picture (the tab “synthesized”, `b`)."
        ),
    ),
    Shot(
        "true",
        ("--size", "1500x930", "--unit", "probs:zebra", "--back", "lrp", "--keys", "?"),
        "Which backward method is true for this picture: deletion and insertion curves of all methods (`?`).",
    ),
    Shot(
        "facets",
        ("--size", "1500x930", "--unit", "logits:738", "--keys", "^"),
        (
            "The different things that a unit answers to: its photos laid out by likeness, their clusters, "
            "and an image for each cluster (`^`)."
        ),
    ),
    Shot(
        "palette",
        ("--size", "1280x720", "--keys", "/ z e b r"),
        ("The command palette (`/`): a few letters find a command, layer, unit, class or file, with its key."),
    ),
    Shot(
        "correlation",
        ("--size", "1500x930", "--unit", "4c:20", "--keys", "theme=light content=correlation,_sorted"),
        "Which units are active on the same images, sorted so that alike ones are neighbours.",
    ),
    Shot(
        "projector",
        (
            "--size",
            "1920x1080",
            "--unit",
            "probs:zebra",
            "--back",
            "guided",
            "--keys",
            "layout=projector zoom=picture heat=backward",
        ),
        "The layout for a projector: large type, few panes.",
    ),
    Shot(
        "resnet152",
        ("--model", "torchvision:resnet152", *RANDOM, "--size", "1500x930"),
        "ResNet-152: its layers are a tree of the modules' names.",
    ),
    Shot(
        "vit",
        ("--model", "torchvision:vit_b_16", *RANDOM, "--size", "1500x930", "--keys", "theme=light"),
        "A vision transformer: tokens lie on their grid.",
    ),
)


def build(shot: Shot) -> None:
    """Draw one picture."""
    out = HERE / "tour" / f"{shot.name}.webp"
    out.parent.mkdir(exist_ok=True)
    status = main.main(["render", "--input", str(PHOTO), *shot.options, "--out", str(out)])
    if status:
        raise SystemExit(f"{shot.name}: deepvis render ended with status {status}")
    cv2.imwrite(str(out), cv2.imread(str(out)), [cv2.IMWRITE_WEBP_QUALITY, 80])  # a quarter of the size


def build_segmentation() -> None:
    """Draw the window on a module that is given from Python, as `deepvis.live(module)` shows it."""
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large

    from deepvis.app.offscreen import picture
    from deepvis.app.sources import first_state, sources
    from deepvis.networks import loading

    module = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None)
    window = WindowSettings(1280, 720, theme="dark")
    settings = Settings(input=str(PHOTO), model="LRASPP", window=window)
    camera, files, first = sources(settings)
    network = loading.from_module(module, "LRASPP")
    image = picture(settings, network, camera, files, first_state(settings, first))
    cv2.imwrite(str(HERE / "tour" / "segmentation.webp"), image, [cv2.IMWRITE_WEBP_QUALITY, 80])


def page() -> str:
    """The text of docs/tour.md."""
    parts = [f"![{shot.name}](tour/{shot.name}.webp)\n\n{shot.words}\n" for shot in SHOTS]
    return "\n".join(
        ["# A tour in pictures\n", "Made by `python docs/build_tour.py` with the real renderer.\n", *parts]
    )


if __name__ == "__main__":
    wanted = sys.argv[1:] or [shot.name for shot in SHOTS]
    for shot in SHOTS:
        if shot.name in wanted:
            build(shot)
    if not sys.argv[1:] or "segmentation" in sys.argv[1:]:
        build_segmentation()
    (HERE / "tour.md").write_text(page(), encoding="utf-8")
