"""The LaTeX tables hold the figures of the results in columns that fit; nothing of the user's is taken for LaTeX."""

from __future__ import annotations

import json
import re

import pytest

from eval.metrics import HEADLINE
from eval.report.latex import escape
from tests.eval.comparing import compare


pytestmark = pytest.mark.usefixtures("quick_metrics")


def tables(text):
    """Rows of cells of each tabular."""
    found = []
    for body in re.findall(r"\\begin\{tabular\}\{l(r+)\}(.*?)\\end\{tabular\}", text, re.DOTALL):
        assert len(body[0]) == len(HEADLINE)
        lines = [line for line in body[1].splitlines() if line.endswith(r"\\")]
        found.append([[cell.strip() for cell in re.split(r"(?<!\\)&", line.removesuffix(r"\\"))] for line in lines])
    return found


def balanced(text):
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", text):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    return depth == 0


def test_tables_in_the_papers_layout(study):
    names = [f"{name}={study.file(name)}" for name in ("baseline", "injected", "off")]
    _, results = compare(study.folder / "report", *names, "--dataset", study.dataset)
    text = (study.folder / "report" / "tables.tex").read_text()
    first, second = tables(text)
    assert all(len(row) == 8 for row in first + second) and balanced(text)
    assert first[0] == ["", "METEOR", "ROUGE-L", "ROUGE-2", "ROUGE-1", "CS-F1", "CS-Recall", "CS-Precision"]
    assert [row[0] for row in first[1:]] == [
        *("Baseline", "Injected", r"\quad Diff (\%)", r"\quad $p$"),
        *("Off", r"\quad Diff (\%)", r"\quad $p$"),
    ]
    entry = results["systems"]["injected"]["metrics"]["rougeL"]
    assert first[1][2] == f"{entry['base']:.2f}" and first[2][2] == rf"\textbf{{{entry['new']:.2f}}}"
    assert first[3][2].startswith(f"${entry['pct']:+.1f}$\\%")
    for row, system in ((3, "injected"), (6, "off")):
        for cell, name in zip(first[row][1:], HEADLINE, strict=True):
            p = results["systems"][system]["metrics"][name]["p_holm"]
            assert cell.endswith("$^*$") == (p is not None and p < 0.05)
    assert [row[0] for row in second[1:5]] == [r"\emph{Injected}", "Abstraction", "Object", "Social"]
    assert second[2][2].startswith(f"${results['categories']['Abstraction']['rougeL']['pct']:+.1f}$\\%")
    assert "24 of 6 images by 4 participants" in text and "Simulated" not in text
    assert "clustered by image and participant" in text and "METEOR: meteor" in text


def test_hostile_names_and_simulated_data(study):
    hostile = r"50% & _x_ {\input{a}} ~^$#"
    for row in study.rows:
        row["category"] = hostile
    study.write()
    names = [f"{name}={study.file(name)}" for name in ("baseline", "injected")]
    compare(
        study.folder / "report", *names, "--dataset", study.dataset, "--simulated", hostile, "--title", f"a\n{hostile}"
    )
    text = (study.folder / "report" / "tables.tex").read_text()
    assert r"\input" not in "".join(line for line in text.splitlines() if not line.startswith("%"))
    assert text.count(r"50\% \& \_x\_ \{\textbackslash{}input\{a\}\} \textasciitilde{}\textasciicircum{}\$\#") == 3
    assert balanced(text) and text.count(r"\textbf{Simulated data.}") == 2
    assert len(tables(text)[1]) == 2


def test_other_letters_stay():
    assert escape("Café\n<b>") == r"Café \textless{}b\textgreater{}"


def test_names_are_no_arguments_of_the_row_before_them():
    assert escape("[2cm] *") == "{[}2cm] {*}"


def test_metrics_that_could_not_run_are_dashes(study, monkeypatch):
    from tests.eval.comparing import unavailable

    monkeypatch.setattr("eval.metrics.meteor.NltkMeteor", unavailable)
    names = [f"{name}={study.file(name)}" for name in ("baseline", "injected")]
    compare(study.folder / "report", *names, "--dataset", study.dataset)
    text = (study.folder / "report" / "tables.tex").read_text()
    assert [row[1] for row in tables(text)[0][1:]] == ["--"] * 4 and "METEOR: could not run" in text
    json.loads((study.folder / "report" / "results.json").read_text())
