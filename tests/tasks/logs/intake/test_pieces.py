"""A source cut into pieces: nothing twice, nothing left out."""

import gzip

import pytest

from tasks.errors import InputError
from tasks.logs.intake.csv_rows import cut_at_lines
from tasks.logs.intake.pieces import cut_source
from tests.logs import OTHER_TEAM, SMALL

KNOBS = {"min_bytes": 100, "block_bytes": 64}


def cut(source, schema=SMALL, n_pieces=4, **knobs):
    return cut_source(str(source), schema, lambda _: None, n_pieces=n_pieces, **KNOBS | knobs)


def test_small_files_share_a_piece_and_a_large_one_is_divided(tmp_path):
    """In order; spans are whole blocks, and meet."""
    for name, size in {"a": 30, "b": 90, "c": 900, "d": 10}.items():
        (tmp_path / f"{name}.csv").write_bytes(b"x\n" * (size // 2))
    pieces = cut(tmp_path, n_pieces=100)
    assert [[file.name for file in piece.files] for piece in pieces] == [
        ["a.csv", "b.csv"],
        *[["c.csv"]] * 8,
        ["d.csv"],
    ]
    spans = [piece.span for piece in pieces[1:-1]]
    assert spans == [(at, min(at + 128, 900)) for at in range(0, 900, 128)]
    assert [piece.number for piece in pieces] == list(range(10))
    assert pieces[0].span is None


@pytest.mark.parametrize(
    "content",
    [b"PAR1" + b"x\n" * 500, gzip.compress(bytes(3000), 0), b"x" * 2000, b"BZh91AY&SY" + b"\n" * 999],
    ids=["Parquet", "packed", "a long first line", "bzip2"],
)  # fmt: skip
def test_what_is_not_lines_is_read_whole(content, tmp_path):
    """However large."""
    (tmp_path / "a.csv").write_bytes(content)
    assert [piece.span for piece in cut(tmp_path)] == [None]


@pytest.mark.parametrize("name", ["a.jsonl", "a.gz"])
def test_so_is_what_is_named_so(name, tmp_path):
    """JSON lines, and what is not what its name says, which the reader will tell."""
    (tmp_path / name).write_bytes(b"x\n" * 900)
    assert [piece.span for piece in cut(tmp_path)] == [None]


def test_one_piece_and_simulated_logs(tmp_path):
    """As in one process."""
    (tmp_path / "a.csv").write_bytes(b"x\n" * 900)
    assert [piece.span for piece in cut(tmp_path, n_pieces=1)] == [None]
    assert [piece.files for piece in cut("sim://avazu?rows=9", OTHER_TEAM)] == [()]
    with pytest.raises(InputError, match="no such file"):
        cut(tmp_path / "gone")


@pytest.mark.parametrize("block_bytes", [1, 7, 64, 1000])
def test_blocks_of_spans_are_those_of_the_whole(block_bytes, tmp_path):
    """Lines of all lengths, with and without a last line break."""
    for end in (b"", b"\n"):
        path = tmp_path / "a.csv"
        path.write_bytes(b"\n".join(b"x" * (n * n % 90) for n in range(60)) + end)
        size = path.stat().st_size
        with path.open("rb") as file:
            whole = list(cut_at_lines(file, "a", block_bytes))
        step = 3 * block_bytes
        found = []
        for at in range(0, size, step):
            with path.open("rb") as file:
                found += cut_at_lines(file, "a", block_bytes, (at, min(at + step, size)))
        assert found == whole
