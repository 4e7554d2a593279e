"""How good are learned priors, and the images made through them?

    python tests/benchmarks/priors.py --photos DIR --out DIR [--seconds 330] [--known FILE] [--tiny]

On a GPU, in as many seconds as are given. In two processes, one job after another:

- priors of some layers of the default network are trained on the photos in DIR, of which a hundred are set aside,
  and a smaller one on the bundled photos. Tables: PSNR and feature distance, by the network itself and by
  EfficientNet-Lite2, of what the closed form and the generator make of photos set aside, by seconds and steps;
- after the bundled photos' one, some recipes are tried on other classes than those of the tables, and one is chosen;
- images of classes are made through each prior: how often Lite2 names the class first or among the first
  five, and the measures of `natural.py`. "borders": gradient energy at multiples of the code's stride, over that of
  their neighbours and over what the photos have of it (1: no visible borders);
- the same for `modern`, and images of two classes at once: the mean gap between the two scores, and how often both are
  among Lite2's first five.

Only the prior of the bundled photos is kept. `--known FILE` keeps what Lite2 sees in the photos for the next run.
"""

from __future__ import annotations

from deepvis.core import runtime

runtime.tune()

import argparse
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch
from natural import LAST, LATE, MIDDLE, SCORES, SIDE, STATISTICS, PhotoDirections, Seen, distance, photographs
from recognised import HERE, drawn_classes
from torch import Tensor
from torch.nn import functional as F

from deepvis.core import paths
from deepvis.core.files import folder_name
from deepvis.inputs.datasets import find_images
from deepvis.networks import loading
from deepvis.priors.jobs import said_of, sheet
from deepvis.priors.photos import read_photos
from deepvis.priors.training import Trainer, TrainingPlan, sized_layer
from deepvis.store.priors import save_prior
from deepvis.synthesis import objectives
from deepvis.synthesis.ascent import Ascent
from deepvis.synthesis.generator import as_stored, from_stored, load_prior
from deepvis.synthesis.objectives import Objective
from deepvis.synthesis.presets import recipe
from deepvis.synthesis.recipe import Recipe

BASELINES = "baselines"
MEASURES = tuple(STATISTICS.items())


@dataclass(frozen=True)
class Job:
    """A training: the layer, whether on the bundled photos, the width, the rate, and when it ends, as a share of the
    time."""

    layer: str
    bundled: bool
    width: float
    rate: float
    until: float


JOBS = {
    "bundled-5c": Job("5c", True, 1.0, 1e-3, 0.45),
    "6d": Job("6d", False, 1.5, 1e-3, 0.4),
    "logits": Job("logits", False, 1.5, 4e-4, 0.72),
    "head": Job("head", False, 1.5, 1e-3, 0.72),
    "4c": Job("4c", False, 1.5, 1e-3, 0.72),
}
PROCESSES = (("bundled-5c", BASELINES), ("6d", "logits"))
BATCH = 128
MARKS = (10, 20, 40, 80, 160)  # seconds of training at which a line is written
AT_ONCE = 128  # images in a batch
Changes = dict[str, object]
TRIALS: dict[str, Changes] = {  # of generator-modern; all can share a batch
    "preset": {},
    "magnified views": {"scale_low": 0.8, "scale_high": 1.6},
    "smoothness 0.5": {"smoothness": 0.5},
    "smoothness 0.5, rate 0.05": {"smoothness": 0.5, "rate": 0.05, "detail": 40},
    "rate 0.05, detail 40": {"rate": 0.05, "detail": 40},
    "detail 30": {"detail": 30},
}
CHOSEN = "chosen.txt"  # the name of the best trial


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


# ---- a process ----------------------------------------------------------------------------------


