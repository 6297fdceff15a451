"""`adacal convert-checkpoint`: what it prints, writes and refuses."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file

from adacal.suite.cli import main


def convert(*words: object) -> Result:
    return CliRunner().invoke(main, ["convert-checkpoint", *map(str, words)])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "epoch_1.pth"
    state = {"backbone.weight": torch.ones(2, 3), "neck.weight": torch.zeros(4)}
    torch.save({"meta": {"epoch": 1}, "state_dict": state}, path)
    return path


def test_it_prints_what_it_wrote(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / "model.safetensors"
    done = convert(source, target)
    assert done.exit_code == 0, done.output
    assert f"wrote {target}: 2 tensors, 10 values" in done.output
    assert "tensors by part: backbone 1, neck 1\n" in done.output
    assert f"sha256 {hashlib.sha256(target.read_bytes()).hexdigest()}" in done.output
    assert torch.equal(load_file(target)["backbone.weight"], torch.ones(2, 3))


def test_an_existing_target_stays_without_overwrite(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "model.safetensors"
    target.write_bytes(b"kept")
    refused = convert(source, target)
    assert refused.exit_code == 2 and "is there already; add --overwrite" in refused.output
    assert target.read_bytes() == b"kept"
    assert convert(source, target, "--overwrite").exit_code == 0
    assert set(load_file(target)) == {"backbone.weight", "neck.weight"}


@pytest.mark.parametrize(
    ("source_name", "target_name", "sentence"),
    [
        ("nothing.pth", "a.safetensors", "no checkpoint at"),
        ("epoch_1.pth", "a.pth", "must be called .safetensors"),
        ("damaged.pth", "a.safetensors", "damaged.pth' is damaged"),
        ("epoch_1.pth", "damaged.pth/a.safetensors", "cannot be written"),
    ],
)
def test_wrong_input_gets_one_sentence(
    source_name: str, target_name: str, sentence: str, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "damaged.pth").write_bytes(source.read_bytes()[:100])
    result = convert(tmp_path / source_name, tmp_path / target_name)
    assert result.exit_code == 2, result.output
    assert sentence in result.output
    assert result.output.strip().count("\n") == 0
