"""The comparison of runs, on a pytest file whose outcomes are known."""

from tests.neighbours.outcomes import Outcome, differences, harmed, print_table, run_pytest


SUITE = """
import unittest
import pytest

class TestIt(unittest.TestCase):
    def test_passes(self):
        pass
    def test_fails(self):
        raise KeyError("name: none such")
    def test_skipped(self):
        pytest.skip("no GPU here")
    def test_in_parts(self):
        for part in range(3):
            with self.subTest(part):
                self.assertNotEqual(part, 1)

@pytest.fixture
def broken():
    raise RuntimeError("broken")

def test_is_an_error(broken):
    pass
"""
PASSED, FAILED, SKIPPED = Outcome("passed"), Outcome("failure", "KeyError"), Outcome("skipped", "no GPU")


def test_what_pytest_reports_is_read(tmp_path):
    (tmp_path / "test_suite.py").write_text(SUITE)
    found = run_pytest(tmp_path / "report.xml", "test_suite.py", cwd=tmp_path)
    assert {name.split("::")[1]: outcome.what for name, outcome in found.items()} == {
        "test_passes": "passed", "test_fails": "failure", "test_skipped": "skipped", "test_in_parts": "failure",
        "test_is_an_error": "error",
    }  # fmt: skip
    assert found["test_suite.TestIt::test_fails"].kind == "KeyError"


def test_only_what_passed_before_can_be_harmed():
    stock = dict.fromkeys(("equal", "worse", "gone", "skipped"), PASSED) | {"never": FAILED, "better": FAILED}
    ours = stock | {"worse": FAILED, "better": PASSED, "skipped": SKIPPED, "never": Outcome("error", "KeyError")}
    del ours["gone"]
    assert harmed({"stock": stock, "same": stock, "ours": ours}) == ["gone", "worse"]
    assert differences({"stock": stock, "ours": ours}) == ["better", "gone", "never", "skipped", "worse"]
    assert not differences({"stock": stock, "same": dict(stock)})


def test_the_table_counts_by_group(capsys):
    stock = {"a.x": PASSED, "a.y": SKIPPED, "b.x": FAILED, "b.y": Outcome("error", "KeyError")}
    print_table("tests", {"stock": stock, "ours": stock | {"a.x": FAILED}}, lambda name: name.split(".")[0])
    header, *rows = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert header.startswith("tests stock ours ")
    assert rows == ["a 1, 1, 0 0, 1, 1", "b 0, 0, 2 0, 0, 2"]
