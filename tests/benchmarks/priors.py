"""How good are learned priors, and the images made through them?

    python tests/benchmarks/priors.py --photos DIR --out DIR [--seconds 330] [--tiny]

On a GPU, in as many seconds as are given. At the same time, in a process each:

- priors of some layers of the default network are trained on the photos in DIR, of which a hundred are set aside,
  and smaller ones on the bundled photos. Tables: PSNR and feature distance, by the network itself and by
  EfficientNet-Lite2, of what the closed form and the generator make of photos set aside, by seconds of training;
- then images of classes are made through each prior by several recipes: how often Lite2 names the class first or
  among the first five, and the measures of `natural.py`. "borders": gradient energy at multiples of the code's
  stride, over that of their neighbours (1: no visible borders);
- meanwhile the same for `modern`, and images of two classes at once with several γ: the mean gap between the two
  scores, and how often both are among Lite2's first five.

Only the prior of the bundled photos that is best by the middle distance, among those with 60 % in the top five, is
kept.
"""

from __future__ import annotations

from deepvis.core import runtime

runtime.tune()

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from natural import LAST, LATE, MIDDLE, SCORES, SIDE, STATISTICS, Seen, distance, photographs
from recognised import HERE, drawn_classes
from torch import Tensor
from torch.nn import functional as F

from deepvis.core import paths
from deepvis.core.files import folder_name
from deepvis.inputs.datasets import find_images
from deepvis.networks import loading
from deepvis.priors.jobs import said_of, sheet
from deepvis.priors.photos import PhotoPool, read_photos
from deepvis.priors.training import Trainer, TrainingPlan, sized_layer
from deepvis.store.priors import save_prior
from deepvis.synthesis import objectives
from deepvis.synthesis.ascent import Ascent
from deepvis.synthesis.generator import as_stored, from_stored, load_prior
from deepvis.synthesis.presets import recipe
from deepvis.synthesis.recipe import Recipe

# name: layer, the bundled photos, width
JOBS = {
    "bundled-5c": ("5c", True, 1.0),
    "5c": ("5c", False, 1.5),
    "6d": ("6d", False, 1.5),
    "head": ("head", False, 1.5),
    "4c": ("4c", False, 1.5),
}
BASELINES = "baselines"
AT_ONCE = 15  # images in a batch: several processes share the GPU's memory
MARKS = (0, 10, 20, 40, 80, 160)  # seconds of training at which a line is written
GAMMAS = (0.0, 0.5, 1.0, 2.0)
STILL = {"margin": 0, "jitter": 0, "rotate": 0, "scale_low": 1, "scale_high": 1, "views": 1}
MILD = {"margin": 16, "jitter": 16, "rotate": 5, "scale_low": 0.9, "scale_high": 1.1}
NONE, NEAR = {"detail": 0}, {"scale_low": 0.8, "scale_high": 1.6}
AVERAGED = 6.4  # weight of a step in the running mean of the values, × the number of steps
# name: preset, changes, whether the mean of the last steps is the result
VARIANTS: dict[str, tuple[str, dict[str, object], bool]] = {
    "modern": ("generator-modern", {}, False),
    "averaged": ("generator-modern", {}, True),
    "no detail": ("generator-modern", NONE, False),
    "detail 40": ("generator-modern", {"detail": 40}, True),
    "authors": ("generator", {}, False),
    "authors, rate .1": ("generator", {"phases": [{"steps": 1, "numbers": {"rate": [0.1, 1e-10]}}]}, False),
    "authors, rate 8": ("generator", {"phases": [{"steps": 1, "numbers": {"rate": [8, 1e-10]}}]}, False),
    "magnified views": ("generator-modern", NEAR, True),
    "decay .01": ("generator-modern", {"decay": 0.01}, True),
    "rate .05": ("generator-modern", {"rate": 0.05}, True),
    "no variation": ("generator-modern", {"total_variation": 0}, True),
    "mild views": ("generator-modern", MILD, True),
    "plain units": ("generator-modern", {"colors": "plain", "decay": 0.01}, True),
    "still": ("generator-modern", STILL, True),
}
# `modern` as it was when this was first measured, and as it is now.
MODERN = {
    "modern before": {"rate": 0.1, "scale_low": 0.7, "scale_high": 1.3, "total_variation": 0.5},
    "modern": {"rate": 0.11, "scale_low": 0.8, "scale_high": 1.6, "total_variation": 0.26},
}


