"""notebooks/demo.ipynb from its first cell to its last, in an empty folder."""

import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient


ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "notebooks" / "demo.ipynb"


@pytest.fixture(scope="module")
def notebook() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def test_the_notebook_is_kept_without_results_and_says_that_all_is_simulated(notebook):
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code and all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert "simulated" in notebook.cells[0].source.lower()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_notebook_runs_and_its_model_follows_the_gaze(notebook, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # the kernel runs elsewhere
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}})
    executed = client.execute()

    said = "".join(  # a busy kernel hands one cell's words over in parts
        output.text for cell in executed.cells for output in cell.get("outputs", []) if output.get("name") == "stdout"
    )
    captions = [line.partition(": ")[2].strip() for line in said.splitlines() if line.startswith("the model says")]
    assert len(captions) == 2 and captions[0] != captions[1]

    output = tmp_path / "saves" / "notebook"
    results = json.loads((output / "report" / "results.json").read_text())
    assert results["data"]["n_rows"] == 80 and results["data"]["simulated"]
    for name in ("rouge1", "cs_f1"):
        assert results["metrics"][name]["ci95"][0] > 0, name
    pictures = [output for cell in executed.cells for output in cell.get("outputs", []) if "data" in output]
    assert sum("image/png" in output.data for output in pictures) == 2  # the gazes, and where the calibrator looks
    assert any("text/markdown" in output.data for output in pictures)
