"""The doctor knows the pairs that break, and says how to mend them."""

from importlib.metadata import PackageNotFoundError, version

from tasks.pipeline.doctor import examine


def test_this_environment_is_healthy():
    """What the lock installs passes every rule."""
    assert [finding.line for finding in examine() if not finding.ok] == []


def test_a_breaking_version_is_named_with_what_it_breaks_and_the_fix():
    """jupytext 1.17 is the version that turns JupyterLab's answers into errors."""
    findings = examine(lambda name: "1.17.2" if name == "jupytext" else version(name))
    (bad,) = [finding for finding in findings if not finding.ok]
    assert "answers 500" in bad.line
    assert "fix: make setup" in bad.line


def test_an_absent_package_is_named():
    """Nothing installed is a finding, not a crash."""

    def installed(name: str) -> str:
        if name == "bentoml":
            raise PackageNotFoundError(name)
        return version(name)

    assert any("bentoml is not installed" in finding.line for finding in examine(installed))
