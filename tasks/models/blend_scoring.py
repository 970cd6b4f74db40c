"""What scores rows with a saved blend: the weighted mean of its parts' logits, each part by its own kind's functions.

The blend's arrays are those of its parts, named ``part0_weights``, ``part1_weights``, ``part1_latent``; its parameters
hold each part's kind, parameters, intercept and weight, so they count for its version. A part may be a blend itself.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tasks.errors import InputError
from tasks.models import scorer_of
from tasks.models.scoring import Scorer, frozen

_SUM = 1e-9  # how far from 1 weights may add up, for they are decimal texts in a file


class Member(NamedTuple):
    """One part of a blend, ready to score."""

    weight: float
    scorer: Scorer


def prefix_of(number: int) -> str:
    """Return what is put before the names of a part's arrays.

    Examples
    --------
    >>> prefix_of(1) + "latent"
    'part1_latent'
    """
    return f"part{number}_"


def blend_scorer(
    parts: Mapping[str, Any], intercept: float, contract: Any, params: Mapping[str, Any]
) -> Scorer:
    """Return the scorer of a saved blend.

    Parameters
    ----------
    parts
        Arrays and files of all parts, by their prefixed names.
    intercept
        What is added to each logit; 0, for the parts have their own.
    contract
        The hash contract, which all parts share.
    params
        ``parts``: a mapping for each, with ``kind``, ``params``, ``intercept`` and ``weight``, 0 or above; weights add
        up to 1.

    Raises
    ------
    InputError
        If weights are out of their domain, an array belongs to no part, or those of a part are not of its kind.
    ContractError, ConfigError
        As :func:`tasks.models.scorer_of`, for a part.
    """
    members = _members(parts, contract, params)

    def decision(codes: np.ndarray, out: np.ndarray) -> None:
        own = np.empty(len(codes))
        out[:] = intercept
        for weight, scorer in members:
            scorer.decision(codes, *scorer.inputs, own)
            out += weight * own

    def predict_row(codes: np.ndarray) -> float:
        out = np.empty(1)
        decision(frozen(codes[None, :]), out)
        logit = float(out[0])
        tail = math.exp(-abs(logit))
        return (1.0 if logit >= 0 else tail) / (1.0 + tail)

    return Scorer(decision, predict_row, (), _contributions(members), _weights(members))


def _members(
    parts: Mapping[str, Any], contract: Any, params: Mapping[str, Any]
) -> Sequence[Member]:
    found, left = [], dict(parts)
    for number, one in enumerate(params["parts"]):
        prefix = prefix_of(number)
        names = [name for name in parts if name.startswith(prefix)]
        own = {name.removeprefix(prefix): left.pop(name) for name in names}
        scorer = scorer_of(one["kind"], own, float(one["intercept"]), contract, one["params"])
        found.append(Member(float(one["weight"]), scorer))
    if left:
        raise InputError(
            f"the array {next(iter(left))} belongs to no part of the blend; make it again"
        )
    weights = [one.weight for one in found]
    if not (weights and min(weights) >= 0 and abs(sum(weights) - 1) <= _SUM):
        raise InputError(
            f"the weights of a blend must be 0 or above and add up to 1, found {weights}"
        )
    return found


def _contributions(members: Sequence[Member]) -> Any:
    """Return the function for what tokens add to a logit; None if a part has none."""
    if any(one.scorer.contributions is None for one in members):
        return None

    def contributions(codes: np.ndarray, out: np.ndarray) -> None:
        own = np.empty(out.shape)
        out[:] = 0.0
        for weight, scorer in members:
            scorer.contributions(codes, own)
            out += weight * own

    return contributions


def _weights(members: Sequence[Member]) -> np.ndarray | None:
    """Return the mean of the parts' weights per token, float32; None if a part has none."""
    held = [one.scorer.weights for one in members]
    if any(one is None for one in held):
        return None
    mean = sum(
        one.weight * np.asarray(array, np.float64) for one, array in zip(members, held, strict=True)
    )
    return frozen(np.asarray(mean, dtype=np.float32))
