"""Which versions fit together: a fast selection of the tests with the oldest and the newest of each supported package.

    make compatibility

Each package is laid over this environment in a folder of its own, one at a time. Versions just outside are started,
too: they must be refused in a sentence. The table goes into docs/compatibility.md, and as JSON beside it.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import distributions, version
from pathlib import Path

from rich.console import Console

from llamafactory_gaze.versions import TESTED
from supply.lock import WITH_TORCH


ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs/compatibility.md"
SELECTION = (
    "tests/modeling", "tests/integration/test_touchpoints.py", "tests/integration/test_data.py",
    "tests/integration/test_training.py",
)  # fmt: skip
# The oldest of each package; the newest that pip finds in its range is looked for as well, but for torch, of which pip
# would take gigabytes for the version that is installed.
WITHIN = {
    "transformers": [f"transformers{TESTED['transformers']}"],
    "peft": ["peft==0.18.0", f"peft{TESTED['peft']}"],
    "torch": ["torch==2.6.0 torchvision==0.21.0 torchaudio==2.6.0"],
}
OUTSIDE = {
    "llamafactory": ["llamafactory==0.9.4"],
    "transformers": ["transformers==5.5.3", "transformers==5.6.2"],
    "peft": ["peft==0.17.1"],
}
BAD = re.compile(r"failed|error|NOT REFUSED")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "DISABLE_VERSION_CHECK": "1"}
START = "from llamafactory_gaze.versions import check_versions; check_versions()"
SHOWN = ("llamafactory", "transformers", "peft", "torch", "accelerate", "trl", "datasets", "deepspeed")
PAGE = """# Compatibility

Tested by `make compatibility` on {date}, Linux, Python {python}, on a CPU, with {selection}.
Installed were {installed}; each row is one package in another version, the rest as installed.
What is *refused* was started, and stopped with a sentence that names the version found and those tested;
`LLAMAFACTORY_GAZE_ALLOW_UNTESTED=1` makes it a warning.

| package | version | outcome |
|---|---|---|
{rows}

At each start every name of LLaMA-Factory and of transformers that the plug-in builds upon is looked up, private ones
and the order of parameters included (`llamafactory_gaze/integration/touchpoints.py`,
`llamafactory_gaze/modeling/expected.py`).
"""


def lay_over(folder: Path, wanted: str) -> dict[str, str]:
    """Installs packages into a folder; the environment in which they come before the installed ones.

    torch brings libraries of its own version along; everything else stays as it is installed.
    """
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder)]
    if wanted.startswith("torch"):
        kept = {each.metadata["Name"].lower(): each.version for each in distributions()}
        lines = [f"{name}=={of}" for name, of in kept.items() if name != "sympy" and not WITH_TORCH.fullmatch(name)]
        constraints = folder.with_suffix(".txt")
        constraints.write_text("\n".join(lines))
        install += ["--constraint", str(constraints)]
    else:
        install += ["--no-deps"]
    subprocess.run([*install, *wanted.split()], check=True)
    return {**ENVIRONMENT, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}


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
    installed = {"package": "all", "version": "as installed", "outcome": outcome_of_tests(ENVIRONMENT)}

    def add(row: dict[str, str]) -> None:
        rows.append(row)
        console.print(*row.values(), soft_wrap=True)

    add(installed)
    jobs = [(package, wanted, outcome_of_tests) for package, both in WITHIN.items() for wanted in both]
    jobs += [(package, wanted, outcome_of_start) for package, one in OUTSIDE.items() for wanted in one]
    for package, wanted, run in jobs:
        with tempfile.TemporaryDirectory() as folder:
            environment = lay_over(Path(folder) / "packages", wanted)
            of = found(package, environment)
            same = of == version(package)
            add({"package": package, "version": of, "outcome": "as installed" if same else run(environment)})
    rest = {name: version(name) for name in SHOWN}
    facts = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "python": sys.version.split()[0]}
    DOCS.with_suffix(".json").write_text(json.dumps({**facts, "installed": rest, "rows": rows}, indent=2) + "\n")
    DOCS.write_text(
        PAGE.format(
            **facts,
            installed=", ".join(f"{name} {each}" for name, each in rest.items()),
            selection=", ".join(f"`{each}`" for each in SELECTION),
            rows="\n".join(f"| {' | '.join(row.values())} |" for row in rows),
        )
    )
    if any(BAD.search(row["outcome"]) for row in rows):
        sys.exit("Some versions do not fit.")


if __name__ == "__main__":
    main()
