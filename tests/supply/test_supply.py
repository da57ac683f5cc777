"""Locks and licences: nothing that is needed is missing, nothing loose is in them, and CI installs from them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from supply import closure, licences, lock


ROOT = Path(__file__).parents[2]


def test_the_locks_hold_what_is_needed_here_and_nothing_else():
    assert lock.differences() == []


def test_the_image_s_lock_is_its_constraints_less_torch_and_what_is_compiled():
    """Also for machines unlike this one: names and versions, whatever their markers say."""
    pinned = lock.constraints()
    loose = {name for name in pinned if lock.WITH_TORCH.fullmatch(name)}
    locked = {each.name: each.version for each in lock.read(lock.LOCK)}
    only_gpu = {"flash-attn", "deepspeed", "hjson", "msgpack", "ninja", "py-cpuinfo", "einops"}
    assert {"torch", "torchvision", "torchaudio", "triton", "nvidia-cublas", "cuda-toolkit"} <= loose
    assert set(pinned) - set(locked) - loose - {"pip"} <= only_gpu
    assert {name: pinned[name] for name in locked if name in pinned} == {
        name: version for name, version in locked.items() if name in pinned
    }
    assert {each.name for each in lock.read(lock.LOCK) if each.wanted_here} <= set(pinned)


@pytest.mark.parametrize("path", [lock.LOCK, lock.DEV_LOCK])
def test_a_lock_names_no_place(path):
    lines = [line.strip(" \\") for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    for line in lines:
        assert re.fullmatch(r"--hash=sha256:[0-9a-f]{64}|[a-z0-9-]+==[\w.]+( ; .*)?", line), line
        assert "://" not in line and " @ " not in line
    assert len({each.name for each in lock.read(path)}) == len(lock.read(path))


def test_no_package_stands_in_both():
    assert not {each.name for each in lock.read(lock.LOCK)} & {each.name for each in lock.read(lock.DEV_LOCK)}


def test_a_line_without_a_hash_is_refused(tmp_path):
    path = tmp_path / "lock.txt"
    path.write_text("# title\na==1 \\\n    --hash=sha256:" + "0" * 64 + "\nb==2\n")
    with pytest.raises(ValueError, match="'b==2'"):
        lock.read(path)


def test_what_is_missing_and_what_is_too_much_is_named(tmp_path, monkeypatch):
    path = tmp_path / "lock.txt"
    text = lock.LOCK.read_text(encoding="utf-8")
    start, end = text.index("\nwrapt=="), text.index("\nxxhash==")
    changed = text[:start] + text[end:] + "unheard-of==1.0 \\\n    --hash=sha256:" + "0" * 64 + "\n"
    path.write_text(re.sub(r"\njinja2==\S+", "\njinja2==1.0", changed))
    monkeypatch.setattr(lock, "LOCK", path)
    assert lock.differences() == [
        f"jinja2 1.0: docker/constraints.txt says {lock.constraints()['jinja2']}",
        "wrapt is needed and not in lock.txt",
        "unheard-of is in lock.txt and not needed",
    ]


def test_pip_refuses_a_file_with_another_hash(tmp_path):
    """What the locks are for: the wheel is built here, and its lock names other bytes."""
    project = tmp_path / "thing"
    project.mkdir()
    (project / "pyproject.toml").write_text('[project]\nname = "thing-of-ours"\nversion = "1.0"\n')
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    wheel = [*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "-w", tmp_path, project]
    subprocess.run(wheel, check=True, capture_output=True)
    wrong = tmp_path / "lock.txt"
    wrong.write_text("thing-of-ours==1.0 --hash=sha256:" + "0" * 64 + "\n")
    install = [
        *pip,
        "install",
        "--no-index",
        "--no-cache-dir",
        "--find-links",
        tmp_path,
        "--require-hashes",
        "--no-deps",
    ]
    result = subprocess.run(
        [*install, "--target", tmp_path / "site", "-r", wrong], capture_output=True, text=True, check=False
    )
    assert result.returncode and "HASHES" in result.stderr + result.stdout
    assert not (tmp_path / "site").exists() or not list((tmp_path / "site").glob("thing*"))


def test_ci_and_image_install_by_hash_and_by_nothing_else():
    """What `make` would run for a new environment, as make itself says it; and what the image's step does."""
    make = shutil.which("make")
    if make is None:
        pytest.skip("no make")
    asked = [make, "--dry-run", "--always-make", "VENV=nowhere", "nowhere/.installed"]
    plan = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "docker/install.sh locked lock-dev.txt" in plan and "pip check" in plan
    for line in re.findall(r".*pip install.*", plan):
        assert "--no-deps" in line, line  # what stands in the locks, and nothing that pip finds by itself
    script = (ROOT / "docker" / "install.sh").read_text(encoding="utf-8")
    locked = script[script.index("\nlocked() {") : script.index("\npackages() {")]
    installs = re.findall(r"pip_install (.*)", locked)
    by_hash = [line for line in installs if line.startswith('"${hashes[@]}" --requirement')]
    assert len(by_hash) == 2 and "hashes=(--quiet --require-hashes --no-deps" in locked
    installs = [line for line in installs if line not in by_hash]
    loose = {word for line in installs for word in line.partition("#")[0].split() if re.fullmatch(r"[a-z]+", word)}
    assert loose == {"pip", "setuptools", "torch", "torchaudio", "torchvision"}
    assert '\n  locked "$@"\n' in script[script.index("\npackages() {") :]


def test_every_package_that_is_needed_has_its_licence_in_the_list():
    listed = licences.listed()
    assert closure.closure(closure.DEV_EXTRAS) <= set(listed)
    locked = {each.name: each.version for each in [*lock.read(lock.LOCK), *lock.read(lock.DEV_LOCK)]}
    assert {name: version for name, version in listed.items() if locked.get(name, version) != version} == {}


def test_no_licence_is_copied_wrongly_from_the_metadata():
    page = licences.PAGE.read_text(encoding="utf-8")
    for name in ("pyreadr", "numpy", "tqdm", "transformers"):
        assert f"| {name} | {licences.listed()[name]} | {licences.licence(name)} |" in page


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("MIT", ""),
        ("", "unknown"),
        ("AGPL-3.0-or-later", "copyleft"),
        ("MPL-2.0 AND MIT", "copyleft"),
        ("MIT OR GPL-2.0-only", ""),
        ("GNU Lesser General Public License v3 (LGPLv3)", "copyleft"),
        ("LicenseRef-NVIDIA-Proprietary", "proprietary"),
    ],
)
def test_licences_that_ask_for_more_are_marked(text, kind):
    assert licences.kind(text) == kind


def test_what_the_project_brings_with_it_is_never_unpickled():
    """No call in our code that could run what a file holds."""
    unsafe = re.compile(
        r"\b(pickle|joblib|dill|shelve|marshal)\b|torch\.load\(|allow_pickle\s*=\s*True|yaml\.(load|unsafe_load|full_load)\("
        r"|trust_remote_code\s*=\s*True|(?<![\w.])(eval|exec)\("
    )
    files = [*(ROOT / "llamafactory_gaze").rglob("*.py"), *(ROOT / "eval").rglob("*.py")]
    assert len(files) > 100
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in files
        for line in path.read_text(encoding="utf-8").splitlines()
        if unsafe.search(line)
    ]
    assert found == []
    recipes = [*(ROOT / "yaml_recipes").rglob("*.yaml")]
    assert recipes and not [path for path in recipes if re.search(r"trust_remote_code:\s*true", path.read_text())]
