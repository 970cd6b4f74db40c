"""A YAML file with the line of each key; what YAML lets pass silently is refused."""

import pytest

from tasks.errors import ConfigError
from tasks.storage.yaml_mapping import dotted, read_mapping


def read(folder, content):
    """Write a file and read it."""
    path = folder / "a.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_mapping(path, holds="a mapping of things")


def refusal(folder, content):
    """Return what is said of a file, without its folder."""
    with pytest.raises(ConfigError) as caught:
        read(folder, content)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{folder}/", "")


def test_every_key_and_item_knows_its_line(tmp_path):
    """In blocks and in braces."""
    found = read(tmp_path, "a: 1\nb:\n  c: [1,\n    2]\n  d: {e: 3}\n")
    lines = {dotted(path): place.rpartition(":")[2] for path, place in found.places.items()}
    assert lines == {
        "a": "1",
        "b": "2",
        "b.c": "3",
        "b.c[0]": "3",
        "b.c[1]": "4",
        "b.d": "5",
        "b.d.e": "5",
    }
    assert found.values == {"a": 1, "b": {"c": [1, 2], "d": {"e": 3}}}


def test_an_unknown_place_is_that_of_the_nearest_key_around_it(tmp_path):
    """What is missing has no line of its own."""
    found = read(tmp_path, "a: 1\nb:\n  c: 1\n")
    assert found.place(("b", "x", "y")).endswith("a.yaml:2")
    assert found.place(("z",)).endswith("a.yaml:1")


def test_anchors_and_merged_mappings_are_read_as_yaml_reads_them(tmp_path):
    """A merged key has the line where it stands; the mapping's own keys win, and are no duplicates."""
    found = read(tmp_path, "a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\nc: *a\n")
    assert found.values["b"] == {"x": 1, "y": 3}
    assert found.values["c"] == {"x": 1, "y": 2}
    places = {dotted(path): place.rpartition(":")[2] for path, place in found.places.items()}
    assert (places["b.x"], places["b.y"]) == ("1", "4")


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path):
    """Editors on Windows write one."""
    assert read(tmp_path, b"\xef\xbb\xbfa: 1\n").values == {"a": 1}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "a.yaml: expected a mapping of things, found nothing"),
        ("# only a comment\n", "found nothing"),
        ("- a\n- b\n", "found a list"),
        ("hello\n", "found only 'hello'"),
        ("a: 1\nb: 2\na: 3\n", "a.yaml:3: `a` is there twice, first in line 1; keep one"),
        ("a: {b: 1, b: 2}\n", "a.yaml:1: `a.b` is there twice"),
        ("a:\n  - {b: 1,\n     b: 2}\n", "a.yaml:3: `a[0].b` is there twice, first in line 2"),
        ("a: 1\n\tb: 2\n", "a.yaml:2: not valid YAML: a tab; indent with spaces"),
        ("a:\n\tb: 2\n", "a.yaml:2: not valid YAML: a tab; indent with spaces"),
        ("a: [1, 2\nb: 3\n", "a.yaml:2: not valid YAML: expected ',' or ']', but got ':' (what begins in line 1)"),
        ("a: 1\nb: 'x\n", "not valid YAML: found unexpected end of stream"),
        ("a: b: c\n", "a.yaml:1: not valid YAML: mapping values are not allowed here"),
        ("a: 1\n---\nb: 2\n", "not valid YAML: but found another document"),
        ("a: *x\n", "a.yaml:1: not valid YAML: found undefined alias 'x'"),
        ("a: !x 1\n", "a.yaml:1: not valid YAML: could not determine a constructor"),
        ("a: 1\n{b: 1}: 2\n", "a.yaml:2: the key a list or mapping is not text to YAML"),
        ("a: 1\non: 2\n", "a.yaml:2: the key on is not text to YAML (bool); put it in quotes"),
        ("a: 1\n~: 2\n", "the key ~ is not text to YAML (null)"),
        ("a: &a {b: *a}\n", "a.b refers to itself"),
        (b"a: 1\nb: caf\xe9\n", "a.yaml:2: not UTF-8 (byte 0xe9); save the file as UTF-8"),
        (b"a: 1\nb: \x00\n", "a.yaml:2: a character that YAML does not allow (U+0000); delete it"),
        ("a: " + "[" * 3000, "nested too deeply"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_line_with_its_place(tmp_path, content, said):
    """Whatever an editor, a merge or an export left."""
    assert said in refusal(tmp_path, content)


def test_a_few_lines_of_aliases_do_not_fill_the_memory(tmp_path):
    """Nine lines that stand for 10^9 values."""
    rows = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "too many values behind aliases" in refusal(tmp_path, "\n".join(rows))


def test_a_missing_file_and_a_folder_are_one_line(tmp_path):
    """With the reason of the system."""
    with pytest.raises(ConfigError, match=r"b\.yaml: cannot be read \(No such file"):
        read_mapping(tmp_path / "b.yaml", holds="a mapping")
    with pytest.raises(ConfigError, match="is a folder, expected a YAML file"):
        read_mapping(tmp_path, holds="a mapping")
