"""The findings about a log as data, as a page for people, and as the error that stops the pipeline."""

from dataclasses import asdict, dataclass
from typing import Any

from tasks.errors import DataCheckError


@dataclass(frozen=True)
class Finding:
    """One check: what it asks, whether it holds, how much it matters (error or warning), what was found."""

    check: str
    passed: bool
    severity: str
    found: str
    advice: str = ""


@dataclass(frozen=True)
class ValidationReport:
    """All findings about one log."""

    source: str
    n_rows: int
    ctr: float
    time_span: tuple[str, str]
    findings: list[Finding]
    rows_by_day: dict[str, int]
    missing_shares: dict[str, float]
    quarantine: dict[str, int]
    notes: list[str]

    @property
    def errors(self) -> list[Finding]:
        """Checks of severity error that failed."""
        return [
            finding
            for finding in self.findings
            if not finding.passed and finding.severity == "error"
        ]

    @property
    def warnings(self) -> list[Finding]:
        """Checks of severity warning that failed."""
        return [
            finding
            for finding in self.findings
            if not finding.passed and finding.severity == "warning"
        ]

    @property
    def passed(self) -> bool:
        """Whether the log may be used."""
        return not self.errors

    def raise_if_failed(self, page: str) -> None:
        """Raise DataCheckError, naming the first failed check and the report, if there is an error."""
        if self.errors:
            first, n_errors = self.errors[0], len(self.errors)
            more = f" (and {n_errors - 1} more)" if n_errors > 1 else ""
            raise DataCheckError(
                f"{first.check}: {first.found}{more}; {first.advice}; the full report is in {page}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        return {
            "passed": self.passed,
            "n_errors": len(self.errors),
            "n_warnings": len(self.warnings),
        } | asdict(self)

    def to_markdown(self) -> str:
        """Return the report as a page: the verdict, then failed checks, then everything else."""
        verdict = "May be used" if self.passed else "Must not be used"
        lines = [f"# {verdict}: {self.source}", ""]
        lines += [
            f"{self.n_rows:,} rows from {self.time_span[0]} to {self.time_span[1]} UTC, click rate {self.ctr:.4f}.",
            "",
        ]
        for title, findings in (("Errors", self.errors), ("Warnings", self.warnings)):
            if findings:
                lines += [f"## {title}", ""]
                lines += [
                    f"- **{item.check}**: {item.found}. {item.advice[:1].upper()}{item.advice[1:]}."
                    for item in findings
                ] + [""]
        lines += ["## All checks", "", "| check | result | found |", "| --- | --- | --- |"]
        lines += [
            f"| {item.check} | {'ok' if item.passed else item.severity} | {_cell(item.found)} |"
            for item in self.findings
        ]
        lines += ["", "## Rows by day", "", "| day | rows |", "| --- | ---: |"]
        lines += [f"| {day} | {n_rows:,} |" for day, n_rows in self.rows_by_day.items()]
        if self.missing_shares:
            lines += ["", "## Rows without a value", "", "| field | share |", "| --- | ---: |"]
            lines += [f"| {name} | {share:.1%} |" for name, share in self.missing_shares.items()]
        if self.quarantine:
            lines += ["", "## Quarantine", "", "| reason | rows |", "| --- | ---: |"]
            lines += [f"| {reason} | {n_rows:,} |" for reason, n_rows in self.quarantine.items()]
        if self.notes:
            lines += ["", "## Notes of the ingest", "", *(f"- {note}" for note in self.notes)]
        return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
