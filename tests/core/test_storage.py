"""What is saved comes back exactly; what is not ours is refused in one sentence."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import adacal
from adacal.core.advanced import WeightOptions
from adacal.core.conversion import convert
from adacal.core.errors import DataError
from adacal.core.exit_rules import ExitRule
from adacal.core.measure import measure_energy
from core.energy_toys import images, small, trained_small


@pytest.mark.parametrize("mode", ["none", "light", "advanced"])
@pytest.mark.parametrize("half", ["initial", "spread"])
def test_a_saved_network_gives_the_same_outputs_exactly(
    tmp_path: Path, mode: Any, half: Any
) -> None:
    net, inputs = small(), images(8)
    network = convert(net, inputs, T=3, max_spikes=2, half_threshold=half)
    network.calibrate([inputs], mode, weight_options=WeightOptions(iterations=5))
    network.save(tmp_path / "net.safetensors")
    again = adacal.load(tmp_path / "net.safetensors", net)
    assert torch.equal(again(inputs), network(inputs))
    assert set(again.weight_changes) == set(network.weight_changes)
    assert bool(again.weight_changes) == (mode == "advanced")
    assert [vars(site) for site in again.report()] == [vars(site) for site in network.report()]
    assert measure_energy(again, inputs).energy_pj == measure_energy(network, inputs).energy_pj
    assert again.calibrate([inputs], mode) == network.calibrate([inputs], mode)
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]


def test_search_and_exit_rule_come_back(tmp_path: Path) -> None:
    net, inputs, labels = trained_small()
    network = convert(net, inputs, T=3)
    network.adafire([inputs[:64]], max_spikes=(1, 4), budget=2)
    network.compress([inputs[:64]], tolerance=3.0)
    network.exit_rule = network.fit_exit_rule([(inputs[:64], labels[:64])])
    network.save(tmp_path / "net.st")
    again = adacal.load(tmp_path / "net.st", net)
    assert again.exit_rule == network.exit_rule
    first, second = network.predict(inputs), again.predict(inputs)
    assert torch.equal(first.timesteps, second.timesteps)
    assert torch.equal(first.output, second.output)
    assert [n.ratio for n in again.neurons.values()] == [n.ratio for n in network.neurons.values()]


def test_options_and_special_neurons_come_back(tmp_path: Path) -> None:
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU6(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 1), nn.PReLU(4),
        nn.Flatten(), nn.Linear(16, 3),
    ).eval()  # fmt: skip
    frames = torch.rand(3, 4, 2, 6, 6)
    network = convert(net, frames, T=3, stream=True, event_input=True, max_pool="step_max")
    network.calibrate([frames])
    network.save(tmp_path / "net.st")
    again = adacal.load(tmp_path / "net.st", net)
    assert (again.T, again.stream, again.event_input, again.max_pool) == (3, True, True, "step_max")
    assert [neuron.kind for neuron in again.neurons.values()] == ["capped", "signed"]
    assert torch.equal(again(frames), network(frames))


def written(tmp_path: Path) -> Path:
    network = convert(small(), images(2), T=2)
    network.exit_rule = ExitRule("entropy", (0.5, 0.5))
    network.save(tmp_path / "net.st")
    return tmp_path / "net.st"


def refused(path: Path, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        adacal.load(path, small())
    assert "\n" not in str(caught.value) and path.name in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "nothing.st", "no saved network")


@pytest.mark.parametrize("length", [0, 4, 100, -50])
def test_a_truncated_file_is_refused(tmp_path: Path, length: int) -> None:
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[:length])
    refused(path, "is not a saved adacal network")


def test_a_pickle_is_refused_and_not_unpickled(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "exploded",))

    for name, write in (("a.st", lambda p: p.write_bytes(pickle.dumps(Bomb()))),
                        ("b.st", lambda p: torch.save({"x": Bomb()}, p))):  # fmt: skip
        write(tmp_path / name)
        refused(tmp_path / name, "is not a saved adacal network")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("metadata", [None, {"adacal": "[]"}, {"adacal": "{}"}, {"format": "pt"}])
def test_another_safetensors_file_is_refused(tmp_path: Path, metadata: Any) -> None:
    save_file({"weight": torch.ones(3)}, tmp_path / "other.st", metadata=metadata)
    refused(tmp_path / "other.st", "not one of a converted network")


def test_a_header_that_is_no_json_is_refused(tmp_path: Path) -> None:
    save_file({"x": torch.ones(1)}, tmp_path / "other.st", metadata={"adacal": "{"})
    refused(tmp_path / "other.st", "is not a saved adacal network")


def test_a_header_with_parts_missing_is_refused(tmp_path: Path) -> None:
    save_file({"x": torch.ones(1)}, tmp_path / "o.st", metadata={"adacal": '{"version": 1}'})
    refused(tmp_path / "o.st", "is damaged")


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    header = json.dumps({"version": 99})
    save_file({"x": torch.ones(1)}, tmp_path / "new.st", metadata={"adacal": header})
    refused(tmp_path / "new.st", "version 99")


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    network = convert(small(), images(2), T=2)
    with pytest.raises(DataError, match="cannot be written"):
        network.save(tmp_path / "missing" / "net.st")


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    other = nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU())
    with pytest.raises(DataError, match="saved with another network"):
        adacal.load(path, other)


def test_a_file_of_the_same_network_with_other_weights_is_refused(tmp_path: Path) -> None:
    net = small()
    convert(net, images(2), T=2).save(tmp_path / "net.st")
    adacal.load(tmp_path / "net.st", net)
    with torch.no_grad():
        next(net.parameters()).mul_(2.0)
    with pytest.raises(DataError, match="saved with another network"):
        adacal.load(tmp_path / "net.st", net)


@pytest.mark.parametrize("change", [lambda t: t * float("nan"), lambda t: -t])
def test_thresholds_that_are_no_positive_numbers_are_refused(tmp_path: Path, change: Any) -> None:
    net = small()
    network = convert(net, images(2), T=2)
    name, neuron = next(iter(network.neurons.items()))
    neuron.threshold = change(torch.as_tensor(neuron.threshold))
    network.save(tmp_path / "net.st")
    with pytest.raises(DataError, match=f"a threshold of '{name}' is not a positive number"):
        adacal.load(tmp_path / "net.st", net)


@pytest.mark.parametrize("path", [None, "", 3])
def test_a_path_that_names_no_file_is_refused(path: Any) -> None:
    network = convert(small(), images(2), T=2)
    with pytest.raises(DataError, match="needs the path of a file"):
        network.save(path)
    with pytest.raises(DataError, match="needs the path of a file"):
        adacal.load(path, small())


def test_a_save_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="cannot be written"):
        convert(small(), images(2), T=2).save(tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
