"""Make deepvis/photos, the bundled photo set, from unpacked Debian packages.

    python docs/build_photos.py --out deepvis/photos \
        --common-licences COMMON_LICENSES_FOLDER PACKAGE_FOLDER...

Each PACKAGE_FOLDER holds one unpacked package (`apt-get download NAME`, then
`dpkg -x NAME*.deb FOLDER/NAME`) and bears the package's name.  The folder of
common licences is Debian's (package base-files).

What is taken is listed in build_photos.tsv, next to this file, one picture a
line: kind, package, source, file, author, licence, origin.  There are two kinds:

  cutout  a photograph cut out with an alpha channel (a Tux Paint stamp): it is
          composed on a plain neutral ground, lighter or darker than itself
  photo   a whole photograph: it is made smaller, nothing is cut away

A source is a path in the package; `A.rcc!/B` is the file /B inside the Qt
resource bundle A.rcc.  All files of the output folder that belong to the set
(*.jpg, CREDITS.md, licences/*.txt) are written anew and stale ones removed.
Needs Pillow (with WebP), OpenCV and numpy.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import re
import struct
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

TABLE = Path(__file__).with_suffix(".tsv")

SIDE = 384  # of a composed cut-out, pixels
MARGIN = 0.08  # of SIDE, on each side
MAX_ENLARGEMENT = 1.5
CUTOUT_QUALITY = 88
SHORTER_SIDE = 480  # of a whole photograph, pixels; smaller ones are kept as they are
PHOTO_QUALITY = 85

# The ground's gray level for an object by its lightness (see lightness_of): the first
# line whose bound is not below it.  Light objects get a darker ground.
GROUNDS: tuple[tuple[float, float], ...] = ((150.0, 224.0), (180.0, 231.0), (200.0, 150.0), (255.0, 160.0))
# Tints of the ground (added to red, green, blue), one picked by the file's name.
TINTS: tuple[tuple[float, float, float], ...] = (
    (0.0, 0.0, 0.0),
    (1.5, 0.0, -2.0),
    (-1.5, 0.0, 2.0),
    (4.0, 4.0, 4.0),
    (-5.0, -5.0, -5.0),
)
LIGHT_PART = 65.0  # the percentile of an object's gray levels that tells how light it is
SPECK = 0.002  # of the object's area: smaller detached bits are stray and left out
SMALLEST = 105  # the longer side that a cut-out must have, pixels

# Where the text of a licence comes from: Debian's common licences, or the copyright
# file of one of the packages.
COMMON = "common"
LICENCE_TEXTS: dict[str, str] = {
    "GPL-2": COMMON,
    "GPL-3": COMMON,  # the LGPL-3 is written as an addition to it
    "LGPL-2.1": COMMON,
    "LGPL-3": COMMON,
    "CC0-1.0": COMMON,
    "CC-BY-2.0": "gcompris-qt-data",
    "CC-BY-3.0": "gcompris-qt-data",
    "CC-BY-4.0": "lomiri-wallpapers-16.04",
    "CC-BY-SA-2.5": "gcompris-qt-data",
    "CC-BY-SA-3.0": "lomiri-wallpapers-16.04",
    "CC-BY-SA-4.0": "lomiri-wallpapers-16.04",
}
# Licences whose text is in none of the packages; they allow naming the address instead.
LICENCE_ADDRESSES: dict[str, str] = {
    "CC-BY-2.5": "https://creativecommons.org/licenses/by/2.5/legalcode",
}

INTRODUCTION = """\
# Credits of the bundled photographs

All pictures in this folder come from packages of Debian 12 ("bookworm"); each keeps
its own licence, named in the table below, which is not the licence of deepvis itself.
`docs/build_photos.py` made the folder and this file from the packages.

All pictures were changed:

