"""Exit scores and rules: hand-worked values, and a brute-force search of the threshold."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from adacal.core.errors import CalibrationError, ConfigError
from adacal.core.exit_rules import (
    ExitRule,
    Score,
    apply_rule,
    fit_accuracy_rule,
    fit_agreement_rule,
    fit_paper_rule,
    score,
)


def logits_of(*probabilities: float) -> list[float]:
    return [math.log(value) for value in probabilities]


def random_outputs(seed: int, steps: int, samples: int, classes: int) -> tuple[Tensor, Tensor]:
    """Running means that get surer and righter with time."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (samples,), generator=generator)
    noise = torch.randn(steps, samples, classes, generator=generator)
    signal = torch.nn.functional.one_hot(labels, classes) * 1.5
    weight = torch.arange(1, steps + 1)[:, None, None]
    return (noise + signal).cumsum(0) / weight * 2, labels


def accuracy(outputs: Tensor, labels: Tensor) -> float:
    return float((outputs.argmax(-1) == labels).double().mean())


def test_scores_of_hand_worked_probabilities() -> None:
    logits = torch.tensor([logits_of(0.5, 0.5), logits_of(0.75, 0.25)])
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)) / math.log(2)
    assert score(logits, "confidence").tolist() == pytest.approx([0.5, 0.75])
    assert score(logits, "entropy").tolist() == pytest.approx([0.0, 1 - entropy], abs=1e-6)


@pytest.mark.parametrize("kind", ["entropy", "confidence"])
def test_scores_of_extreme_logits_are_finite_and_between_0_and_1(kind: Score) -> None:
    logits = torch.tensor([[1e4, -1e4, 0.0], [3e38, -3e38, 0.0], [0.0, 0.0, 0.0]])
    found = score(logits, kind)
    assert bool(((found >= 0) & (found <= 1)).all())
    assert found[0] == found[1] == 1
    assert score(logits[2:].half(), kind).dtype == torch.float32


def test_the_paper_rule_has_the_formula_of_the_method() -> None:
    # the second sample is wrong at step 1 and must not count there
    outputs = torch.tensor(
        [
            [logits_of(0.6, 0.4), logits_of(0.9, 0.1)],
            [logits_of(0.8, 0.2), logits_of(0.2, 0.8)],
        ]
    )
    rule = fit_paper_rule(outputs, torch.tensor([0, 1]), a=0.6)

    def entropy(p: float) -> float:
        return -(p * math.log(p) + (1 - p) * math.log(1 - p)) / math.log(2)

    first = 0.6 + 0.4 * math.exp(entropy(0.8) - entropy(0.6))
    assert rule.score == "entropy"
    assert rule.thresholds == pytest.approx((first, 1.0), abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    a=st.floats(0, 1),
    kind=st.sampled_from(["entropy", "confidence"]),
)
def test_paper_thresholds_lie_between_a_and_one(seed: int, a: float, kind: Score) -> None:
    outputs, labels = random_outputs(seed, steps=4, samples=40, classes=3)
    rule = fit_paper_rule(outputs, labels, a=a, score=kind)
    assert len(rule.thresholds) == 4 and rule.score == kind
    assert all(a - 1e-9 <= value <= 1 + 1e-9 for value in rule.thresholds)
    assert max(rule.thresholds) == pytest.approx(1.0)


def test_applying_a_rule_picks_the_first_step_above_its_threshold() -> None:
    outputs = torch.tensor(
        [
            [logits_of(0.9, 0.1), logits_of(0.6, 0.4), logits_of(0.5, 0.5)],
            [logits_of(0.2, 0.8), logits_of(0.8, 0.2), logits_of(0.5, 0.5)],
            [logits_of(0.3, 0.7), logits_of(0.1, 0.9), logits_of(0.45, 0.55)],
        ]
    )
    final, timesteps = apply_rule(outputs, ExitRule("confidence", (0.7, 0.7, 0.7)))
    assert timesteps.tolist() == [1, 2, 3]
    expected = torch.stack([outputs[0, 0], outputs[1, 1], outputs[2, 2]])
    assert torch.equal(final, expected)


def test_the_exit_needs_a_score_strictly_above_the_threshold() -> None:
    outputs = torch.zeros(2, 1, 2)
    assert apply_rule(outputs, ExitRule("confidence", (0.5, 0.5)))[1].tolist() == [2]
    assert apply_rule(outputs, ExitRule("confidence", (0.499, 0.5)))[1].tolist() == [1]