class Bench:
    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.start = args, args.started
        self.tiny, self.job = args.tiny, ""
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.network, self.judge = loading.load("efficientnet-lite0", self.device), Judge(self.device)
        self.classes = drawn_classes("3" if self.tiny else "30")

    @property
    def now(self) -> float:
        return time.time() - self.start

    @property
    def out(self) -> Path:
        folder: Path = self.args.out / self.job
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def write(self, line: str, file: str = "table.txt") -> None:
        print(f"{self.job} {self.now:.0f} s: {line}", flush=True)
        with open(self.out / file, "a") as table:
            table.write(line + "\n")

    def do(self, name: str) -> Path | None:
        """A training, with the images of the bundled photos' prior; or the baselines."""
        self.job = name
        if name == BASELINES:
            self.judged({"modern": recipe("modern", self.steps)}, self.classes, 16)
            self.pairs("modern", {})
            return None
        job = JOBS[name]
        file = self.train(job)
        if self.device == "cuda":
            torch.cuda.empty_cache()
        if job.bundled:
            self.tried(file)
            self.images_through(file, True)
            return None
        return file

    def tried(self, file: Path) -> None:
        """Choose a recipe by other classes: the nearest to photos by the measures among those with 60 % in the top
        five."""
        classes = drawn_classes("30:32" if self.tiny else "30:50")
        trials = {name: self._through(file, changes) for name, changes in TRIALS.items()}
        found = self.judged(trials, classes, self._stride(file), "tried ")
        best = min(found, key=lambda name: found[name])
        self.write(f"chosen: {best}, {TRIALS[best]}", "images.txt")
        (self.args.out / CHOSEN).write_text(best)

    def images_through(self, file: Path, authors: bool = False) -> None:
        chosen = self.args.out / CHOSEN
        changes = TRIALS[chosen.read_text()] if chosen.exists() else {}
        recipes = {
            "generator-modern": self._through(file, changes),
            "no detail": self._through(file, {**changes, "detail": 0}),
        }
        if authors:
            recipes["smooth places"] = self._through(file, {**changes, "smoothness": 0.5})
            recipes["generator"] = recipe("generator", {"prior": str(file), **self.steps})
        self.judged(recipes, self.classes, self._stride(file))

    def _through(self, file: Path, changes: Changes) -> Recipe:
        return recipe("generator-modern", {"prior": str(file), **changes, **self.steps})

    @property
    def steps(self) -> Changes:
        return {"steps": 2} if self.tiny else {}

    # ---- training -------------------------------------------------------------------------------

    def train(self, job: Job) -> Path:
        folder = paths.PHOTOS if job.bundled else self.args.photos
        images, size = find_images(folder), 64 if self.tiny else 128
        pool = read_photos(images, size, self.network.device, lambda text: None)
        begin = time.time()
        plan = TrainingPlan(job.layer, size, 4 if self.tiny else BATCH, job.rate, job.width)
        trainer = Trainer(self.network, pool, plan)
        photos = f"{len(pool.training)} photos, {len(pool.held_out)} set aside"
        self.write(f"{photos}; batches of {plan.batch}; ready after {time.time() - begin:.1f} s")
        self.write("seconds  steps  phase     PSNR  own features  Lite2 middle  Lite2 last  borders")
        self.write(self._held_out(trainer, None, 0.0, "closed form"))
        begun, marks = self.now, list(MARKS)
        last = begun + 4 if self.tiny else job.until * self.args.seconds
        while self.now < last and not trainer.progress.over:
            trainer.step()
            if trainer.progress.step % trainer.looks_every == 0:
                trainer.take_stock((self.now - begun) / max(1e-9, last - begun))
            if marks and self.now - begun >= marks[0]:
                self.write(self._held_out(trainer, trainer.averaged, self.now - begun))
                marks.pop(0)
        trainer.take_stock(0.0)
        best = trainer.result()
        self.write(self._held_out(trainer, best, self.now - begun, "kept"))
        ahead = f"discriminator right {float(trainer._ahead):.2f}, weight {float(trainer._weight):.3g}"
        self.write(f"{trainer.progress}; {ahead}", "notes.txt")
        cv2.imwrite(str(self.out / "held-out.jpg"), sheet(trainer.reconstructions(12)), [cv2.IMWRITE_JPEG_QUALITY, 80])
        file = self.out / "prior.safetensors"
        save_prior(file, as_stored(self.network, sized_layer(self.network, job.layer, size), best, said_of(trainer)))
        return file

    def _held_out(self, trainer: Trainer, generator: torch.nn.Module | None, seconds: float, words: str = "") -> str:
        found, pool = trainer.look(generator), trainer.pool
        make = trainer.generator.base if generator is None else generator
        errors, shown = [], []
        for photos in pool.held_out.split(32):
            pictures = pool.whole(photos)
            with torch.no_grad():
                code = trainer.eyes(pictures - trainer._mean)[trainer.plan.layer].float()
                made = (make(code) + trainer._mean).clamp(0, 255)
            pairs = zip(self.judge.features(made), self.judge.features(pictures))
            errors.append([float((a - b).square().mean() / b.var(0).mean()) for a, b in pairs])
            shown.append(torch.stack([made, pictures]).permute(0, 1, 3, 4, 2).cpu().numpy())
        middle, last = np.mean(errors, 0)
        phase, step, stride = trainer.progress.phase, trainer.progress.step, max(8, trainer.generator.stride[0])
        ours, theirs = (borders(list(images), stride) for images in np.concatenate(shown, 1))
        own = f"{found.psnr:8.2f} {found.features:13.3f} {middle:13.3f} {last:11.3f} {ours / theirs:8.3f}"
        return f"{seconds:7.0f} {step:6} {phase:6} {own}  {words}"

    # ---- images ---------------------------------------------------------------------------------

    @cached_property
    def known(self) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
        """What the judge sees in the photos (features of two layers), and their usual measures."""
        file = self.args.known
        if file is None or not file.exists():
            photos = photographs(self.args.photos if not self.tiny else paths.PHOTOS)[: 24 if self.tiny else None]
            seen = self.judge.look(photos)
            usual = {name: float(np.mean([measure(photo) for photo in photos[::2]])) for name, measure in MEASURES}
            usual |= {f"borders {stride}": borders(photos[::2], stride) for stride in (8, 16, 32)}
            if file is None:
                return seen.middle, seen.last, usual
            names, values = list(usual), list(usual.values())
            np.savez_compressed(file, middle=seen.middle, last=seen.last, names=names, usual=values)
        with np.load(file) as found:
            usual = dict(zip(found["names"].tolist(), found["usual"].tolist()))
            return found["middle"].astype(np.float32), found["last"].astype(np.float32), usual

    @cached_property
    def directions(self) -> PhotoDirections:
        return PhotoDirections(self.known[1])

    def made(self, aim: Objective, recipes: list[Recipe], seeds: list[int]) -> list[np.ndarray]:
        ascent = Ascent(self.network, aim, recipes, seeds)
        for _ in range(recipes[0].steps):
            ascent.step()
        return list(ascent.images())

    def judged(self, recipes: dict[str, Recipe], classes: list[int], stride: int, prefix: str = "") -> dict[str, float]:
        """Write a row for each recipe; those that can share a batch do. Return how unlike photos each one's images are:
        the mean logarithm of both distances, plus the differences of spectrum, contrast and variation."""
        unlike, each = {}, max(1, AT_ONCE // len(classes))
        for structure in dict.fromkeys(one.structure for one in recipes.values()):
            names = [name for name, one in recipes.items() if one.structure == structure]
            for part in (names[first : first + each] for first in range(0, len(names), each)):
                if self.now > self.args.seconds - 25 and not self.tiny:
                    return unlike
                begin, labels = time.time(), classes * len(part)
                of = [recipes[name] for name in part for _ in classes]
                images = self.made(objectives.unit(SCORES, labels), of, [1000 + label for label in labels])
                seconds = (time.time() - begin) / len(images)
                for number, name in enumerate(part):
                    mine = images[number * len(classes) : (number + 1) * len(classes)]
                    unlike[name] = self._row(prefix + name, mine, classes, stride, seconds)
        return unlike

    def _row(self, name: str, images: list[np.ndarray], classes: list[int], stride: int, seconds: float) -> float:
        middle, last, usual = self.known
        seen = self.judge.look(images)
        ranks = np.array([(scores > scores[label]).sum() for scores, label in zip(seen.scores, classes)])
        near = [distance(mine, theirs) for mine, theirs in ((seen.middle, middle), (seen.last, last))]
        away = self.directions.frechet(seen.last)
        found = {key: float(np.mean([measure(image) for image in images])) for key, measure in MEASURES}
        ratios = {key: found[key] / usual[key] for key in ("variation", "contrast", "saturation")}
        many = np.median(self.judge.pieces(images, classes))
        edges = borders(images, stride) / usual[f"borders {stride}"]
        steeper = found["slope"] - usual["slope"]
        words = f"{(ranks < 1).mean():6.0%} {(ranks < 5).mean():6.0%} {near[0]:9.1f} {near[1]:9.1f} {away:9.3f}"
        rest = f"{steeper:+7.2f} {many:7.1f} {edges:8.3f} {seconds:6.2f}"
        self.write(f"{name:34} {words} {' '.join(f'{r:10.2f}' for r in ratios.values())} {rest}", "images.txt")
        self.keep(name, images)
        if (ranks < 5).mean() < 0.6:
            return float("inf")
        logs = (np.log(max(near[0], 1)) + np.log(max(away, 1e-3))) / 2
        return float(logs + abs(steeper) + sum(abs(np.log(ratios[key])) for key in ("variation", "contrast")))

    def keep(self, name: str, images: list[np.ndarray]) -> None:
        """A sheet of the images."""
        tiles = [cv2.resize(image, (112, 112), interpolation=cv2.INTER_AREA) for image in images]
        tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % 10)
        rows = [np.hstack(tiles[first : first + 10]) for first in range(0, len(tiles), 10)]
        file = self.out / f"{folder_name(name.translate(str.maketrans(' γ', '-g', ',.:')))}.jpg"
        cv2.imwrite(str(file), np.vstack(rows)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 78])

    def _stride(self, file: Path) -> int:
        stride = from_stored(load_prior(file), torch.device("cpu"), str(file)).generator.stride[0]
        return min(32, max(8, stride))

    def pairs(self, preset: str, changes: Changes) -> None:
        """Two classes at once, mixed and as scenes."""
        count = 2 if self.tiny else 20
        labels = np.random.default_rng(7).permutation(1000)[: 2 * count].reshape(2, -1).tolist()
        one = recipe(preset, {**changes, **self.steps})
        for name, make, gammas in (
            ("mixed", objectives.both, (0.0, 0.5, 1.0)),
            ("scene", objectives.scene, (0.5, 1.0)),
        ):
            if self.now > self.args.seconds - 20 and not self.tiny:
                return
            gamma = torch.tensor(gammas, device=self.network.device).repeat_interleave(count)
            aims = [objectives.unit(SCORES, of * len(gammas)) for of in labels]
            images = self.made(make(*aims, gamma), [one] * len(gamma), list(range(count)) * len(gammas))
            for number, value in enumerate(gammas):
                mine = images[number * count : (number + 1) * count]
                self._pair_row(f"{preset} {name}, γ {value:g}", mine, labels)

    def _pair_row(self, name: str, images: list[np.ndarray], labels: list[list[int]]) -> None:
        x = torch.cat([self.network.see(image, crop=True) for image in images])
        with torch.no_grad():
            scores = self.network.up_to(SCORES, x).float().cpu().numpy()
        values = np.stack([scores[np.arange(len(images)), of] for of in labels])
        seen = self.judge.look(images)
        ranks = [np.array([(s > s[label]).sum() for s, label in zip(seen.scores, of)]) for of in labels]
        both = np.mean((ranks[0] < 5) & (ranks[1] < 5))
        gap, least = np.abs(values[0] - values[1]).mean(), values.min(0).mean()
        words = f"gap {gap:6.2f}  lower score {least:6.2f}  both {both:.0%}"
        self.write(f"{name:34} {words}  middle {distance(seen.middle, self.known[0]):6.0f}", "pairs.txt")
        self.keep(f"pairs {name}", images[:10])


