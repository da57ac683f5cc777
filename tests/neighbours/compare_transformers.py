"""transformers' own common model tests, on the stock class and on ours: does a test that passes there fail here?

    make neighbours TRANSFORMERS=/path/to/a/checkout/of/v5.5.4      (needs the package `parameterized`)

The tests are those of `ModelTesterMixin` and `GenerationTesterMixin`, on models and inputs of `transformers_common.py`.
Those that are about GPUs, or about a kernel that is not installed, are skipped by both.
"""

import argparse
import os
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from tests.neighbours.outcomes import harmed, print_differences, print_table, run_pytest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=Path, help="a checkout of transformers, of the installed version")
    checkout = parser.parse_args().checkout.resolve()
    if not (checkout / "tests/generation/test_utils.py").is_file():
        parser.error(f"{checkout} has no tests/generation/test_utils.py; PyPI's archive lacks it: name a git checkout.")
    os.environ["TRANSFORMERS"] = str(checkout)
    tests = import_module("tests.neighbours.transformers_common")
    with tempfile.TemporaryDirectory() as folder:
        found = run_pytest(Path(folder) / "report.xml", str(tests.__file__))
    runs = {
        label: {name.split("::")[1]: outcome for name, outcome in found.items() if f".{case.__name__}::" in name}
        for label, case in tests.CASES.items()
    }
    stock = runs["stock"]
    print_table("transformers' common tests", runs, tests.mixin_of)
    print_differences(runs)
    passed = sum(outcome.what == "passed" for outcome in stock.values())
    worse = harmed(runs)
    print(
        f"{len(stock)} tests, {passed} pass on the stock class, {len(worse)} of these fail on ours{':' * bool(worse)}"
    )
    print(*worse, sep="\n", end="\n" * bool(worse))
    for name, outcome in sorted(stock.items()):
        if outcome.is_failure:
            print(f"  fails on the stock class, too: {name} ({outcome.kind}): {tests.FAILS_ON_STOCK.get(name, '?')}")
    sys.exit(bool(worse) or not passed)


if __name__ == "__main__":
    main()
