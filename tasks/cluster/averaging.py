"""Many learners to one: what each worker starts from, and how the results are averaged.

Every shard is a sample of 1/S of the log, so **each of its rows stands for S rows**: a worker takes steps S
times as long, and the average of S workers moves as far as one process would have. Without that,
averaging S learners is training on 1/S of the log, and takes S times as many rounds.

A learner's :class:`Rule` says how its steps are scaled. For ``ftrl``: its state is two sums over rows, z (of
gradients) and n (of squared gradients). A worker starts from z/S and n/S, with l1/S, l2/S,
alpha * sqrt(S) and beta / sqrt(S), which give the same weights to the last digits. S times the
average is the sum over all rows again, so that weights, penalties and each weight's own learning rate
mean afterwards what they mean in one process. A learner without a rule is averaged as it is.

References
----------
Zinkevich, Weimer, Smola & Li (2010), "Parallelized stochastic gradient descent", Algorithm 3.
McDonald, Hall & Mann (2010), "Distributed training strategies for the structured perceptron",
section 4.2 (iterative parameter mixing).
"""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tasks.errors import InputError


class Rule(NamedTuple):
    """What changes in a learner when each row stands for S rows."""

    powers: Mapping[str, float]  # parameter: the power of S that it is multiplied by
    sums: Callable[
        [Any], Sequence[np.ndarray]
    ]  # of a snapshot: views of the arrays that are sums over rows


_FTRL = {"alpha": 0.5, "beta": -0.5, "l1": -1.0, "l2": -1.0}
_PAIRS = {**_FTRL, "pair_alpha": 0.5, "pair_l1": -1.0, "pair_l2": -1.0}
_FM = {**_FTRL, "factor_alpha": 0.5, "factor_beta": -0.5, "min_evidence": -1.0}
RULES = {
    "SGDLogistic": Rule({"eta0": 1.0}, lambda snapshot: ()),
    "FTRLProximal": Rule(_FTRL, lambda snapshot: (snapshot,)),
    "FTRLPairs": Rule(_PAIRS, lambda snapshot: snapshot),
    "FactorizationMachine": Rule(_FM, lambda snapshot: (snapshot[0], snapshot[1][:, 1])),
}
_NO_RULE = Rule({}, lambda snapshot: ())


def copy_for_shard(learner: Any, n_shards: int) -> Any:
    """Return a copy of the learner for one of `n_shards` shards; each of its rows stands for `n_shards` rows."""
    shard, rule = copy.deepcopy(learner), _rule(learner)
    if rule.powers:
        shard.set_params(
            **{name: getattr(shard, name) * n_shards**power for name, power in rule.powers.items()}
        )
    if hasattr(shard, "state_"):
        shard.restore(_summed(rule, shard.snapshot(), 1 / n_shards))
    return shard


def average(start: Any, shards: Iterable[tuple[Any, float]], n_shards: int) -> Any:
    """Return `start` after a round, averaged from the copies that the shards trained.

    Parameters
    ----------
    start
        The learner that every shard started from; it is not changed.
    shards
        Copies by :func:`copy_for_shard` after training, each with the number of rows it learned from (by their
        weights, if they have some), above 0, as its weight; one is held at a time.
    n_shards
        As passed to :func:`copy_for_shard`.

    Raises
    ------
    InputError
        If there are no shards.
    TypeError
        If a snapshot holds something that cannot be averaged.
    """
    result, mean, n_rows = None, None, 0.0
    first_step = getattr(start, "t_", 1.0)
    step = first_step  # scikit-learn's clock of the learning rate counts rows: those of all shards
    for shard, rows in shards:
        n_rows += rows
        step += getattr(shard, "t_", 1.0) - first_step
        if result is None:
            result, mean = copy.copy(shard), shard.snapshot()
        else:
            mean = _map(partial(_towards, rows / n_rows), mean, shard.snapshot())
    if result is None:
        raise InputError("no shard has a row to learn from; raise negative_rate")
    rule = _rule(start)
    if rule.powers:
        result.set_params(**{name: getattr(start, name) for name in rule.powers})
    result.restore(_summed(rule, mean, n_shards))
    if hasattr(result, "t_"):
        result.t_ = step
    return result


def _rule(learner: Any) -> Rule:
    names = (cls.__name__ for cls in type(learner).__mro__)
    return next((RULES[name] for name in names if name in RULES), _NO_RULE)


def _summed(rule: Rule, snapshot: Any, factor: float) -> Any:
    """Multiply the sums over rows in place."""
    for array in rule.sums(snapshot):
        array *= factor
    return snapshot


def _towards(share: float, mean: np.ndarray, array: np.ndarray) -> np.ndarray:
    """Return the running mean with one more array; the loss reveals values that are not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        return mean + (array - mean) * share


def _map(change: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """Return arrays, or tuples, lists or dicts of them, with `change` applied to each array."""
    if isinstance(tree, np.ndarray | np.generic | float):
        return change(*map(np.asarray, (tree, *others)))
    if isinstance(tree, dict):
        return {name: _map(change, tree[name], *(other[name] for other in others)) for name in tree}
    if type(tree) not in (tuple, list):
        raise TypeError(
            f"a snapshot must be arrays, or tuples, lists or dicts of them, to be averaged; "
            f"found {type(tree).__name__}"
        )
    return type(tree)(_map(change, *values) for values in zip(tree, *others, strict=True))
