"""Request bodies to rows: JSON objects, checked against the columns that the hash contract's schema names.

The fast decoder takes requests whose values are all text of limited length, finite numbers or null. Other
bodies are decoded again by the standard library, either to explain in one line what is wrong, or to
accept what is unusual but valid.
"""

import json
from collections.abc import Callable, Collection, Iterator
from typing import Annotated, Any, NoReturn

import msgspec

from bentos.ctr.scoring.candidate_cache import CachedRankingDecoder, Decoded
from bentos.ctr.scoring.value_faults import MAX_CHARS, fault, found, list_fault
from tasks.hashing.contract import HashContract
from tasks.logs.value_text import value_text
from tasks.schema import Schema
from tasks.schemas.nested import NestedFields
from tasks.serving.candidates import Candidates

_MAX_TEXTS = 16_384
_MAX_NAMES = 8  # of fields, in a message
_MAX_NAME_CHARS = 60  # of a field name quoted in a message

_Text = Annotated[str, msgspec.Meta(max_length=MAX_CHARS)]
_Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]  # beyond: digits are counted
_Value = _Text | _Integer | float | None
_Row = dict[str, _Value]


class _Ranking(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    context: _Row
    candidates: list[_Row]


class Refusal(Exception):
    """A request that gets no prediction: the HTTP status, and one line for the client.

    Attributes
    ----------
    status : int
        4xx, or 503 while nothing can be served.
    field : str or None
        The field whose value is the reason, if there is one.
    """

    def __init__(self, status: int, message: str, *, field: str | None = None):
        super().__init__(message)
        self.status, self.field = status, field


class _Texts(dict[int, str]):
    """Caches the texts of a bounded number of integers."""

    def __missing__(self, value: int) -> str:
        text = value_text(value)
        if len(self) >= _MAX_TEXTS:
            self.clear()
        self[value] = text
        return text


class RequestReader:
    """Reads the bodies of both calls; for one thread, such as the service's event loop.

    Integers become the text that the model hashes. Of duplicate keys the last one counts. Fields of a nested request, such as
    OpenRTB's, are found by their paths in the schema. Keys that are
    no column of the schema are counted and dropped, or refused, as its ``unknown_fields`` says. Columns
    that give no token (the label, the id) are known: they are checked and kept.

    Parameters
    ----------
    contract
        Its schema defines the columns.
    max_candidates
        Maximum per ranking.

    Attributes
    ----------
    unknown : int
        Keys dropped since the start.
    """

    def __init__(self, contract: HashContract, *, max_candidates: int = 1_000):
        schema = Schema.from_dict(contract.schema)
        self.unknown = 0
        self._max_candidates, self._schema = max_candidates, schema
        self._moment = contract.time_column if contract.reads_time else None
        self._fields, self._texts = frozenset(contract.fields), _Texts()
        paths = {spec.name: spec.source for spec in schema.fields if spec.source is not None}
        self._nested = NestedFields(paths) if paths else None
        self._lists = frozenset(spec.name for spec in schema.fields if spec.kind == "list")
        self._known = frozenset({*schema.required_columns, *filter(None, [schema.truth])})
        self._knows = self._known.issuperset
        self._decode_row = msgspec.json.Decoder(_Row).decode
        self._decode_ranking = msgspec.json.Decoder(_Ranking).decode
        categories = [spec.name for spec in schema.fields if spec.kind == "category"]
        self._catalogues = CachedRankingDecoder(_Row, categories)

    def read_impression(self, body: bytes) -> dict[str, Any]:
        """Return the impression in the body of ``/predict``, without unknown keys.

        Raises
        ------
        Refusal
            400 if the body is not one JSON object, 422 if it has no field, or a value is not text, a finite number, a boolean or
            null (of a list: a list of those), holds NUL or is too long; the message names the field.
        """
        row = _fast(self._decode_row, body)
        if row is None:
            row = self._checked(self._flat(_object(_load(body))))
        self._write_out(row)
        row = row if self._knows(row) else self._known_part(row)
        if self._fields.isdisjoint(row):
            raise self._no_field()
        return row

    def read_ranking(self, body: bytes) -> tuple[dict[str, Any], Candidates]:
        """Return context and candidates in the body of ``/rank``, without unknown keys.

        Raises
        ------
        Refusal
            As :meth:`read_impression`; 422 if there is no context, or no or too many candidates.
            The message names the candidate, counted from 0.
        """
        context, candidates = _fast(self._catalogues.decode, body) or self._read_rows(body)
        self._check_number(len(candidates))
        if not self._knows(context):
            context = self._known_part(context, "context: ")
        self._write_out(context)
        if self._fields.isdisjoint(context) and self._fields.isdisjoint(candidates.columns):
            raise self._no_field()
        return context, candidates

    def _flat(self, row: dict[str, Any]) -> dict[str, Any]:
        return row if self._nested is None else self._nested.flat(row)

    def _no_field(self) -> Refusal:
        names = [spec.name for spec in self._schema.fields]
        shown = ", ".join(names[:_MAX_NAMES]) + (", ..." if len(names) > _MAX_NAMES else "")
        hint = "" if self._nested is None else ", or a nested request that holds them"
        return Refusal(
            422, f"no field of {self._schema.name!r} is given; send some of {shown}{hint}"
        )

    def forget(self) -> Iterator[None]:
        """Release cached candidates in steps of about a millisecond, after this reader is replaced."""
        yield from self._catalogues.forget()

    def _read_rows(self, body: bytes) -> Decoded:
        ranking = _fast(self._decode_ranking, body)
        if ranking is None:
            context, rows = self._checked_ranking(_object(_load(body)))
        else:
            context, rows = ranking.context, ranking.candidates
            self._check_number(len(rows))
        if not all(map(self._knows, rows)):
            rows = [
                self._known_part(row, f"candidates[{number}]: ") for number, row in enumerate(rows)
            ]
        candidates = Candidates.of(context, rows)
        self._write_out_columns(candidates)
        return Decoded(context, candidates)

    def _write_out(self, row: dict[str, Any]) -> None:
        """Replace integers by their texts, once for scoring and the exposure log."""
        texts, fields = self._texts, self._fields
        for name, value in row.items():
            if type(value) is int and name in fields:
                row[name] = texts[value]

    def _write_out_columns(self, candidates: Candidates) -> None:
        """Do the same for candidates, and note which columns now hold only texts."""
        texts, columns = self._texts, candidates.columns
        for name in columns.keys() & self._fields:
            values = columns[name]
            kinds = set(map(type, values))
            if int in kinds:
                if len(kinds) == 1:
                    columns[name] = list(map(texts.__getitem__, values))
                else:
                    columns[name] = [texts[v] if type(v) is int else v for v in values]
                kinds = kinds - {int} | {str}
            if kinds == {str}:
                candidates.texts.add(name)

    def _checked_ranking(self, body: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        for name in ("context", "candidates"):
            if name not in body:
                raise _unfit(name, f"is missing; send {_FORM}")
        context, candidates = body["context"], body["candidates"]
        if type(context) is not dict:
            raise _unfit("context", f"expected an object, found {found(context)}")
        if type(candidates) is not list:
            raise _unfit("candidates", f"expected a list of objects, found {found(candidates)}")
        self._check_number(len(candidates))
        context = self._flat(context)
        for number, row in enumerate(candidates):
            if type(row) is not dict:
                raise _unfit(f"candidates[{number}]", f"expected an object, found {found(row)}")
            row = candidates[number] = self._flat(row)
            self._checked(row, f"candidates[{number}]: ")
        self._count_unknown(body.keys() - {"context", "candidates"})
        return self._checked(context, "context: "), candidates

    def _check_number(self, n_candidates: int) -> None:
        if not 0 < n_candidates <= self._max_candidates:
            raise _unfit(
                "candidates",
                f"expected 1 to {self._max_candidates} candidates, found {n_candidates}",
            )

    def _checked(self, row: dict[str, Any], where: str = "") -> dict[str, Any]:
        """Return the row; Refusal if a column's value is invalid."""
        for name, value in row.items():
            if name in self._known:
                if type(value) is list and name in self._lists:
                    wrong = list_fault(value)
                else:
                    wrong = fault(value, may_be_bool=name != self._moment)
                if wrong:
                    raise _unfit(name, wrong, where)
        return row

    def _known_part(self, row: dict[str, Any], where: str = "") -> dict[str, Any]:
        self._count_unknown(row.keys() - self._known, where)
        return {name: value for name, value in row.items() if name in self._known}

    def _count_unknown(self, names: Collection[str], where: str = "") -> None:
        """Count dropped keys; Refusal if the schema refuses them."""
        if names and self._schema.unknown_fields == "refuse":
            raise _unfit(
                min(names),
                f"is no column of the schema {self._schema.name!r}; leave it out",
                where,
            )
        self.unknown += len(names)


def _fast(decode: Callable[[bytes], Any], body: bytes) -> Any:
    """Return the result of the fast decoder, None if it does not accept the body."""
    if b"\\" in body and _NUL in body:  # searching for one byte is thirty times faster
        return None
    try:
        return decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _load(body: bytes) -> Any:
    """Return the decoded body; Refusal if it is not JSON."""
    try:
        return _decode(str(body, "utf-8"))
    except UnicodeDecodeError as error:
        reason = f"the body is not UTF-8 ({error.reason} at byte {error.start})"
    except RecursionError:
        reason = "the body is nested too deeply; send flat JSON objects"
    except ValueError as error:
        reason = f"the body is not JSON ({error}); send one JSON object"
    raise Refusal(400, reason)


def _object(value: Any) -> dict[str, Any]:
    if type(value) is dict:
        return value
    raise Refusal(400, f"the body is {found(value)}; send one JSON object, field names to values")


def _unfit(name: str, fault: str, where: str = "") -> Refusal:
    shown = name if len(name) <= _MAX_NAME_CHARS else f"{name[:_MAX_NAME_CHARS]}..."
    return Refusal(422, f"{where}field {shown!r}: {fault}", field=shown)


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON value")


_NUL = b"\\u0000"  # how JSON writes it
_FORM = '{"context": {...}, "candidates": [{...}, ...]}'
_decode = json.JSONDecoder(parse_constant=_refuse_constant).decode
