"""Imports point one way, and each outside thing is touched by one module only."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "deepvis").rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text(encoding="utf-8"), str(path)) for name, path in FILES.items()}


def statements(node: ast.AST, inside_functions: bool) -> Iterator[ast.AST]:
    """All nodes below, without those that only a type checker runs."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) and not inside_functions:
            continue
        yield child
        yield from statements(child, inside_functions)


@cache
def imports(module: str, inside_functions: bool) -> set[str]:
    """Full names of the modules that a module of this package imports, in and out of the package."""
    found = set()
    package = module if FILES[module].name == "__init__.py" else module.rpartition(".")[0]
    for node in statements(TREES[module], inside_functions):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found |= {f"{base}.{alias.name}" if f"{base}.{alias.name}" in FILES else base for alias in node.names}
    return found


TABLES = {"deepvis.attribution.methods"}  # whose rows are read by all; what a row computes with is a pass's own affair


def reaches(module: str, inside_functions: bool) -> dict[str, str]:
    """{module: by way of which} of everything that importing `module` imports."""
    via, todo = {}, [module]
    while todo:
        one = todo.pop()
        parents = [".".join(one.split(".")[:i]) for i in range(1, one.count(".") + 1)]
        for other in imports(one, inside_functions and one not in TABLES) | {
            parent for parent in parents if parent in FILES
        }:
            if other not in via:
                via[other] = one
                if other in FILES:
                    todo.append(other)
    return via


def uses(names: set[str]) -> dict[str, set[str]]:
    """{module: which of these attributes or names it uses}."""
    found: dict[str, set[str]] = {}
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            used = {
                node.attr if isinstance(node, ast.Attribute) else "",
                node.id if isinstance(node, ast.Name) else "",
                *([alias.name for alias in node.names] if isinstance(node, ast.ImportFrom) else []),
            }
            if used & names:
                found.setdefault(module, set()).update(used & names)
    return found


ROOMS_WITHOUT_TORCH = ("core", "inputs", "interface", "render", "display")
WITHOUT_TORCH = [name for name in FILES if name.split(".")[1:2] and name.split(".")[1] in ROOMS_WITHOUT_TORCH] + [
    "deepvis.attribution.methods",
    "deepvis.attribution.requests",
    "deepvis.scan.index",
    "deepvis.scan.results",
    "deepvis.store.unit_images",
    "deepvis.store.own_images",
    "deepvis.store.original_folders",
    "deepvis.synthesis.recipe",
    "deepvis.synthesis.recipe_grid",
    "deepvis.workers.messages",
    "deepvis.workers.picture_messages",
    "deepvis.workers.nearest_messages",
]

HEAVY = ("torch", "torchvision", "timm")


def heavy(via: dict[str, str]) -> list[str]:
    return [f"{by} imports {name}" for name, by in via.items() if name.partition(".")[0] in HEAVY]


def test_the_parser_sees_imports() -> None:
    """Else the tests below would pass for nothing."""
    assert "torch" in imports("deepvis.networks.network", inside_functions=False)
    assert {"deepvis.networks.capture", "deepvis.core.layers"} <= imports(
        "deepvis.networks.network", inside_functions=False
    )
    assert "torch" in reaches("deepvis.networks.loading", inside_functions=False)
    assert "deepvis.core.frames" in reaches("deepvis.attribution.passes", inside_functions=False)
    assert heavy(reaches("deepvis.attribution.passes", inside_functions=False))
    assert "deepvis.core.layers" in WITHOUT_TORCH and len(FILES) > 10


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_modules_without_torch(module: str) -> None:
    assert heavy(reaches(module, inside_functions=True)) == []


@pytest.mark.parametrize("module", ["deepvis.app.toolbox", "deepvis.cli.main", "deepvis.workers.engine"])
def test_the_window_is_up_before_torch_is_imported(module: str) -> None:
    assert heavy(reaches(module, inside_functions=False)) == []


def test_really_importing_them_imports_no_torch() -> None:
    modules = [*WITHOUT_TORCH, "deepvis.app.toolbox", "deepvis.cli.main", "deepvis.workers.engine"]
    code = f"import sys, {', '.join(modules)}; print(*(set(sys.modules) & {set(HEAVY)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stdout + done.stderr


