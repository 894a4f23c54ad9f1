"""The laws of the model of scores: what it computes step by step is the exact Gaussian posterior."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

import numpy as np
import pytest

from lmflow.optimizers.auto.model import LEVEL, Scales, ScoreModel
from lmflow.optimizers.auto.scales import FittedModel

KINDS = ("instruction", "demos")
SCALES = Scales({"instruction": 0.1, "demos": 0.2, "own": 0.05}, row=0.5, noise=0.3)
MEAN_SD = 0.07

Observation = tuple[dict[int, float], dict[int, float]]


def numbers(seed: int) -> random.Random:
    """A source of random numbers."""
    return random.Random(seed)  # noqa: S311 - no secret


def observed(model: ScoreModel, rng: random.Random, count: int = 12) -> list[Observation]:
    """Some observations of random pairs of arms on random rows, learned by a model."""
    arms: list[list[dict[int, float]]] = [[{}], [{}]]
    for at, kind in enumerate(KINDS):
        for _ in range(3):
            arms[at].append({model.mean_of[kind]: 1.0, model.add_column(kind): 1.0})
    seen: list[Observation] = []
    for _ in range(count):
        weights: dict[int, float] = {}
        for own in arms:
            weights |= rng.choice(own)
        scores = {row: float(rng.random() < 0.6) for row in rng.sample(range(9), 4)}
        model.learn(weights, scores)
        seen.append((weights, scores))
    return seen


def exact(model: ScoreModel, seen: list[Observation]) -> tuple[np.ndarray, np.ndarray, float]:
    """The posterior mean and covariance, and the evidence, from the full joint distribution."""
    deviations: Mapping[str, float] = {"level": 1.0, "mean": MEAN_SD, **SCALES.effects}
    prior = np.diag([deviations[kind] ** 2 for kind in model.columns])
    center = np.array([0.5, *[0.0] * (len(model.columns) - 1)])
    design, rows, values = [], [], []
    for weights, scores in seen:
        for row, score in scores.items():
            line = np.zeros(len(model.columns))
            line[LEVEL] = 1
            for column, weight in weights.items():
                line[column] = weight
            design.append(line)
            rows.append(row)
            values.append(score)
    x, y = np.array(design), np.array(values)
    same = np.equal.outer(rows, rows).astype(float)
    noise = SCALES.noise**2 * (np.eye(len(y)) + same / SCALES.row)
    total = x @ prior @ x.T + noise
    gain = prior @ x.T @ np.linalg.inv(total)
    rest = y - x @ center
    _, size = np.linalg.slogdet(total)
    evidence = -0.5 * (size + rest @ np.linalg.solve(total, rest))
    return center + gain @ rest, prior - gain @ x @ prior, evidence


@pytest.mark.parametrize("seed", range(5))
def test_the_posterior_is_exact(seed: int) -> None:
    """Means and contrasts are those of the joint normal distribution of scores and effects."""
    model = ScoreModel(KINDS, MEAN_SD)
    seen = observed(model, numbers(seed))
    posterior = model.solve(SCALES)
    mean, covariance, _ = exact(model, seen)
    assert mean == pytest.approx(posterior.mean)
    weights = {LEVEL: 1.0, 3: 1.0, 5: -1.0}
    vector = np.zeros(len(model.columns))
    for column, weight in weights.items():
        vector[column] = weight
    expected = (vector @ mean, math.sqrt(vector @ covariance @ vector))
    assert expected == pytest.approx(posterior.contrast(weights))


def test_the_evidence_is_exact_up_to_a_constant() -> None:
    """Two models of the same scores differ in evidence as their joint densities do."""
    gaps = []
    for seed in range(4):
        model = ScoreModel(KINDS, MEAN_SD)
        seen = observed(model, numbers(seed))
        gaps.append(exact(model, seen)[2] - model.solve(SCALES).evidence)
    assert [gaps[0]] * 4 == pytest.approx(gaps)


def test_a_column_may_be_added_to_what_was_learned() -> None:
    """An effect that is attached later counts as if it had been there from the first."""
    early, late = ScoreModel(KINDS, MEAN_SD), ScoreModel(KINDS, MEAN_SD)
    scores = {0: 1.0, 1: 0.0, 2: 1.0}
    own = early.add_column("own")
    early.learn({own: 1.0}, scores)
    early.learn({}, {0: 1.0, 3: 0.0})
    late.learn({}, scores)
    late.learn({}, {0: 1.0, 3: 0.0})
    late.solve(SCALES)
    late.attach(late.add_column("own"), {}, scores)
    assert early.solve(SCALES).mean == pytest.approx(late.solve(SCALES).mean)
    assert early.solve(SCALES).evidence == pytest.approx(late.solve(SCALES).evidence)


def test_draws_have_the_posterior_mean_and_spread() -> None:
    """The mean of many draws is the posterior's, and so is their spread."""
    model = ScoreModel(KINDS, MEAN_SD)
    observed(model, numbers(1))
    posterior, rng = model.solve(SCALES), numbers(0)
    draws = np.array([posterior.draw(rng) for _ in range(4000)])
    mean, deviation = posterior.contrast({4: 1.0})
    assert mean == pytest.approx(draws[:, 4].mean(), abs=0.01)
    assert deviation == pytest.approx(draws[:, 4].std(), rel=0.05)


def test_large_effects_make_the_scale_large() -> None:
    """The scale of a kind follows the scores: effects of 40 points are no longer shrunk to a few."""
    model = ScoreModel(KINDS, MEAN_SD)
    fitted = FittedModel(model, SCALES, 0.05, KINDS)
    arms = [model.add_column("demos") for _ in range(4)]
    model.learn({}, {row: float(row % 4 == 0) for row in range(40)})
    for at, arm in enumerate(arms):
        rate = 0.8 if at % 2 else 0.05
        model.learn({arm: 1.0}, {row: float(row / 40 < rate) for row in range(40)})
    before = fitted.scales.effects["demos"]
    contrast, deviation = fitted.posterior().contrast({arms[1]: 1.0, arms[0]: -1.0})
    assert fitted.scales.effects["demos"] >= before
    assert contrast > 0.6
    assert contrast > 4 * deviation
