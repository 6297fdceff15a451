"""Checkpoints as OpenMMLab writes them become plain tensors, and nothing in them is run."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from torch import nn

from adacal.core.errors import ConfigError, DataError
from dense_models import DETECTORS
from tasks.checkpoints import read_safetensors
from tasks.openmmlab.building import build_model
from tasks.openmmlab.checkpoints import convert_checkpoint, read_weights

NAME, SMALL = DETECTORS["retinanet"]


def written(path: Path, **parts: Any) -> Path:
    torch.save({"state_dict": nn.Linear(2, 3).state_dict(), **parts}, path)
    return path


def records() -> dict[str, Any]:
    """What mmengine's Runner saves beside the weights."""
    buffer = HistoryBuffer(log_history=[0.5, 0.25], count_history=[1, 2])
    return {
        "meta": {"epoch": 2, "mmengine_version": "0.10.7", "best": np.float64(0.5)},
        "message_hub": {"log_scalars": {"train/loss": buffer}, "step": np.int64(4)},
        "optimizer": {"state": {}, "param_groups": [{"lr": np.float32(0.1)}]},
    }


@pytest.mark.parametrize("zipped", [True, False])  # torch 1.5 and the zoo's files of 2020
def test_weights_beside_records_of_training_are_read_exactly(tmp_path, zipped):
    path = tmp_path / "epoch_2.pth"
    stored = {"state_dict": nn.Linear(2, 3).state_dict(), **records()}
    torch.save(stored, path, _use_new_zipfile_serialization=zipped)
    plain = torch.load(path, weights_only=False)["state_dict"]
    found = read_weights(path)
    assert list(found) == ["weight", "bias"]
    assert all(torch.equal(found[key], plain[key]) for key in plain)


def test_a_converted_checkpoint_is_loaded_into_the_model_it_came_from(tmp_path):
    torch.manual_seed(0)
    model = build_model(NAME, library="mmdet", options=SMALL)
    source, target = tmp_path / "epoch_2.pth", tmp_path / "deep" / "retinanet.safetensors"
    torch.save({"state_dict": model.state_dict(), **records()}, source)
    with pytest.raises(DataError, match="holds more than tensors"):
        build_model(NAME, source, library="mmdet", options=SMALL)
    found = convert_checkpoint(source, target)
    assert (found.path, found.sha256) == (target, hashlib.sha256(target.read_bytes()).hexdigest())
    state = model.state_dict()
    assert found.tensors == len(state) == sum(found.parts.values())
    assert found.values == sum(tensor.numel() for tensor in state.values())
    assert list(found.parts) == ["backbone", "neck", "bbox_head"]
    loaded = build_model(NAME, target, library="mmdet", options=SMALL)
    for key, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value)


def test_names_lose_the_prefixes_of_wrappers(tmp_path):
    state = {f"module.{k}": v for k, v in nn.Linear(2, 3).state_dict().items()}
    assert list(read_weights(written(tmp_path / "a.pth", state_dict=state))) == ["weight", "bias"]


class Command:
    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("place", ["meta", "state_dict"])
def test_a_file_that_names_other_objects_is_not_opened(tmp_path, place):
    victim = tmp_path / "victim"
    path = written(tmp_path / "bad.pth", **{place: {"x": Command(os.system, f"touch {victim}")}})
    with pytest.raises(
        DataError, match=r"bad.pth' names '(posix|nt).system', which weights do not"
    ):
        read_weights(path)
    assert not victim.exists()


def test_attributes_that_records_ask_for_are_not_looked_up(tmp_path):
    """`getattr` is on the list because pickles of HistoryBuffer name it; it is never called."""
    path = written(tmp_path / "leak.pth", meta={"found": Command(getattr, np.dtype, "missing")})
    with pytest.raises(AttributeError):
        torch.load(path, weights_only=False)
    assert list(read_weights(path)) == ["weight", "bias"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"", "is damaged"), (b"hello", "is damaged"), (None, "no checkpoint at")],
)
def test_what_is_no_checkpoint_is_told_in_one_sentence(tmp_path, content, sentence):
    path = tmp_path / "x.pth"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=sentence) as caught:
        convert_checkpoint(path, tmp_path / "y.safetensors")
    assert "\n" not in str(caught.value) and not (tmp_path / "y.safetensors").exists()


def test_a_checkpoint_cut_short_is_told_so(tmp_path):
    path = written(tmp_path / "cut.pth", **records())
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"cut.pth' is damaged"):
        read_weights(path)


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"state_dict": {}}, "holds no 'state_dict'"),
        ({"state_dict": {"weight": 3.0}}, "'weight' among its weights, which is no tensor"),
        ({"state_dict": {"weight": np.ones(2)}}, "'weight' among its weights, which is no tensor"),
    ],
)
def test_weights_that_are_no_tensors_are_refused(tmp_path, parts, sentence):
    with pytest.raises(DataError, match=sentence):
        read_weights(written(tmp_path / "odd.pth", **parts))


def test_what_was_written_holds_tensors_alone(tmp_path):
    convert_checkpoint(written(tmp_path / "a.pth", **records()), tmp_path / "a.safetensors")
    assert set(read_safetensors(tmp_path / "a.safetensors")) == {"weight", "bias"}


def test_a_file_that_is_there_is_replaced_only_on_demand(tmp_path):
    source, target = written(tmp_path / "a.pth"), tmp_path / "a.safetensors"
    target.write_bytes(b"kept")
    with pytest.raises(ConfigError, match=r"a.safetensors' is there already; add --overwrite"):
        convert_checkpoint(source, target)
    assert target.read_bytes() == b"kept"
    convert_checkpoint(source, target, overwrite=True)
    assert set(read_safetensors(target)) == {"weight", "bias"}


def test_a_target_is_named_so_that_it_is_read_as_what_it_is(tmp_path):
    with pytest.raises(ConfigError, match=r"got '.*b.pth'; try '.*b.safetensors'"):
        convert_checkpoint(written(tmp_path / "a.pth"), tmp_path / "b.pth")


def test_a_checkpoint_that_is_converted_already_is_told_so(tmp_path):
    convert_checkpoint(written(tmp_path / "a.pth"), tmp_path / "a.safetensors")
    with pytest.raises(DataError, match="is converted already; give it as model.checkpoint"):
        convert_checkpoint(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
