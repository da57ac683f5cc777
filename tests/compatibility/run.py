"""Which versions fit together: a fast selection of the tests with the oldest and the newest of each supported package.

    make compatibility

Each package is laid over this environment in a folder of its own, one at a time. Versions just outside are started,
too: they must be refused in a sentence. The table goes into docs/compatibility.md, and as JSON beside it.
"""

import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from llamafactory_gaze.versions import TESTED


ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs/compatibility.md"
SELECTION = (
    "tests/modeling", "tests/integration/test_touchpoints.py", "tests/integration/test_data.py",
    "tests/integration/test_training.py",
)  # fmt: skip
WITHIN = {
    "transformers": ("==5.5.0", str(TESTED["transformers"])),
    "peft": ("==0.18.0", str(TESTED["peft"])),
}  # oldest, and the newest that pip finds in the range
OUTSIDE = {"llamafactory": "==0.9.4", "transformers": "==5.6.2", "peft": "==0.17.1"}
START = "from llamafactory_gaze.versions import check_versions; check_versions()"
PAGE = """# Compatibility

Tested by `make compatibility` on {date}, Python {python}, torch {torch}, with the rest as installed: {rest}.
Each row is one package in another version, with {selection}.
What is *refused* was started, and stopped with a sentence that names the version found and those tested;
`LLAMAFACTORY_GAZE_ALLOW_UNTESTED=1` makes it a warning.

| package | version | outcome |
|---|---|---|
{rows}

At each start every name of LLaMA-Factory and of transformers that the plug-in builds upon is looked up, private ones
and the order of parameters included (`llamafactory_gaze/integration/touchpoints.py`,
`llamafactory_gaze/modeling/expected.py`).
"""


def lay_over(folder: Path, requirement: str) -> dict[str, str]:
    """Installs a package alone into a folder; the environment in which it comes before the installed one."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), requirement]
    subprocess.run(command, check=True)
    path = os.pathsep.join([str(folder), str(ROOT)])
    return {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "DISABLE_VERSION_CHECK": "1"}


def found(package: str, environment: dict[str, str]) -> str:
    command = [sys.executable, "-c", f"from importlib.metadata import version; print(version({package!r}))"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def outcome_of_tests(environment: dict[str, str]) -> str:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *SELECTION]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip().splitlines()[-1].strip("= ") if done.stdout.strip() else done.stderr.strip()[-300:]


def outcome_of_start(environment: dict[str, str]) -> str:
    done = subprocess.run([sys.executable, "-c", START], env=environment, cwd=ROOT, capture_output=True, text=True)
    if done.returncode == 0:
        return "NOT REFUSED"
    return "refused: " + done.stderr.strip().splitlines()[-1].removeprefix("RuntimeError: ").split(". ")[0]


def main() -> None:
    console, rows = Console(), []
    jobs = [(package, wanted, outcome_of_tests) for package, both in WITHIN.items() for wanted in both]
    jobs += [(package, wanted, outcome_of_start) for package, wanted in OUTSIDE.items()]
    for package, wanted, run in jobs:
        with tempfile.TemporaryDirectory() as folder:
            environment = lay_over(Path(folder), package + wanted)
            row = {"package": package, "version": found(package, environment), "outcome": run(environment)}
        rows.append(row)
        console.print(*row.values(), soft_wrap=True)
    rest = {name: version(name) for name in ("llamafactory", "transformers", "peft", "accelerate", "trl", "datasets")}
    facts = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "python": sys.version.split()[0], "torch": version("torch")}
    DOCS.with_suffix(".json").write_text(json.dumps({**facts, "rest": rest, "rows": rows}, indent=2) + "\n")
    DOCS.write_text(
        PAGE.format(
            **facts,
            rest=", ".join(f"{name} {each}" for name, each in rest.items()),
            selection=", ".join(f"`{each}`" for each in SELECTION),
            rows="\n".join(f"| {' | '.join(row.values())} |" for row in rows),
        )
    )
    if any(" failed" in row["outcome"] or "error" in row["outcome"] or "NOT" in row["outcome"] for row in rows):
        sys.exit("Some versions do not fit.")


if __name__ == "__main__":
    main()
