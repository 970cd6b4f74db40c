"""One exposure, and the line of JSON that it becomes.

Every line has the same keys with values of the same kind, so that Arrow, Athena and DuckDB read the
files without a schema: a single impression is a ranking of one.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from tasks.errors import ConfigError
from tasks.serving.candidates import Candidates

_DEFAULTS: tuple[Any, ...] = (None, "", "")  # of the last three fields
_N_VALUES = 12
_MAX_ITEMS = 1000  # of a list that are written; a schema lets no more count
MAX_LINE_BYTES = 1 << 20  # a longer line is dropped; readers take lines four times as long


class Exposure(NamedTuple):
    """The record of one answer; a plain tuple in this order also works, and is faster to create.

    Attributes
    ----------
    request_id, time_ns, call, variant, version
        The request, its time since 1970, ``predict`` or ``rank``, and what answered.
    unit_hash, forced
        The unit's salted hash; whether the variant was requested.
    seen
        The fields, or (fields of the context, :class:`~tasks.serving.candidates.Candidates`).
    p_click
        The probability, or one per candidate; the latter may be JSON already, a :class:`msgspec.Raw`.
    shadow
        Probability or probabilities by shadow model.
    experiment, unit_field
        The digest of the experiment, and where the unit was found.
    """

    request_id: str
    time_ns: int
    call: str
    variant: str
    version: str
    unit_hash: str
    forced: bool
    seen: Any
    p_click: Any
    shadow: Mapping[str, Any] | None = None
    experiment: str = ""
    unit_field: str = ""


class _Record(msgspec.Struct):
    """The keys of a line, in their order."""

    request_id: str
    time: datetime
    call: str
    experiment: str
    variant: str
    version: str
    unit_hash: str
    unit_field: str
    forced: bool
    fields: Mapping[str, Any]
    candidates: Mapping[str, Sequence[str | None]] | None
    p_click: list[float] | msgspec.Raw
    shadow: list[dict[str, Any]]


class LineEncoder:
    """Turns exposures into lines of JSON.

    Parameters
    ----------
    columns
        The fields to write; if empty, all.
    redact
        Fields never to write.

    Raises
    ------
    ConfigError
        If a field to redact is not in `columns`: a misspelled name would let its values through.

    Examples
    --------
    >>> encoder = LineEncoder(redact=["device_id"])
    >>> seen = {"device_id": "0a1b", "C14": 15706}
    >>> line = encoder.encode(Exposure("r1", 0, "predict", "champion", "3f2a", "9c", False, seen, 0.25))
    >>> line[line.index(b'"fields"') :]
    b'"fields":{"C14":"15706"},"candidates":null,"p_click":[0.25],"shadow":[]}'
    """

    def __init__(self, *, columns: Collection[str] = (), redact: Collection[str] = ()):
        from tasks.logs.value_text import ITEM_MARK, value_text  # the text that the model hashes

        if wrong := [name for name in redact if columns and name not in columns]:
            raise ConfigError(
                f"exposures: redact names {wrong[0]!r}, which is no field; known are {', '.join(columns)}"
            )
        self._text, self._mark = value_text, ITEM_MARK
        self._redact = frozenset(redact)
        self._columns = frozenset(columns) - self._redact if columns else None
        self._dump = msgspec.json.Encoder().encode

    def encode(self, exposure: tuple[Any, ...]) -> bytes:
        """Return one line, without its newline."""
        if len(exposure) < _N_VALUES:
            exposure += _DEFAULTS[len(exposure) - _N_VALUES :]
        request_id, time_ns, call, variant, version, unit_hash = exposure[:6]
        forced, seen, p_click, shadow, experiment, unit_field = exposure[6:]
        is_ranking = type(seen) is tuple
        fields = self._fields(seen[0] if is_ranking else seen)
        return self._dump(
            _Record(
                request_id,
                datetime.fromtimestamp(time_ns // 1000 / 1e6, UTC),
                call,
                experiment,
                variant,
                version,
                unit_hash,
                unit_field,
                forced,
                fields,
                self._columns_of(seen[1], fields) if is_ranking else None,
                _listed(p_click),
                _shadows(shadow) if shadow else [],
            )
        )

    def _fields(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the fields to write with their values as texts, unchanged if they are texts already."""
        row = self._to_write(row)
        if set(map(type, row.values())) == {str}:
            return row
        text = self._value
        return {n: value if type(value) is str else text(value) for n, value in row.items()}

    def _columns_of(
        self, candidates: Candidates, shared: Mapping[str, str]
    ) -> Mapping[str, Sequence[Any]]:
        """Return the same for candidates, by column; None stands for the text that the context has."""
        columns, texts = self._to_write(candidates.columns), candidates.texts
        if columns.keys() <= texts and columns.keys().isdisjoint(shared):
            return columns
        return {
            name: self._own(values, shared.get(name), are_texts=name in texts)
            for name, values in columns.items()
        }

    def _own(self, values: Sequence[Any], shared: str | None, *, are_texts: bool) -> Sequence[Any]:
        """Return the texts of a column, None where it is the context's: a small request must stay a small line."""
        texts = values if are_texts else list(map(self._remembering(), values))
        return texts if shared is None else [None if text == shared else text for text in texts]

    def _remembering(self) -> Callable[[Any], str]:
        """Return :meth:`_value`, computed once for a list that many candidates take from the context."""
        known: dict[int, str] = {}

        def text_of(value: Any) -> str:
            if type(value) is not list:
                return self._value(value)
            if id(value) not in known:
                known[id(value)] = self._value(value)
            return known[id(value)]

        return text_of

    def _to_write(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        names = fields.keys()
        if self._columns is not None:
            dropped: Collection[str] = names - self._columns
        else:
            dropped = names & self._redact
        if not dropped:
            return fields
        return {name: value for name, value in fields.items() if name not in dropped}

    def _value(self, value: Any) -> str:
        """Return a value's text, empty if it cannot be hashed; each item of a list is followed by a mark."""
        try:
            if type(value) is list:
                texts = dict.fromkeys(map(self._text, value[:_MAX_ITEMS]))
                return "".join([text + self._mark for text in texts if text])
            return self._text(value)
        except (TypeError, ValueError):
            return ""


def _shadows(shadow: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"model": name, "p_click": _listed(p_click)} for name, p_click in shadow.items()]


def _listed(p_click: Any) -> list[float] | msgspec.Raw:
    """Return the probabilities as a list; a single impression's is one."""
    kind = type(p_click)
    if kind is list or kind is msgspec.Raw:
        return p_click
    return [p_click] if kind is float or kind is int else list(map(float, p_click))