- *Cut-outs* (kind `cutout`; Tux Paint's stamps) were trimmed, composed on a plain
  neutral ground, centred in a square of {side} pixels, resized (enlarged {enlargement}
  times at most) and stored as JPEG.
- *Whole photographs* (kind `photo`) were resized to a shorter side of {shorter} pixels
  where they were larger, and stored as JPEG.
"""

NOTES = """\
## Notes

- Tux Paint's stamps: the package states GPL-2 for all of them.  Authors are named
  where its changelog names them ("Tux Paint contributors" elsewhere), and where the
  changelog states another licence for a stamp, that one is given.  Stamps that the
  changelog states to be under the GNU Free Documentation License were left out.
- GCompris: author, licence and origin are those of the README files inside its
  resource bundles, which name each picture.
- plasma-workspace-wallpapers: the licence is that of each wallpaper's metadata
  ("LGPLv3"); the package's copyright file states GPL-2 or later for all of it.
- tuxpaint-data: authors and public domain statements are those of its AUTHORS.txt.
- palapeli-data, python3-skimage, python3-sklearn: author and licence are those stated
  beside the picture (the puzzle's .desktop file, the loading function's
  documentation, README.txt).
- The other packages' copyright files name author and licence; for lxqt-themes they
  name the LXQt team (one author is in a file's name).
- "+" after a licence: that version or, at your option, any later one.
"""


@dataclass(frozen=True)
class Picture:
    """One line of the table."""

    kind: str
    package: str
    source: str
    file: str
    author: str
    licence: str
    origin: str


def read_table(path: Path) -> list[Picture]:
    with path.open(encoding="utf-8", newline="") as lines:
        rows = [Picture(**row) for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)]
    names = Counter(row.file for row in rows)
    for row in rows:
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*\.jpg", row.file) or names[row.file] > 1:
            raise ValueError(f"{path.name}: bad or repeated file name {row.file}")
        if row.kind not in ("cutout", "photo"):
            raise ValueError(f"{path.name}: {row.file}: unknown kind {row.kind}")
    return sorted(rows, key=lambda row: row.file)


@lru_cache(maxsize=2)
def read_bundle(path: Path) -> dict[str, bytes]:
    """The files in a Qt resource bundle (.rcc), by their path in it."""
    data = path.read_bytes()
    magic, version, tree, bodies, names = struct.unpack_from(">4sIIII", data)
    if magic != b"qres":
        raise ValueError(f"{path}: not a Qt resource bundle")
    node_size = 14 if version == 1 else 22
    compressed_zlib, directory, compressed_zstd = 1, 2, 4

    def walk(node: int, path_so_far: str) -> Iterator[tuple[str, bytes]]:
        offset = tree + node * node_size
        name_at, flags = struct.unpack_from(">IH", data, offset)
        if node:  # the root has no name
            (length,) = struct.unpack_from(">H", data, names + name_at)
            start = names + name_at + 6  # after the length and a hash
            path_so_far += "/" + data[start : start + 2 * length].decode("utf-16-be")
        if flags & directory:
            count, first = struct.unpack_from(">II", data, offset + 6)
            for child in range(first, first + count):
                yield from walk(child, path_so_far)
        elif not flags & compressed_zstd:
            (at,) = struct.unpack_from(">I", data, offset + 10)
            (size,) = struct.unpack_from(">I", data, bodies + at)
            body = data[bodies + at + 4 : bodies + at + 4 + size]
            yield path_so_far, zlib.decompress(body[4:]) if flags & compressed_zlib else body

    return dict(walk(0, ""))


def open_source(folders: dict[str, Path], picture: Picture) -> Image.Image:
    path, _, inside = picture.source.partition("!")
    file = folders[picture.package] / path
    return Image.open(io.BytesIO(read_bundle(file)[inside]) if inside else file)


def lightness_of(premultiplied: np.ndarray) -> float:
    """How light the object looks: a high percentile of its opaque pixels' gray levels."""
    alpha = premultiplied[..., 3]
    inside = alpha > min(0.5, float(alpha.max()) / 2)
    gray = premultiplied[..., :3] @ np.array([0.299, 0.587, 0.114])
    return float(np.percentile(gray[inside] / alpha[inside], LIGHT_PART).clip(0, 255))


def ground_of(premultiplied: np.ndarray, name: str) -> np.ndarray:
    """The ground's colour: a neutral tone that sets the object off, faintly tinted."""
    lightness = lightness_of(premultiplied)
    level = next(level for bound, level in GROUNDS if lightness <= bound)
    return level + np.array(TINTS[zlib.crc32(name.encode()) % len(TINTS)])


def without_specks(alpha: np.ndarray) -> np.ndarray:
    """The alpha channel without stray bits far smaller than the object."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats((alpha > 0.03).astype(np.uint8))
    areas = stats[:, cv2.CC_STAT_AREA]
    stray = areas < SPECK * areas[1:].sum()
    return np.where(stray[labels], 0, alpha)


def compose_cutout(image: Image.Image, name: str) -> Image.Image:
    """The cut-out on its ground; alpha is premultiplied before the resizing (no halos)."""
    pixels = np.asarray(image.convert("RGBA"), dtype=np.float32)
    alpha = without_specks(pixels[..., 3] / 255)
    rows, columns = np.nonzero(alpha > 0.03)
    box = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
    pixels, alpha = pixels[box], alpha[box]
    if max(alpha.shape) < SMALLEST:
        raise ValueError(f"{name}: the cut-out is too small, {max(alpha.shape)} pixels")
    layers = np.dstack([pixels[..., :3] * alpha[..., None], alpha])

    scale = min(MAX_ENLARGEMENT, SIDE * (1 - 2 * MARGIN) / max(alpha.shape))
    height, width = (max(1, round(side * scale)) for side in alpha.shape)
    layers = np.dstack(
        [
            np.asarray(
                Image.fromarray(np.ascontiguousarray(layers[..., i])).resize((width, height), Image.Resampling.LANCZOS)
            )
            for i in range(4)
        ]
    )
    layers[..., 3] = layers[..., 3].clip(0, 1)

    canvas = np.empty((SIDE, SIDE, 3), dtype=np.float32)
    canvas[:] = ground_of(layers, name)
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    under = canvas[top : top + height, left : left + width]
    under *= 1 - layers[..., 3:]
    under += layers[..., :3]
    return Image.fromarray(canvas.round().clip(0, 255).astype(np.uint8))


def shrink_photo(image: Image.Image) -> Image.Image:
    if image.format == "JPEG":  # let the decoder shrink coarsely first
        shorter = min(image.size)
        image.draft("RGB", tuple(2 * SHORTER_SIDE * side // shorter for side in image.size))
    image = ImageOps.exif_transpose(image).convert("RGB")
    scale = SHORTER_SIDE / min(image.size)
    if scale >= 1:
        return image
    width, height = (round(side * scale) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def package_version(folder: Path) -> str:
    """The version, from the first line of the package's Debian changelog."""
    changelog = folder / "usr/share/doc" / folder.name / "changelog.Debian.gz"
    with gzip.open(changelog, "rt", encoding="utf-8") as lines:
        match = re.match(r"\S+ \((\S+)\)", next(lines))
    if not match:
        raise ValueError(f"{changelog}: no version in its first line")
    return match[1]


def licence_text(name: str, folders: dict[str, Path], common: Path) -> str:
    """The licence's text, from the common licences or from a package's copyright file."""
    place = LICENCE_TEXTS[name]
    if place == COMMON:
        return (common / name).read_text(encoding="utf-8")
    file = folders[place] / "usr/share/doc" / place / "copyright"
    match = re.search(
        rf"^License: {re.escape(name)}\n((?:[ \t].*\n?)+)",
        re.sub(r"(?m)^[ \t]*$\n", "\n", file.read_text(encoding="utf-8")),
        re.M,
    )
    if not match:
        raise ValueError(f"{file}: no text of {name}")
    lines = (line.removeprefix(" ").rstrip() for line in match[1].splitlines())
    return "\n".join("" if line == "." else line for line in lines) + "\n"


def licence_files(pictures: Sequence[Picture]) -> list[str]:
    """The names of the licences whose texts must be beside the pictures."""
    names = {picture.licence.removesuffix("+") for picture in pictures} - {"public domain"}
    if "LGPL-3" in names:
        names.add("GPL-3")
    return sorted(names)


def write_credits(pictures: Sequence[Picture], folders: dict[str, Path], file: Path) -> None:
    lines = [INTRODUCTION.format(side=SIDE, enlargement=MAX_ENLARGEMENT, shorter=SHORTER_SIDE)]
    lines += ["## Packages\n", "| package | version | pictures |", "|---|---|---|"]
    counts = Counter(picture.package for picture in pictures)
    lines += [f"| {name} | {package_version(folders[name])} | {count} |" for name, count in sorted(counts.items())]
    lines += ["\n## Licences\n", "| licence | text | found in |", "|---|---|---|"]
    for name in licence_files(pictures):
        if name in LICENCE_ADDRESSES:
            lines.append(f"| {name} | <{LICENCE_ADDRESSES[name]}> | |")
        else:
            place = LICENCE_TEXTS[name]
            found = f"Debian's common licences, {name}" if place == COMMON else f"{place}, copyright file"
            lines.append(f"| {name} | [licences/{name}.txt](licences/{name}.txt) | {found} |")
    lines += [
        "",
        NOTES,
        "## Pictures\n",
        "| file | kind | package | path in the package | author | licence | origin |",
        "|---|---|---|---|---|---|---|",
    ]
    for picture in pictures:
        origin = f"<https://{picture.origin}>" if "/" in picture.origin else picture.origin
        cells = (
            picture.file,
            picture.kind,
            picture.package,
            f"`{picture.source}`",
            picture.author,
            picture.licence,
            origin,
        )
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def build(pictures: Sequence[Picture], folders: dict[str, Path], common: Path, out: Path) -> int:
    """Write the whole folder; returns its size in bytes."""
    texts = out / "licences"
    texts.mkdir(parents=True, exist_ok=True)
    for stale in [*out.glob("*.jpg"), *texts.glob("*.txt")]:
        stale.unlink()
    for picture in pictures:
        with open_source(folders, picture) as image:
            if picture.kind == "cutout":
                result, quality = compose_cutout(image, picture.file), CUTOUT_QUALITY
            else:
                result, quality = shrink_photo(image), PHOTO_QUALITY
        result.save(out / picture.file, quality=quality, optimize=True, progressive=True)
    for name in licence_files(pictures):
        if name not in LICENCE_ADDRESSES:
            (texts / f"{name}.txt").write_text(licence_text(name, folders, common), encoding="utf-8")
    write_credits(pictures, folders, out / "CREDITS.md")
    return sum(file.stat().st_size for file in out.rglob("*") if file.is_file())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", nargs="+", type=Path, metavar="PACKAGE_FOLDER")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    parser.add_argument("--common-licences", type=Path, required=True, help="Debian's folder of common licences")
    parser.add_argument("--table", type=Path, default=TABLE, help="default: %(default)s")
    options = parser.parse_args(arguments)

    pictures = read_table(options.table)
    folders = {folder.resolve().name: folder.resolve() for folder in options.packages}
    missing = {picture.package for picture in pictures} - folders.keys()
    if missing:
        parser.error("no folder given for " + ", ".join(sorted(missing)))
    size = build(pictures, folders, options.common_licences, options.out)
    print(f"{len(pictures)} pictures, {size / 1e6:.2f} MB in {options.out}")


if __name__ == "__main__":
    main()