def work(args: argparse.Namespace) -> None:
    """What one of the processes does: its jobs, then the images through priors of other photos."""
    torch.set_num_threads(1 if args.tiny else 4)
    bench, left = Bench(args), {}
    for job in args.own.split(","):
        left[job] = bench.do(job)
    for job, file in left.items():
        if file is not None:
            bench.job = job
            bench.images_through(file)


# ---- all together --------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=330)
    parser.add_argument("--known", type=Path, help="file of what Lite2 sees in the photos; written if it is missing")
    parser.add_argument("--tiny", action="store_true", help="a trial of the script, one process after another")
    parser.add_argument("--jobs", default=";".join(",".join(jobs) for jobs in PROCESSES), help="a process for each ;")
    parser.add_argument("--own", default="", help=argparse.SUPPRESS)
    parser.add_argument("--started", type=float, default=time.time(), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.own:
        work(args)
        return
    room = args.out / "all"
    room.mkdir(parents=True, exist_ok=True)
    processes = args.jobs.split(";")
    running = []
    for number, own in enumerate(processes):
        command = [sys.executable, __file__, "--photos", str(args.photos), "--out", str(room), "--own", own]
        command += ["--started", str(args.started), "--seconds", str(args.seconds)]
        command += ["--known", str(args.known)] if args.known else []
        with open(room / f"{number}.log", "w") as log:
            process = subprocess.Popen([*command, *(["--tiny"] if args.tiny else [])], stdout=log, stderr=log)
        running.append(process)
        if args.tiny:
            process.wait()
    while any(one.poll() is None for one in running) and time.time() - args.started < args.seconds - 4:
        time.sleep(0.3)
    for one in running:
        if one.poll() is None:
            one.kill()
    gather(room, args.out, [job for own in processes for job in own.split(",")])


def gather(room: Path, out: Path, jobs: list[str]) -> None:
    """What is kept: tables, the prior of the bundled photos, and sheets as long as there is room."""
    left = 7.6e6
    with open(out / "results.txt", "w") as results:
        for job in jobs:
            for name in ("table.txt", "notes.txt", "images.txt", "pairs.txt"):
                file = room / job / name
                if file.exists():
                    results.write(f"---- {job} {name}\n{file.read_text()}\n")
        for log in sorted(room.glob("*.log")):
            if "Traceback" in log.read_text():
                results.write(f"---- {log.name}\n{log.read_text()[-3000:]}\n")
    own = [job for job in jobs if job.startswith("bundled")]
    for job in own:
        if (room / job / "prior.safetensors").exists():
            shutil.copy(room / job / "prior.safetensors", out / f"{job}.safetensors")
            left -= (out / f"{job}.safetensors").stat().st_size
    sheets = [file for job in jobs for file in sorted((room / job).glob("*.jpg"), key=lambda f: f.stat().st_mtime)]
    for file in sorted(sheets, key=lambda file: file.parent.name not in (*own, BASELINES)):
        if file.stat().st_size < left:
            shutil.copy(file, out / f"{file.parent.name}--{file.name}")
            left -= file.stat().st_size
    shutil.rmtree(room)


if __name__ == "__main__":
    main()