# ---- the judge -----------------------------------------------------------------------------------


class Judge:
    """EfficientNet-Lite2, in batches."""

    def __init__(self, device: str) -> None:
        self.network = loading.load(str(HERE / "judge"), device)

    def look(self, images: list[np.ndarray], size: int = 32) -> Seen:
        parts = [self._part(images[first : first + size]) for first in range(0, len(images), size)]
        return Seen(*(np.concatenate(one) for one in zip(*parts)))

    def _part(self, images: list[np.ndarray]) -> tuple[np.ndarray, ...]:
        x = torch.cat([self.network.see(image, crop=True) for image in images])
        with torch.inference_mode(), self.network.capture([MIDDLE, LAST]) as captured:
            scores = self.network.module(x).float()
            middle = self.network.units(MIDDLE, captured[MIDDLE]).float().flatten(2).mean(2)
            last = self.network.units(LAST, captured[LAST]).float().flatten(1)
        return tuple(one.cpu().numpy() for one in (middle, last, scores))

    def features(self, pictures: Tensor) -> list[Tensor]:
        """Of pictures 0 to 255, B×3×H×W."""
        spec = self.network.input
        x = F.interpolate(pictures.float(), (spec.height, spec.width), mode="bilinear")
        x = ((x - 127) / 128).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode(), self.network.capture([MIDDLE, LAST]) as captured:
            self.network.module(x)
            return [self.network.units(name, captured[name]).float() for name in (MIDDLE, LAST)]

    def pieces(self, images: list[np.ndarray], labels: list[int]) -> list[int]:
        """As `natural.pieces`, in one batch."""
        x = torch.cat([self.network.see(image, crop=True) for image in images]).requires_grad_(True)
        with self.network.capture([LATE]) as captured:
            scores = self.network.module(x)[torch.arange(len(labels)), labels]
            maps = self.network.units(LATE, captured[LATE])
        (grad,) = torch.autograd.grad(scores.sum(), maps)
        cams = (maps * grad.mean((2, 3), keepdim=True)).sum(1).clamp(min=0).detach().float().cpu().numpy()
        found = []
        for cam in cams:
            large = cv2.resize(cam, (SIDE // 4, SIDE // 4), interpolation=cv2.INTER_CUBIC)
            regions = cv2.connectedComponents((large > large.max() / 2).astype(np.uint8))[0] - 1
            found.append(regions if large.max() > 0 else 0)
        return found


def borders(images: list[np.ndarray], stride: int) -> float:
    """Gradient energy across multiples of the stride, over that two to four pixels to either side."""
    ratios = []
    for axis in (1, 2):
        energy = np.square(np.diff(np.stack(images).astype(np.float64), axis=axis)).mean(axis=(0, 3 - axis, 3))
        at = np.arange(stride, len(energy) - 4, stride) - 1
        around = [at + step for step in (-4, -3, -2, 2, 3, 4)]
        ratios.append(energy[at].sum() / np.mean([energy[one].sum() for one in around]))
    return float(np.mean(ratios))


# ---- a process of its own for each prior --------------------------------------------------------


class Bench:
    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.start = args, args.started
        self.tiny, self.out = args.tiny, args.out / args.job
        self.out.mkdir(parents=True, exist_ok=True)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.network, self.judge = loading.load("efficientnet-lite0", self.device), Judge(self.device)
        self.classes = drawn_classes("3" if self.tiny else "30")

    @property
    def now(self) -> float:
        return time.time() - self.start

    def write(self, line: str, file: str = "table.txt") -> None:
        print(f"{self.args.job} {self.now:.0f} s: {line}", flush=True)
        with open(self.out / file, "a") as table:
            table.write(line + "\n")

    # ---- training -------------------------------------------------------------------------------

    def train(self, layer: str, bundled: bool, width: float) -> Iterator[tuple[str, Path]]:
        folder = paths.PHOTOS if bundled else self.args.photos
        images, size = find_images(folder), 64 if self.tiny else 128
        pool = read_photos(images, size, self.network.device, lambda text: None)
        plan = TrainingPlan(layer, size, 4 if self.tiny else 48, width=width)
        begin = time.time()
        trainer = Trainer(self.network, pool, plan)
        self.write(
            f"{len(pool.training)} photos, {len(pool.held_out)} set aside; ready after {time.time() - begin:.1f} s"
        )
        self.write("seconds  steps  phase     PSNR  own features  Lite2 middle  Lite2 last")
        self.write(self._held_out(trainer, None, 0.0, pool, "closed form"))
        last = self.args.training
        begun, marks = self.now, [mark for mark in MARKS[1:]]
        before_phase: dict[str, Tensor] | None = None
        while (self.now < last or self.tiny and trainer.progress.step < 6) and not trainer.progress.over:
            trainer.step()
            if self.tiny and trainer.progress.step == 3:
                trainer.take_stock(1.0)
                before_phase = trainer.best
            if trainer.progress.step % trainer.looks_every == 0:
                phase = trainer.progress.phase
                trainer.take_stock((self.now - begun) / (last - begun))
                if trainer.progress.phase > phase:
                    before_phase = {name: value.clone() for name, value in trainer.best.items()}
            if marks and self.now - begun >= marks[0]:
                self.write(self._held_out(trainer, trainer.averaged, self.now - begun, pool))
                marks.pop(0)
        trainer.take_stock(0.0)
        best = trainer.result()
        self.write(self._held_out(trainer, best, self.now - begun, pool, "kept"))
        ahead = f"discriminator right {float(trainer._ahead):.2f}, weight {float(trainer._weight):.3g}"
        self.write(f"{trainer.progress}; {ahead}", "notes.txt")
        rows = trainer.reconstructions(12)
        cv2.imwrite(str(self.out / "held-out.jpg"), sheet(rows), [cv2.IMWRITE_JPEG_QUALITY, 80])
        yield "", self._stored(trainer, layer, best, "prior")
        if before_phase is not None:
            best.load_state_dict(before_phase)
            self.write(self._held_out(trainer, best, self.now - begun, pool, "not adversarial"))
            yield "not adversarial: ", self._stored(trainer, layer, best, "plain")

    def _stored(self, trainer: Trainer, layer: str, generator: torch.nn.Module, name: str) -> Path:
        file = self.out / f"{name}.safetensors"
        of = sized_layer(self.network, layer, trainer.plan.size)
        save_prior(file, as_stored(self.network, of, generator, said_of(trainer)))
        return file

    def _held_out(
        self, trainer: Trainer, generator: torch.nn.Module | None, seconds: float, pool: PhotoPool, words: str = ""
    ) -> str:
        found = trainer.look(generator)
        make = trainer.generator.base if generator is None else generator
        errors = []
        for photos in pool.held_out.split(32):
            pictures = pool.whole(photos)
            with torch.no_grad():
                code = trainer.eyes(pictures - trainer._mean)[trainer.plan.layer].float()
                made = (make(code) + trainer._mean).clamp(0, 255)
            pairs = zip(self.judge.features(made), self.judge.features(pictures))
            errors.append([float((a - b).square().mean() / b.var(0).mean()) for a, b in pairs])
        middle, last = np.mean(errors, 0)
        phase, step = trainer.progress.phase, trainer.progress.step
        own = f"{found.psnr:8.2f} {found.features:13.3f} {middle:13.3f} {last:11.3f}"
        return f"{seconds:7.0f} {step:6} {phase:6} {own}  {words}"

    # ---- images ---------------------------------------------------------------------------------

    def known(self) -> tuple[Seen, dict[str, float]]:
        """What the judge sees in the photos; one process looks, the others wait for it."""
        file, begin = self.args.out / "photos.npz", time.time()
        while not file.exists():
            time.sleep(0.5)
            if time.time() - begin > 30:  # the other process has failed
                self.look_at_photos()
        with np.load(file) as found:
            usual = dict(zip(STATISTICS, found["usual"].tolist()))
            return Seen(found["middle"], found["last"], found["scores"]), usual

    def look_at_photos(self) -> None:
        photos = photographs(self.args.photos if not self.tiny else paths.PHOTOS)[: 24 if self.tiny else None]
        seen = self.judge.look(photos)
        usual = [float(np.mean([measure(photo) for photo in photos])) for measure in STATISTICS.values()]
        part = self.args.out / f"part-{self.args.job}.npz"
        np.savez(part, middle=seen.middle, last=seen.last, scores=seen.scores, usual=usual)
        part.rename(self.args.out / "photos.npz")

    def made(self, preset: str, changes: dict[str, object], mean: bool) -> tuple[list[np.ndarray], float]:
        changes = {**changes, "steps": 2} if self.tiny else changes
        one, begin = recipe(preset, changes), time.time()
        parts = [self.classes[first : first + AT_ONCE] for first in range(0, len(self.classes), AT_ONCE)]
        images = [image for part in parts for image in self._made(one, part, mean)]
        return images, (time.time() - begin) / len(self.classes)

    def _made(self, one: Recipe, classes: list[int], mean: bool) -> list[np.ndarray]:
        aim = objectives.unit(SCORES, classes)
        ascent = Ascent(self.network, aim, [one] * len(classes), [1000 + label for label in classes])
        values, average = ascent._parameters.values, None
        for step in range(one.steps):
            ascent.step()
            weight = min(1.0, max(AVERAGED / one.steps, 2 / (step + 3)))
            average = values.detach().clone() if average is None else average.lerp_(values.detach(), weight)
        if mean:
            values.data.copy_(average)
        return list(ascent.images())

    def judged(self, name: str, preset: str, changes: dict[str, object], mean: bool, stride: int) -> None:
        images, seconds = self.made(preset, changes, mean)
        known, usual = self.known()
        seen = self.judge.look(images)
        ranks = np.array([(scores > scores[label]).sum() for scores, label in zip(seen.scores, self.classes)])
        near = [distance(getattr(seen, part), getattr(known, part)) for part in ("middle", "last")]
        found = {key: float(np.mean([measure(image) for image in images])) for key, measure in STATISTICS.items()}
        ratios = " ".join(f"{found[key] / usual[key]:10.2f}" for key in ("variation", "contrast", "saturation"))
        parts = [slice(first, first + AT_ONCE) for first in range(0, len(images), AT_ONCE)]
        many = np.median([n for part in parts for n in self.judge.pieces(images[part], self.classes[part])])
        edges = borders(images, stride)
        words = f"{(ranks < 1).mean():6.0%} {(ranks < 5).mean():6.0%} {near[0]:9.1f} {near[1]:9.1f} {ratios}"
        rest = f"{found['slope'] - usual['slope']:+7.2f} {many:7.1f} {edges:8.2f} {seconds:6.2f}"
        self.write(f"{name:40} {words} {rest}", "images.txt")
        tiles = [cv2.resize(image, (112, 112), interpolation=cv2.INTER_AREA) for image in images]
        tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % 10)
        rows = [np.hstack(tiles[first : first + 10]) for first in range(0, len(tiles), 10)]
        file = self.out / f"{folder_name(name.replace(' ', '-').replace(',', '').replace(':', ''))}.jpg"
        cv2.imwrite(str(file), np.vstack(rows)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 78])

    def variants(self, file: Path) -> None:
        stride = max(8, from_stored(load_prior(file), torch.device("cpu"), str(file)).generator.stride[0])
        for name, (preset, changes, mean) in list(VARIANTS.items())[: 3 if self.tiny else None]:
            if self.now > self.args.seconds - 30 and not self.tiny:
                return
            self.judged(name, preset, {"prior": str(file), **changes}, mean, stride)

    def pairs(self, preset: str, changes: dict[str, object], gammas: tuple[float, ...]) -> None:
        """Two classes at once."""
        count = 2 if self.tiny else 20
        labels = np.random.default_rng(7).permutation(1000)[: 2 * count].reshape(2, -1).tolist()
        one = recipe(preset, {**changes, "steps": 2} if self.tiny else changes)
        for gamma in gammas:
            if self.now > self.args.seconds - 25 and not self.tiny:
                return
            aims = [objectives.unit(SCORES, of) for of in labels]
            ascent = Ascent(self.network, objectives.both(*aims, gamma), [one] * count, list(range(count)))
            for _ in range(one.steps):
                ascent.step()
            images = list(ascent.images())
            x = torch.cat([self.network.see(image, crop=True) for image in images])
            with torch.no_grad():
                scores = self.network.up_to(SCORES, x).float().cpu().numpy()
            values = np.stack([scores[np.arange(count), of] for of in labels])
            seen = self.judge.look(images).scores
            ranks = [np.array([(s > s[label]).sum() for s, label in zip(seen, of)]) for of in labels]
            both = np.mean((ranks[0] < 5) & (ranks[1] < 5))
            gap, least = np.abs(values[0] - values[1]).mean(), values.min(0).mean()
            self.write(
                f"{preset:18} γ {gamma:4}  gap {gap:6.2f}  lower score {least:6.2f}  both {both:.0%}", "pairs.txt"
            )
            tiles = [cv2.resize(image, (112, 112), interpolation=cv2.INTER_AREA) for image in images[:10]]
            picture = np.hstack(tiles)[..., ::-1]
            cv2.imwrite(str(self.out / f"pairs-{preset}-{gamma}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 78])


def work(args: argparse.Namespace) -> None:
    """What one of the processes does."""
    torch.set_num_threads(1 if args.tiny else 2)
    bench = Bench(args)
    if args.job == BASELINES:
        bench.look_at_photos()
        for name, changes in MODERN.items():
            bench.judged(name, "modern", changes, name == "modern", 32)
        bench.pairs("modern", {}, GAMMAS[:2] if args.tiny else GAMMAS)
        return
    files = list(bench.train(*JOBS[args.job]))
    if bench.device == "cuda":
        torch.cuda.empty_cache()
    for prefix, file in files:
        if prefix:  # one alone, and first: it answers what the adversarial loss is good for
            preset, changes, mean = VARIANTS["modern"]
            bench.judged(f"{prefix}modern", preset, {"prior": str(file), **changes}, mean, 32)
    bench.variants(files[0][1])
    if args.job in ("6d", "bundled-5c"):
        bench.pairs("generator-modern", {"prior": str(files[0][1])}, (0.0, 0.5, 1.0))


# ---- all together --------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=330)
    parser.add_argument("--tiny", action="store_true", help="a trial of the script, one process after another")
    parser.add_argument("--jobs", default=",".join([BASELINES, *JOBS]))
    parser.add_argument("--job", default="", help=argparse.SUPPRESS)
    parser.add_argument("--started", type=float, default=time.time(), help=argparse.SUPPRESS)
    parser.add_argument("--training", type=float, default=0.0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.job:
        work(args)
        return
    room = args.out / "all"
    room.mkdir(parents=True, exist_ok=True)
    jobs, running = args.jobs.split(","), []
    for job in jobs:
        training = time.time() - args.started + 25 if args.tiny else 0.55 * args.seconds
        command = [sys.executable, __file__, "--photos", str(args.photos), "--out", str(room), "--job", job]
        command += ["--started", str(args.started), "--seconds", str(args.seconds), "--training", str(training)]
        log = open(room / f"{job}.log", "w")
        process = subprocess.Popen([*command, *(["--tiny"] if args.tiny else [])], stdout=log, stderr=log)
        running.append(process)
        if args.tiny:
            process.wait()
    while any(one.poll() is None for one in running) and time.time() - args.started < args.seconds - 10:
        time.sleep(0.3)
    for one in running:
        if one.poll() is None:
            one.kill()
    gather(room, args.out, jobs)


def gather(room: Path, out: Path, jobs: list[str]) -> None:
    """What is kept: tables, the best prior of the bundled photos, and sheets as long as there is room."""
    left = 7.6e6
    with open(out / "results.txt", "w") as results:
        for job in jobs:
            for name in ("table.txt", "notes.txt", "images.txt", "pairs.txt"):
                file = room / job / name
                if file.exists():
                    results.write(f"---- {job} {name}\n{file.read_text()}\n")
            log = (room / f"{job}.log").read_text()
            if "Traceback" in log:
                results.write(f"---- {job} failed\n{log[-3000:]}\n")
    best = min((job for job in jobs if job.startswith("bundled")), key=lambda job: rating(room / job), default=None)
    if best and (room / best / "prior.safetensors").exists():
        shutil.copy(room / best / "prior.safetensors", out / f"{best}.safetensors")
        left -= (out / f"{best}.safetensors").stat().st_size
    sheets = [file for job in jobs for file in sorted((room / job).glob("*.jpg"), key=lambda f: f.stat().st_mtime)]
    first = [file for file in sheets if file.parent.name == best or file.parent.name == BASELINES]
    for file in dict.fromkeys([*first, *sheets]):
        if file.stat().st_size < left:
            shutil.copy(file, out / f"{file.parent.name}--{file.name}")
            left -= file.stat().st_size
    shutil.rmtree(room)


def rating(folder: Path) -> float:
    """The least middle distance of a prior's images among the recipes with 60 % in the top five."""
    if not (folder / "images.txt").exists():
        return np.inf
    rows = [line[40:].split() for line in (folder / "images.txt").read_text().splitlines() if line[:3] != "not"]
    return min((float(row[2]) for row in rows if int(row[1].rstrip("%")) >= 60), default=1e9)


if __name__ == "__main__":
    main()
