"""When a sample may stop before the last step: confidence scores and fitted exit thresholds.

What a score costs is in no energy reading. Of K classes an entropy takes 5K additions and
comparisons, 2K + 3 multiplications, K exponentials and a logarithm a sample and step, a confidence
less. At 10 classes that is 0.64 nJ if an exponential costs ten multiply-accumulates (prices of
`adacal.core.energy`): 0.03 to 0.15 % of what a sample costs on LeNet and 0.003 to 0.02 % on
ResNet-20, over all records with a score committed by November 2026. At 1,000 classes it is 58 nJ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from adacal.core.errors import CalibrationError, ConfigError, unknown_name

Score = Literal["entropy", "confidence"]


@dataclass(frozen=True)
class ExitRule:
    """Exit at the first step whose score exceeds that step's threshold, at the latest at the last.

    Attributes:
        score: `entropy` (1 - H / log K) or `confidence` (largest probability).
        thresholds: one per step, length T, in the unit of the score (0 to 1); the last one is
            never used, because the last step always exits.
    """

    score: Score
    thresholds: tuple[float, ...]

    def __post_init__(self) -> None:
        """Checks the score's name and that there are finite thresholds."""
        if self.score not in get_args(Score):
            raise ConfigError(unknown_name("exit score", self.score, get_args(Score)))
        several = isinstance(self.thresholds, tuple | list) and len(self.thresholds) > 0
        if not several or not all(_finite(value) for value in self.thresholds):
            raise ConfigError(
                f"exit thresholds must be finite, one per step; got {self.thresholds!r}; "
                "fit them or give a number between 0 and 1 for every step"
            )

    def exits(self, running_mean: Tensor, step: int, previous: Tensor | None = None) -> Tensor:
        """Says which samples are done after a step.

        Args:
            running_mean: mean output over the steps so far, shape [B, K] (logits).
            step: index of the step, 0 to T - 1.
            previous: the mean before that step; a score does not need it.
        Returns:
            Boolean, shape [B]; all true at the last step.
        """
        if step >= len(self.thresholds) - 1:
            return torch.ones(len(running_mean), dtype=torch.bool, device=running_mean.device)
        return score(running_mean, self.score) > self.thresholds[step]


def score(logits: Tensor, kind: Score) -> Tensor:
    """How sure the network is, from 0 to 1.

    Args:
        logits: running mean (not sum) of the network's output, shape [B, K], K at least 2; leading
            dimensions may be more.
        kind: `entropy`, 1 - H(softmax) / log K, or `confidence`, the largest probability.
    Returns:
        Shape [B].
    Raises:
        ConfigError: `kind` is not known, or there are fewer than two classes.

    >>> score(torch.tensor([[0.0, 0.0], [0.0, 200.0]]), "entropy")
    tensor([0., 1.])
    """
    if kind not in get_args(Score):
        raise ConfigError(unknown_name("exit score", kind, get_args(Score)))
    if logits.shape[-1] < 2:
        raise ConfigError(
            f"an exit score needs at least 2 classes; got {logits.shape[-1]}; "
            "run all steps for this network"
        )
    if logits.dtype not in (torch.float32, torch.float64):
        logits = logits.float()
    if kind == "confidence":
        return logits.softmax(-1).amax(-1)
    return (1 - _normalised_entropy(logits)).clamp(0, 1)


def fit_paper_rule(
    outputs: Tensor, labels: Tensor, a: float = 0.6, score: Score = "entropy"
) -> ExitRule:
    """Fits one threshold per step from the entropy of what is right (METHOD section 7).

    `tau_t = a + (1 - a) * exp(min_t E_t - E_t)`, with E_t the mean normalised entropy over the
    samples classified correctly at step t.

    Args:
        outputs: running means of the output after each step, shape [T, B, K] (logits).
        labels: true classes, shape [B], whole numbers from 0 to K - 1.
        a: lowest threshold, 0 to 1; the paper has 0.6 for CIFAR and 0.995 for ImageNet.
        score: the score the thresholds are compared with.
    Raises:
        CalibrationError: outputs or labels are unusable, or no sample is right at some step.
        ConfigError: `a` is out of range.
    """
    if not 0 <= a <= 1:
        raise ConfigError(f"a must be between 0 and 1; got {a}; try 0.6")
    right = _right(outputs, labels)
    counts = right.sum(1)
    if bool((counts == 0).any()):
        step = int((counts == 0).int().argmax()) + 1
        raise CalibrationError(
            f"no calibration sample is classified correctly at step {step} of {len(outputs)}; "
            "give more samples, or calibrate the network first"
        )
    entropy = _normalised_entropy(outputs.double())
    mean = (entropy * right).sum(1) / counts
    thresholds = a + (1 - a) * torch.exp(mean.min() - mean)
    return ExitRule(score, tuple(thresholds.tolist()))


