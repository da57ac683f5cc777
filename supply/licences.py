"""The licences of all packages that the project needs, as their own metadata state them.

python -m supply.licences make    writes docs/licences.md from the packages installed here
python -m supply.licences check   is every package that is needed here in that file?
"""

import re
import sys
from collections.abc import Iterable
from importlib.metadata import metadata
from pathlib import Path

from supply.closure import DEV_EXTRAS, IMAGE_EXTRAS, closure


PAGE = Path(__file__).parents[1] / "docs" / "licences.md"
# Licences that ask something of those who pass the package on, beyond keeping its notices.
COPYLEFT = re.compile(r"GPL|Mozilla|MPL|EPL|Eclipse Public|EUPL|CeCILL|CDDL", re.IGNORECASE)
PROPRIETARY = re.compile(r"proprietary|NVIDIA|EULA", re.IGNORECASE)
CLASSIFIER = "License :: "
MEANING = {
    "copyleft": "used, not distributed by us; whoever passes it on, as in an image, must offer its source",
    "proprietary": "used, not distributed by us; read its terms before you pass it on, as in an image",
    "unknown": "its metadata say nothing; read its page before you pass it on",
    "": "",
}
# Parts of packages, and what the project uses besides packages, under terms that no metadata show.
PARTS = Path(__file__).with_name("parts.md")


def licence(name: str) -> str:
    """What the metadata of an installed package say; "" where they say nothing.

    The SPDX expression if there is one, else the classifiers, else the first line of the free text.
    """
    stated = metadata(name)
    if expression := stated.get("License-Expression"):
        return expression.strip()
    classifiers = [line.split(" :: ")[-1] for line in stated.get_all("Classifier", []) if line.startswith(CLASSIFIER)]
    classifiers = [line for line in classifiers if line != "OSI Approved"]
    if classifiers:
        return ", ".join(sorted(set(classifiers)))
    line = (stated.get("License") or "").strip().partition("\n")[0]
    return "" if line.upper() == "UNKNOWN" else line[:60]


def kind(text: str) -> str:
    """A key of `MEANING`. Where a package may be had under one of several licences, the mildest counts."""
    if not text:
        return "unknown"
    choices = re.split(r"\bOR\b", text)
    for name, pattern in (("copyleft", COPYLEFT), ("proprietary", PROPRIETARY)):
        if all(pattern.search(choice) for choice in choices):
            return name
    return ""


def table(names: Iterable[str]) -> str:
    rows = ["| package | version | licence | |", "|---|---|---|---|"]
    for name in sorted(names):
        text = licence(name)
        found = kind(text)
        mark = f"**{found}**: {MEANING[found]}" if found else ""
        rows.append(
            f"| {name} | {metadata(name)['Version']} | {text or 'not stated'} | {mark} |".replace("|  |", "| |")
        )
    return "\n".join(rows) + "\n"


INTRODUCTION = """\
# Licences

llamafactory-gaze is under Apache-2.0. It contains no code of the packages below; pip fetches them from their owners.
The list is what their metadata state, written by `make licences` on Linux; it is no legal advice.

Marked are licences that ask more than to keep the notices. To run them asks nothing; to pass them on, as an image or an
installer that holds them does, asks what is written there.
"""


def page() -> str:
    image = closure(IMAGE_EXTRAS)
    sections = {
        "Weights, data and programs, inside packages and besides them": PARTS.read_text(encoding="utf-8"),
        "At run time, with the extras `captioning` and `samples`": table(image),
        "For development and tests, on top": table(closure(DEV_EXTRAS) - image),
    }
    return INTRODUCTION + "".join(f"\n## {title}\n\n{text}" for title, text in sections.items())


def listed() -> dict[str, str]:
    """Version by name, from the file."""
    rows = re.findall(r"^\| ([\w.-]+) \| (\d\S*) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return dict(rows)


def main(mode: str = "") -> int:
    if mode not in ("make", "check"):
        print(__doc__, file=sys.stderr)
        return 2
    if mode == "make":
        PAGE.write_text(page(), encoding="utf-8")
    missing = sorted(closure(DEV_EXTRAS) - set(listed()))
    print(f"Not in docs/licences.md: {', '.join(missing)}." if missing else f"{len(listed())} packages listed.")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
