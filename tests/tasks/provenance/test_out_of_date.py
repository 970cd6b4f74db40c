"""The words for why a task runs again; whole pipelines are in tests/test_ideas.py."""

from tasks.pipeline.code_behind import code_behind
from tasks.provenance.out_of_date import _file_reasons, _param_reasons


def test_each_parameter_that_differs_is_named_with_both_values():
    """Nested ones by their path; long values are cut."""
    before = {"a": {"b": 1, "c": [1]}, "same": 1, "gone": None, "long": "x" * 100}
    now = {"a": {"b": 2, "c": [1]}, "same": 1, "new": True, "long": "y" * 100}
    found = list(_param_reasons(before, now))
    assert found[:2] == ["parameter a.b: 1 -> 2", "parameter gone is gone, was null"]
    assert found[2].startswith("parameter long: xxx")
    assert len(found[2]) < 160
    assert found[3] == "parameter new is new: true"


def test_each_file_that_differs_is_named_with_the_way_to_it(tmp_path, monkeypatch):
    """Changed, added and left files; more than five are counted."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipeline.yaml").write_text("")
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/a.py").write_text("from tasks import b\n")
    (tmp_path / "tasks/b.py").write_text("from tasks import c\n")
    (tmp_path / "tasks/c.py").write_text("")
    (tmp_path / "schema.yaml").write_text("")
    digest = code_behind("tasks/a.py", ["schema.yaml"])
    recorded = {"tasks/a.py": "0", "tasks/b.py": "0", "tasks/old.py": "0", "schema.yaml": "0"}
    stored = {"clicklab": {"code": recorded}}
    assert list(_file_reasons(stored, "before", digest, "tasks/a.py")) == [
        "schema.yaml changed (named in pipeline.yaml, in env.yaml or in the schema)",
        "tasks/a.py changed",
        "tasks/b.py changed (tasks/a.py > tasks/b.py)",
        "tasks/c.py is new behind it (tasks/a.py > tasks/b.py > tasks/c.py)",
        "tasks/old.py is no longer behind it",
    ]
    assert list(_file_reasons(stored, digest, digest, "tasks/a.py")) == []
    assert "not recorded" in next(_file_reasons({}, "before", digest, "tasks/a.py"))
    many = {f"tasks/{number}.py": "0" for number in range(9)}
    found = list(_file_reasons({"clicklab": {"code": many}}, "before", digest, "tasks/a.py"))
    assert found[-1] == "8 more files behind it changed"
