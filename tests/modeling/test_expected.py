"""What the model builds upon in transformers stands in one table, and what is missing there is named."""

import ast
from pathlib import Path

import pytest
from packaging.version import Version

from llamafactory_gaze import modeling
from llamafactory_gaze.modeling import expected
from llamafactory_gaze.versions import TESTED, has


def test_every_import_from_within_transformers_stands_in_the_table():
    imported = set()
    for path in Path(modeling.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("transformers."):
                imported |= {(node.module, alias.name) for alias in node.names}
    known = {(m, n.split("(")[0].split(".")[0]) for m, names in expected.EXPECTED.items() for n in names}
    assert imported and {(m, n) for m, n in imported if n not in CLASSES} <= known


CLASSES = {"Qwen2_5_VLVisionConfig", "Qwen2_5_VLForConditionalGeneration", "Qwen2_5_VLModel"}


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("Qwen2_5_VLModel.get_rope_index(input_ids, mm_token_type_ids)", True),
        ("Qwen2_5_VLModel.get_rope_index(mm_token_type_ids, input_ids)", False),
        ("Qwen2_5_VLModel.gone", False),
    ],
)
def test_names_and_the_order_of_parameters_are_looked_up(name, there):
    assert has(expected.QWEN, name) is there
    assert not has("transformers.no_such_module", name)


def test_what_is_missing_is_named_with_versions(monkeypatch):
    monkeypatch.setitem(expected.EXPECTED, "transformers.utils.generic", ("merge_with_config_defaults", "gone"))
    with pytest.raises(RuntimeError, match=r"transformers\.utils\.generic\.gone, as in .*5\.5\.4; version 5\.5"):
        expected.check_transformers()


def test_tested_ranges_hold_the_versions_at_both_ends():
    assert Version("5.5.3") not in TESTED["transformers"] and Version("5.5.4") in TESTED["transformers"]
    assert Version("5.6.0") not in TESTED["transformers"] and Version("0.9.4") not in TESTED["llamafactory"]
    setup = (Path(modeling.__file__).parents[2] / "setup.py").read_text()
    for package in TESTED:
        declared = next(line for line in setup.splitlines() if line.strip().startswith(f'"{package}') and "=" in line)
        assert str(TESTED[package]) == ",".join(sorted(declared.split('"')[1].removeprefix(package).split(",")))
