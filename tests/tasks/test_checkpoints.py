"""Weights on disk: what fits is loaded, everything else is one sentence."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from adacal.core.errors import DataError
from tasks.checkpoints import (
    REPOSITORY,
    file_sha256,
    load_checkpoint,
    resolve_checkpoint,
    save_checkpoint,
)


def toy(classes: int = 3) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, classes))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "deep" / "toy.safetensors"
    save_checkpoint(path, toy(), {"dataset": "toy"})
    return path


def test_what_was_saved_is_loaded(tmp_path):
    module, other = toy(), toy()
    path = tmp_path / "toy.safetensors"
    sha256 = save_checkpoint(path, module)
    load_checkpoint(path, other)
    assert sha256 == file_sha256(path)
    for key, value in module.state_dict().items():
        assert torch.equal(value, other.state_dict()[key])


def test_saving_leaves_no_other_file_behind(saved):
    assert [path.name for path in saved.parent.iterdir()] == ["toy.safetensors"]


def test_a_failed_save_keeps_the_old_file(saved, monkeypatch):
    before = saved.read_bytes()
    monkeypatch.setattr("tasks.checkpoints.save_file", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_checkpoint(saved, toy())
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == ["toy.safetensors"]


def test_a_missing_checkpoint_says_how_to_train_one(tmp_path):
    with pytest.raises(DataError, match=r"no checkpoint at '.*x.safetensors'; .*adacal train CONF"):
        load_checkpoint(tmp_path / "x.safetensors", toy())


def test_a_missing_relative_checkpoint_is_named_where_the_user_stands_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = resolve_checkpoint("mine/x.safetensors", "mnist5k", "lenet")
    assert not path.is_relative_to(tmp_path)  # training would write it into the checkout
    with pytest.raises(DataError) as caught:
        load_checkpoint(path, toy())
    here = Path.cwd() / "mine" / "x.safetensors"
    assert f"no checkpoint at '{path}', nor at '{here}'; train one" in str(caught.value)
    with pytest.raises(DataError, match=r"x.safetensors'; train one"):
        load_checkpoint(here, toy())


@pytest.mark.parametrize("length", [0, 4, 60, -1])
def test_a_truncated_checkpoint_is_named(saved, length):
    saved.write_bytes(saved.read_bytes()[:length])
    with pytest.raises(DataError, match=r"toy.safetensors' is truncated or not a safetensors file"):
        load_checkpoint(saved, toy())


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_under_a_safetensors_name_is_not_opened(saved, zipped):
    torch.save(toy().state_dict(), saved, _use_new_zipfile_serialization=zipped)
    with pytest.raises(DataError, match=r"toy.safetensors' is a pickle, which is not opened"):
        load_checkpoint(saved, toy())


def test_another_number_of_classes_is_told_by_its_shapes(saved):
    with pytest.raises(DataError, match=r"'3.weight' has shape \(3, 8\), the model needs \(5, 8\)"):
        load_checkpoint(saved, toy(classes=5))


def test_another_model_is_told_by_its_names(saved):
    with pytest.raises(DataError, match=r"of another model: 2 tensors missing, 9 too many .*'bias"):
        load_checkpoint(saved, nn.Linear(8, 3))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path, value):
    module = toy()
    with torch.no_grad():
        module[3].weight[1, 2] = value
    path = tmp_path / "nan.safetensors"
    save_file(module.state_dict(), path)
    with pytest.raises(DataError, match="NaN or infinite values in '3.weight'"):
        load_checkpoint(path, toy())


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_plain_state_dict_in_a_pth_file_is_loaded(tmp_path, wrapped):
    module, other = toy(), toy()
    state = module.state_dict()
    torch.save({"state_dict": state, "epoch": 3} if wrapped else state, tmp_path / "toy.pth")
    load_checkpoint(tmp_path / "toy.pth", other)
    assert torch.equal(module[3].weight, other[3].weight)


class Malicious:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_a_pth_file_that_would_run_a_command_is_refused(tmp_path):
    victim, path = tmp_path / "victim", tmp_path / "bad.pth"
    torch.save({"weight": Malicious(f"touch {victim}")}, path)
    with pytest.raises(DataError, match="damaged or holds more than tensors"):
        load_checkpoint(path, toy())
    assert not victim.exists()


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"no checkpoint at all", pickle.dumps([1, 2], protocol=2)]
)
def test_a_pth_file_of_another_kind_is_refused(tmp_path, content):
    path = tmp_path / "bad.pth"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"bad.pth'") as caught:
        load_checkpoint(path, toy())
    assert "weights_only" not in str(caught.value)


def test_whole_numbers_in_place_of_floats_are_refused(tmp_path):
    path = tmp_path / "int.safetensors"
    save_file({key: value.int() for key, value in toy().state_dict().items()}, path)
    with pytest.raises(DataError, match="is torch.int32, the model needs torch.float32"):
        load_checkpoint(path, toy())


def test_the_default_place_is_in_the_results_folder():
    path = resolve_checkpoint(None, "mnist5k", "lenet")
    assert path == REPOSITORY / "results" / "checkpoints" / "mnist5k_lenet.safetensors"


def test_a_relative_path_counts_from_here_if_the_file_is_here_else_from_the_repository(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert resolve_checkpoint("a.safetensors", "d", "m") == REPOSITORY / "a.safetensors"
    (tmp_path / "a.safetensors").touch()
    assert resolve_checkpoint("a.safetensors", "d", "m") == Path("a.safetensors")
    assert resolve_checkpoint("/x/a.safetensors", "d", "m") == Path("/x/a.safetensors")
