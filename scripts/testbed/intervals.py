"""Ratios between two variants, with bootstrap confidence intervals over repetitions.

Values are paired by repetition, because the runs of one repetition were neighbours in time. The
ratio is the geometric mean of the pairs' ratios. With the few repetitions that an experiment can
afford, plain percentiles of a bootstrap are too narrow; they are widened so that a normal sample
would be covered as by Student's t (Hesterberg 2015, "expanded percentile interval").
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
RESAMPLES = 10_000
PAIRS_MIN = 3  # with fewer there is a ratio and no interval


@dataclass(frozen=True)
class Ratio:
    value: float
    low: float | None  # both None: too few repetitions for an interval
    high: float | None
    pairs: int

    @property
    def differs(self):
        """The interval leaves out 1."""
        return self.low is not None and (self.low > 1 or self.high < 1)

    def __str__(self):
        if self.low is None:
            return f"{self.value:.2f}x"
        return f"{self.value:.2f}x [{self.low:.2f}, {self.high:.2f}]"


def ratio(variant, baseline, seed=1):
    """`variant` and `baseline`: {repetition: value}. None when no repetition has both."""
    pairs = [(variant[r], baseline[r]) for r in sorted(set(variant) & set(baseline))]
    logs = np.array([math.log(a / b) for a, b in pairs if a > 0 and b > 0])
    if len(logs) == 0:
        return None
    value = math.exp(logs.mean())
    if len(logs) < PAIRS_MIN:
        return Ratio(value, None, None, len(logs))
    low, high = np.exp(_interval(logs, seed))
    return Ratio(value, float(low), float(high), len(logs))


def _interval(values, seed):
    n = len(values)
    generator = np.random.default_rng(seed)
    means = values[generator.integers(0, n, size=(RESAMPLES, n))].mean(axis=1)
    tail = (1 - CONFIDENCE) / 2
    t = stats.t.ppf(tail, n - 1)
    tail = stats.norm.cdf(math.sqrt(n / (n - 1)) * t)
    return np.quantile(means, [tail, 1 - tail])


def verdict(found, at_most=None, at_least=None):
    """"holds", "does not hold" or "undecided" for a rule, given its Ratio (or None)."""
    if found is None:
        return "not measured"
    low, high = (found.value, found.value) if found.low is None else (found.low, found.high)
    if at_most is not None:
        outcome = "holds" if high <= at_most else "does not hold" if low > at_most else "undecided"
    else:
        outcome = "holds" if low >= at_least else "does not hold" if high < at_least else "undecided"
    if found.low is None and outcome != "undecided":
        return f"{outcome} (too few repetitions to be sure)"
    return outcome
