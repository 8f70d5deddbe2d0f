"""Attacks of the adversarial-robustness-toolbox, which see the served model as a black box.

It stands in .cache/art (`scripts/peers art`), apart from what Modelward itself needs. Its attacks run as they are; what
is set here makes them ask little, since queries are what they are counted by.
"""

from __future__ import annotations

import itertools
import math
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from loadtests.detection.oracle import Oracle
from loadtests.detection.tables import Floats
from loadtests.detection.walks import Random, Target

HOME = Path(__file__).parents[2] / ".cache" / "art"
WHERE = HOME / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
ABSENT = "the adversarial-robustness-toolbox is not installed: scripts/peers art installs it into .cache/art (11 MB)"
RANGE = 50.0  # of standardised features: nothing is clipped
SMALLEST = 1e-7  # a score that is told in 32 bits
WITHOUT_END = 1_000_000
RESTARTS = 20


def installed() -> bool:
    return (WHERE / "art").is_dir()


if installed():
    sys.path.append(str(WHERE))  # behind our own: it brings nothing that we have
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is no PyTorch
        from art.attacks.evasion import BoundaryAttack, HopSkipJump, SquareAttack, ZooAttack
        from art.estimators.classification.blackbox import BlackBoxClassifierNeuralNetwork

    class Box(BlackBoxClassifierNeuralNetwork):
        """A served model. shape: of one row, as the attack is to see it; what goes beyond the features is padding."""

        def __init__(self, oracle: Oracle, shape: tuple[int, ...], *, logarithms: bool = False) -> None:
            super().__init__(lambda rows: rows, shape, oracle.victim.classes, clip_values=(-RANGE, RANGE))
            self._oracle = oracle
            self._logarithms = logarithms

        def predict(self, x: Any, batch_size: int = 0, training_mode: bool = False, **_: Any) -> Floats:
            """A row that is not answered looks as the target does: no success."""
            rows = x.reshape(len(x), -1)[:, : len(self._oracle.start)]
            scores: Floats = self._oracle.ask(rows)[1]
            missing = np.isnan(scores[:, 0])
            scores[missing] = np.arange(scores.shape[1]) == self._oracle.label
            return np.log(np.maximum(scores, SMALLEST)) if self._logarithms else scores


def _attack(made: Any, target: Target, random: Random, shape: tuple[int, ...], **options: Any) -> None:
    np.random.seed(int(random.integers(2**31)))  # the toolbox draws from the global generator
    padded = np.zeros((1, math.prod(shape)))
    padded[0, : len(target.row)] = target.row
    one_hot = np.eye(made.estimator.nb_classes)[[target.label]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made.generate(padded.reshape(1, *shape).astype(np.float32), one_hot, **options)


def hop_skip_jump(oracle: Oracle, target: Target, random: Random) -> None:
    """From one row of another label after the other, since a walk can end at a place that is not the nearest."""
    shape = (len(target.row),)
    made = HopSkipJump(Box(oracle, shape), norm=2, max_iter=20, max_eval=500, init_eval=30, verbose=False)
    for other in itertools.cycle(target.others):
        _attack(made, target, random, shape, x_adv_init=other[None].astype(np.float32))


def boundary(oracle: Oracle, target: Target, random: Random) -> None:
    shape = (len(target.row),)
    made = BoundaryAttack(
        Box(oracle, shape), targeted=False, delta=0.1, epsilon=0.1, max_iter=WITHOUT_END, sample_size=10, verbose=False
    )
    _attack(made, target, random, shape, x_adv_init=target.others[:1].astype(np.float32))


def square(oracle: Oracle, target: Target, random: Random) -> None:
    """By the largest difference in any feature. A row is written into a square image, whose last line and column the
    attack never changes. It asks three times a step, and begins again where that has not led far."""
    side = math.ceil(math.sqrt(len(target.row))) + 1
    box = Box(oracle, (1, side, side))
    eps, most = 0.999 * target.largest, oracle.budget // (3 * RESTARTS)
    made = SquareAttack(
        box, norm=np.inf, eps=eps, max_iter=most, p_init=0.3, nb_restarts=RESTARTS, batch_size=1, verbose=False
    )
    _attack(made, target, random, (1, side, side))


def zoo(oracle: Oracle, target: Target, random: Random) -> None:
    shape = (len(target.row),)
    made = ZooAttack(
        Box(oracle, shape, logarithms=True), learning_rate=0.05, max_iter=60, binary_search_steps=20, initial_const=1.0,
        abort_early=False, nb_parallel=min(10, len(target.row)), variable_h=0.01, verbose=False,
    )  # fmt: skip
    _attack(made, target, random, shape)


def reach(oracle: Oracle, target: Target, random: Random) -> None:
    """HopSkipJump by the largest difference in any feature: what is possible in that norm."""
    shape = (len(target.row),)
    made = HopSkipJump(Box(oracle, shape), norm=np.inf, max_iter=60, max_eval=500, init_eval=30, verbose=False)
    _attack(made, target, random, shape, x_adv_init=target.others[:1].astype(np.float32))