def fit_accuracy_rule(
    outputs: Tensor, labels: Tensor, tolerance: float = 0.0, score: Score = "entropy"
) -> ExitRule:
    """Finds the smallest threshold, one for all steps, that keeps the calibration accuracy.

    Args:
        outputs: running means of the output after each step, shape [T, B, K] (logits).
        labels: true classes, shape [B], whole numbers from 0 to K - 1.
        tolerance: most accuracy that early exit may lose against all T steps, in points (per
            cent of the calibration samples).
        score: the score the threshold is compared with.
    Raises:
        CalibrationError: outputs or labels are unusable.
        ConfigError: `tolerance` is negative.
    """
    if not tolerance >= 0:
        raise ConfigError(f"tolerance must be at least 0 points; got {tolerance}; try 0")
    right = _right(outputs, labels).long()
    steps, samples = right.shape
    scores = _scores(outputs, score)
    # A sample exits at t while tau is below the largest score so far, and moves on from t to
    # t + 1 when tau reaches it: the number right is a step function of tau.
    moves = scores[:-1].cummax(0).values.flatten() if steps > 1 else scores.new_empty(0)
    gains = (right[1:] - right[:-1]).flatten()
    moves = torch.cat([moves.new_zeros(1), moves])
    gains = torch.cat([right[0].sum()[None], gains])
    moves, order = moves.sort(stable=True)
    correct = gains[order].cumsum(0)
    last_of_ties = torch.ones_like(moves, dtype=torch.bool)
    last_of_ties[:-1] = moves[1:] > moves[:-1]
    needed = float(right[-1].sum()) - tolerance / 100 * samples - 1e-6
    good = last_of_ties & (correct >= needed)
    threshold = float(moves[good.int().argmax()])
    return ExitRule(score, (threshold,) * steps)


def fit_agreement_rule(outputs: Tensor, score: Score = "entropy") -> ExitRule:
    """Finds one threshold per step above which no calibration sample changes its answer later.

    `tau_t` is the largest score, at step t or later, of a sample whose class is not yet the one it
    has after all T steps. Labels are not looked at.

    Args:
        outputs: running means of the output after each step, shape [T, B, K] (logits).
        score: the score the thresholds are compared with.
    Raises:
        CalibrationError: the outputs are unusable.
    """
    _check_shape(outputs)
    answers = outputs.argmax(2)
    changes = answers != answers[-1]
    scores = torch.where(changes, _scores(outputs, score), 0.0).amax(1)
    thresholds = scores.flip(0).cummax(0).values.flip(0)
    return ExitRule(score, tuple(thresholds.tolist()))


def apply_rule(outputs: Tensor, rule: ExitRule) -> tuple[Tensor, Tensor]:
    """Applies a rule to recorded outputs.

    Args:
        outputs: running means of the output after each step, shape [T, B, K] (logits).
        rule: thresholds for T steps.
    Returns:
        The output of each sample at its exit, shape [B, K], and the number of steps it used,
        shape [B], 1 to T (int64).
    Raises:
        CalibrationError: the outputs are not of shape [T, B, K].
        ConfigError: the rule was made for another number of steps.
    """
    _check_shape(outputs)
    steps, samples, _ = outputs.shape
    if steps != len(rule.thresholds):
        raise ConfigError(
            f"the exit rule has thresholds for {len(rule.thresholds)} steps; got outputs of "
            f"{steps}; fit the rule with the same T"
        )
    done = torch.stack([rule.exits(outputs[step], step) for step in range(steps)])
    first = done.int().argmax(0)
    return outputs[first, torch.arange(samples, device=outputs.device)], first + 1


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _scores(outputs: Tensor, kind: Score) -> Tensor:
    return torch.stack([score(running_mean, kind) for running_mean in outputs])


def _normalised_entropy(logits: Tensor) -> Tensor:
    log_probability = logits.log_softmax(-1)
    terms = log_probability.exp() * log_probability.clamp_min(-1e4)
    return -terms.sum(-1) / math.log(logits.shape[-1])


def _right(outputs: Tensor, labels: Tensor) -> Tensor:
    """Checks outputs [T, B, K] and labels [B]; returns whether each is right, [T, B]."""
    _check_shape(outputs)
    classes = outputs.shape[2]
    if labels.shape != outputs.shape[1:2] or labels.is_floating_point():
        raise CalibrationError(
            f"labels must be whole numbers of shape [{outputs.shape[1]}], one per sample; got "
            f"{labels.dtype} of shape {list(labels.shape)}; give class indices"
        )
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        raise CalibrationError(
            f"labels must be from 0 to {classes - 1}; got {int(labels.min())} to "
            f"{int(labels.max())}; check that network and dataset have the same classes"
        )
    return outputs.argmax(2) == labels.to(outputs.device)


def _check_shape(outputs: Tensor) -> None:
    if outputs.dim() != 3 or outputs.numel() == 0 or outputs.shape[2] < 2:
        raise CalibrationError(
            "exit rules need running mean outputs of shape [T, B, K] with at least one sample and "
            f"two classes; got shape {list(outputs.shape)}; record the output after every step"
        )
    if not bool(torch.isfinite(outputs).all()):
        raise CalibrationError(
            "running mean outputs must be finite; got NaN or infinity; "
            "check the network's thresholds and the calibration inputs"
        )
