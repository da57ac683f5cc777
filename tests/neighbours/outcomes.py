"""What pytest says of each test, and how runs of the same tests under several settings compare.

The first of the runs is the one that the others are held against.
"""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Outcome(NamedTuple):
    """`what` is passed, skipped, failure, error, or absent where there was no such test; `kind` is that of an error."""

    what: str
    kind: str = ""

    @property
    def is_failure(self) -> bool:
        return self.what in ("failure", "error")

    def __str__(self) -> str:
        return f"{self.what} ({self.kind})" if self.kind else self.what


ABSENT = Outcome("absent")
Outcomes = dict[str, Outcome]  # by test, `module.Class::test`


def run_pytest(report: Path, *arguments: str, **options: Any) -> Outcomes:
    """Runs pytest in a process of its own; `options` are those of `subprocess.run`. Its failures are no error here."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *arguments]
    result = subprocess.run(command, text=True, capture_output=True, check=False, **options)
    if not report.exists():
        sys.exit(f"pytest did not come as far as a report: {(result.stdout + result.stderr)[-3000:]}")
    return read(report)


def read(report: Path) -> Outcomes:
    """The outcomes in a JUnit report."""
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):
        result = next((child for child in case if child.tag in ("failure", "error", "skipped")), None)
        outcome = Outcome("passed" if result is None else result.tag)
        if outcome.is_failure:
            outcome = outcome._replace(kind=result.get("message", "").split(":")[0].partition("\n")[0])
        found[f"{case.get('classname')}::{case.get('name')}"] = outcome
    return found


def names(runs: dict[str, Outcomes]) -> list[str]:
    return sorted({name for run in runs.values() for name in run})


def differences(runs: dict[str, Outcomes]) -> list[str]:
    """Tests whose outcome or kind of error is not the same in all runs."""
    return [name for name in names(runs) if len({run.get(name, ABSENT) for run in runs.values()}) > 1]


def harmed(runs: dict[str, Outcomes]) -> list[str]:
    """Tests that pass in the first run, and in another fail or are absent."""
    first, *others = runs.values()
    passed = [name for name, outcome in first.items() if outcome.what == "passed"]
    return sorted(name for name in passed if any(fails(run.get(name, ABSENT)) for run in others))


def fails(outcome: Outcome) -> bool:
    return outcome.is_failure or outcome is ABSENT


def print_table(title: str, runs: dict[str, Outcomes], group: Callable[[str], str]) -> None:
    """One row for each group of tests, one column for each run."""
    print(f"{title:44} {' '.join(f'{label:>16}' for label in runs)}   passed, skipped, failed")
    groups = Counter(group(name) for name in names(runs))
    for row in sorted(groups):
        cells = []
        for run in runs.values():
            outcomes = [outcome for name, outcome in run.items() if group(name) == row]
            tally = Counter("failed" if outcome.is_failure else outcome.what for outcome in outcomes)
            cells.append(f"{tally['passed']}, {tally['skipped']}, {tally['failed']}")
        print(f"{row:44} {' '.join(f'{cell:>16}' for cell in cells)}")


def print_differences(runs: dict[str, Outcomes]) -> None:
    for name in differences(runs):
        print(f"differs: {name}: " + ", ".join(f"{run.get(name, ABSENT)} {label}" for label, run in runs.items()))