def test_the_accuracy_rule_of_a_hand_worked_case() -> None:
    # sample 1 is right from the start with 0.9; sample 2 is wrong with 0.8, then right
    outputs = torch.tensor(
        [
            [logits_of(0.9, 0.1), logits_of(0.8, 0.2)],
            [logits_of(0.9, 0.1), logits_of(0.3, 0.7)],
        ]
    )
    labels = torch.tensor([0, 1])
    rule = fit_accuracy_rule(outputs, labels, score="confidence")
    assert rule.thresholds == pytest.approx((0.8, 0.8))
    assert apply_rule(outputs, rule)[1].tolist() == [1, 2]
    loose = fit_accuracy_rule(outputs, labels, tolerance=50, score="confidence")
    assert loose.thresholds == (0.0, 0.0)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    steps=st.integers(1, 5),
    samples=st.integers(1, 12),
    tolerance=st.sampled_from([0.0, 5.0, 20.0]),
    kind=st.sampled_from(["entropy", "confidence"]),
)
def test_the_accuracy_rule_is_the_smallest_that_keeps_the_accuracy(
    seed: int, steps: int, samples: int, tolerance: float, kind: Score
) -> None:
    outputs, labels = random_outputs(seed, steps, samples, classes=3)
    rule = fit_accuracy_rule(outputs, labels, tolerance=tolerance, score=kind)
    needed = accuracy(outputs[-1], labels) - tolerance / 100 - 1e-9
    assert accuracy(apply_rule(outputs, rule)[0], labels) >= needed
    candidates = [0.0]
    for each in outputs[:-1]:
        candidates += score(each, kind).tolist()
    for smaller in (value for value in candidates if value < rule.thresholds[0]):
        other = ExitRule(kind, (smaller,) * steps)
        assert accuracy(apply_rule(outputs, other)[0], labels) < needed


def test_more_tolerance_never_takes_more_steps() -> None:
    outputs, labels = random_outputs(5, steps=8, samples=300, classes=10)
    used = [
        float(apply_rule(outputs, fit_accuracy_rule(outputs, labels, points))[1].double().mean())
        for points in (0.0, 1.0, 5.0, 100.0)
    ]
    assert used == sorted(used, reverse=True)
    assert used[1] < 8 and used[-1] == 1.0


def test_a_step_without_a_correct_sample_is_a_calibration_error() -> None:
    outputs = torch.tensor([[[0.0, 1.0]], [[1.0, 0.0]]])
    with pytest.raises(CalibrationError, match="correctly at step 1 of 2"):
        fit_paper_rule(outputs, torch.tensor([0]))


@pytest.mark.parametrize("fit", [fit_paper_rule, fit_accuracy_rule])
@pytest.mark.parametrize(
    ("outputs", "labels", "sentence"),
    [
        (torch.ones(2, 3, 4), torch.tensor([0, 1, 4]), "0 to 3; got 0 to 4"),
        (torch.ones(2, 3, 4), torch.tensor([0, -1, 1]), "0 to 3; got -1 to 1"),
        (torch.ones(2, 3, 4), torch.tensor([0, 1]), "one per sample"),
        (torch.ones(2, 3, 4), torch.ones(3), "whole numbers"),
        (torch.ones(2, 0, 4), torch.ones(0, dtype=torch.int64), "at least one sample"),
        (torch.ones(2, 3, 1), torch.zeros(3, dtype=torch.int64), "two classes"),
        (torch.ones(3, 4), torch.zeros(3, dtype=torch.int64), "shape"),
        (torch.full((2, 3, 4), float("nan")), torch.zeros(3, dtype=torch.int64), "finite"),
    ],
)
def test_unusable_outputs_or_labels_are_a_calibration_error(
    fit: Callable[..., ExitRule], outputs: Tensor, labels: Tensor, sentence: str
) -> None:
    with pytest.raises(CalibrationError, match=sentence):
        fit(outputs, labels)


def test_settings_out_of_range_are_a_config_error() -> None:
    outputs, labels = random_outputs(0, steps=2, samples=20, classes=2)
    with pytest.raises(ConfigError, match="between 0 and 1"):
        fit_paper_rule(outputs, labels, a=1.5)
    with pytest.raises(ConfigError, match="at least 0 points"):
        fit_accuracy_rule(outputs, labels, tolerance=-1)
    with pytest.raises(ConfigError, match="3 steps; got outputs of 2"):
        apply_rule(outputs, ExitRule("entropy", (0.5, 0.5, 0.5)))
    with pytest.raises(ConfigError, match="did you mean 'entropy'"):
        ExitRule("entropie", (0.5,))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="finite"):
        ExitRule("entropy", ())
    with pytest.raises(ConfigError, match="at least 2 classes"):
        score(torch.ones(3, 1), "entropy")


def test_the_agreement_rule_lets_no_calibration_sample_leave_that_changes_its_class_later() -> None:
    outputs = 3 * torch.randn(6, 200, 5, generator=torch.Generator().manual_seed(0))
    running = outputs.cumsum(0) / torch.arange(1, 7).view(-1, 1, 1)
    rule = fit_agreement_rule(running)
    answers, steps = apply_rule(running, rule)
    assert torch.equal(answers.argmax(1), running[-1].argmax(1))
    assert int(steps.min()) < 6
    assert list(rule.thresholds) == sorted(rule.thresholds, reverse=True)
    lower = ExitRule("entropy", (rule.thresholds[0] * 0.99, *rule.thresholds[1:]))
    assert not torch.equal(apply_rule(running, lower)[0].argmax(1), running[-1].argmax(1))


def test_where_all_agree_from_the_start_all_leave_at_once() -> None:
    running = torch.tensor([[2.0, 0.0], [0.0, 1.0]]).expand(4, 2, 2)
    assert apply_rule(running, fit_agreement_rule(running))[1].tolist() == [1, 1]