PROCESS = """
import importlib, logging, os, random, signal, sys, threading, warnings
foreign, own = sys.argv[1].split(), sys.argv[2].split()
for name in foreign:
    importlib.import_module(name)
import cv2, numpy, torch

def state():
    back, log = torch.backends, logging.getLogger
    return {
        "environment": dict(os.environ), "path": list(sys.path), "working folder": os.getcwd(), "hook": sys.excepthook,
        "warnings": list(warnings.filters), "signals": {n: signal.getsignal(n) for n in signal.valid_signals()},
        "threads": (threading.active_count(), torch.get_num_threads(), torch.get_num_interop_threads()),
        "threads of OpenCV": cv2.getNumThreads(),
        "attention": back.mha.get_fastpath_enabled(), "gradients": torch.is_grad_enabled(),
        "CUDA": (back.cudnn.enabled, back.cudnn.benchmark, back.cudnn.deterministic, back.cudnn.allow_tf32),
        "numbers": (torch.get_float32_matmul_precision(), torch.get_default_dtype(), back.mkldnn.enabled),
        "OpenCV": (cv2.useOptimized(), cv2.utils.logging.getLogLevel()), "priority": os.nice(0),
        "logging": [(log(n).level, log(n).disabled, list(log(n).handlers)) for n in (None, "deepvis")],
        "chance": (random.getstate(), str(numpy.random.get_state()), torch.get_rng_state().tolist()),
    }

calls = []
sys.addaudithook(lambda event, given: calls.append(given) if event == "ctypes.dlsym" else None)
before = state()
for name in own:
    importlib.import_module(name)
after = state()
print([what for what in before if before[what] != after[what]] + [name for _, name in calls if "mallo" in str(name)])
"""


def test_importing_them_changes_nothing_of_the_process() -> None:
    """Somebody's script imports deepvis for one function of it. What the toolbox needs is set when it starts."""
    tops = {name.partition(".")[0] for module in FILES for name in imports(module, inside_functions=False)}
    foreign = sorted(tops - sys.stdlib_module_names - {"deepvis"}) + ["PIL.Image", "torch.fx", "torch.func"]
    assert {"torch", "cv2", "PIL", "yaml"} <= set(foreign)
    done = subprocess.run([sys.executable, "-c", PROCESS, " ".join(foreign), " ".join(FILES)], cwd=ROOT,
                          capture_output=True, text=True, timeout=120)  # fmt: skip
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_commands_set_what_they_need_before_torch_is_imported() -> None:
    code = """
import sys
from deepvis.core import runtime
tuned = []
runtime.tune = lambda: tuned.append(sys.modules.keys() & {"torch", "cv2"})
from deepvis.cli.start import main
main(["layers", "--weights", "none"])
print(tuned, "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "[set()] True", done.stdout + done.stderr


@pytest.mark.parametrize("module", [name for name in FILES if name.startswith("deepvis.render")])
def test_the_renderer_sees_no_worker_file_or_network(module: str) -> None:
    seen = reaches(module, inside_functions=True)
    forbidden = {"queue", "subprocess", "concurrent.futures", "deepvis.workers.engine", "deepvis.networks.network",
                 "deepvis.display.window", "deepvis.inputs.feed", "deepvis.networks.loading"}  # fmt: skip
    assert set(seen) & forbidden == set()


def test_what_is_asked_of_the_workers_is_said_without_a_thread() -> None:
    seen = reaches("deepvis.interface.requests", inside_functions=True)
    assert {name for name in seen if name.partition(".")[0] in ("threading", "concurrent", "subprocess")} == set()
    asked = {name for name in seen if name.startswith("deepvis.workers.")}
    assert asked == {"deepvis.workers." + name for name in ("messages", "nearest_messages", "picture_messages")}


def test_no_two_classes_share_a_name() -> None:
    places: dict[str, list[str]] = {}
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(f"{module}:{node.lineno}")
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_no_cycles() -> None:
    cycles = [name for name in FILES if name in _modules_below(name)]
    assert cycles == []


def _modules_below(module: str) -> set[str]:
    found: set[str] = set()
    todo = [module]
    while todo:
        for other in imports(todo.pop(), inside_functions=True) - found:
            if other in FILES:
                found.add(other)
                todo.append(other)
    return found


@pytest.mark.parametrize(
    "owners, names",
    [
        (
            ["networks.capture"],
            {
                "register_forward_hook",
                "register_forward_pre_hook",
                "register_full_backward_hook",
                "register_full_backward_pre_hook",
                "register_backward_hook",
                "register_hook",
                "register_module_forward_hook",
                "register_post_accumulate_grad_hook",
            },
        ),
        (
            ["display.window"],
            {
                "imshow",
                "waitKey",
                "waitKeyEx",
                "pollKey",
                "namedWindow",
                "setMouseCallback",
                "destroyWindow",
                "destroyAllWindows",
                "getWindowProperty",
                "resizeWindow",
            },
        ),
        (["inputs.camera"], {"CAP_V4L2", "CAP_DSHOW", "CAP_AVFOUNDATION"}),  # cameras
        # Cameras and files: to show, and one's own recording.
        (["inputs.walk", "inputs.camera", "inputs.decode", "display.recorder"], {"VideoCapture"}),
        (["display.recorder", "display.film"], {"VideoWriter"}),
    ],
)
def test_each_outside_thing_is_touched_by_its_owner_only(owners: list[str], names: set[str]) -> None:
    found = uses(names)
    assert set(found) <= {f"deepvis.{owner}" for owner in owners}, found
    assert found  # else the names here are out of date
