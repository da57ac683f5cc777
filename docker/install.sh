#!/usr/bin/env bash
# The steps of the Dockerfile. They also run without Docker; `make container` does so in CI.
#
#   docker/install.sh system     packages of Debian or Ubuntu, as root: WordNet; for a GPU also Python and a compiler
#   docker/install.sh packages   a virtual environment with the packages of docker/lock.txt, and torch
#   docker/install.sh locked [lock-dev.txt]   these alone, and those of another lock, into an environment that is there
#   docker/install.sh project    this clone in it, and WordNet for NLTK's METEOR
#   docker/install.sh check      do versions, packages and commands fit together?
#   docker/install.sh resolve    asks pip what `packages` would install, and whether all of it is pinned; installs nothing
#
# DEVICE=gpu|cpu (default: cpu) and VENV (default: .venv) are read from the environment. TORCH_INDEX is where torch for
# CPUs comes from; empty means PyPI, whose torch brings gigabytes of CUDA along.
set -euo pipefail
cd "$(dirname "$0")/.."

DEVICE="${DEVICE:-cpu}"
VENV="${VENV:-.venv}"
TORCH_INDEX="${TORCH_INDEX-https://download.pytorch.org/whl/cpu}"
PROJECT=".[captioning,samples]"
GPU_PACKAGES=(flash-attn deepspeed)

pip_install() {
  "$VENV/bin/python" -m pip install --disable-pip-version-check --constraint docker/constraints.txt "$@"
}

system() {
  local packages=(wordnet-base)
  if [ "$DEVICE" = gpu ]; then
    packages+=(g++ python3.12 python3.12-dev python3.12-venv)
  fi
  apt-get update
  apt-get install --yes --no-install-recommends "${packages[@]}"
  rm -rf /var/lib/apt/lists/*
}

# Every file of a package must have a hash that its lock names. The locks leave out torch, whose wheels for CPUs come from
# another index than those for GPUs; its version is pinned, and for a GPU those of the CUDA packages that it brings.
locked() {
  local lock hashes=(--quiet --require-hashes --no-deps --no-build-isolation)
  pip_install --quiet pip setuptools # builds the few packages that come as source
  pip_install "${hashes[@]}" --requirement docker/lock.txt
  if [ "$DEVICE" = cpu ] && [ -n "$TORCH_INDEX" ]; then
    pip_install --quiet --no-deps --index-url "$TORCH_INDEX" torch torchaudio torchvision
  else
    pip_install --quiet torch torchaudio torchvision
  fi
  for lock in "$@"; do # behind torch, which some need to be built
    pip_install "${hashes[@]}" --requirement "docker/$lock"
  done
}

packages() {
  [ -x "$VENV/bin/python" ] || python3 -m venv "$VENV"
  locked "$@"
  if [ "$DEVICE" = gpu ]; then
    # flash-attn is compiled against the torch that is installed; a prebuilt file from elsewhere would be unpinned.
    pip_install ninja
    FLASH_ATTENTION_FORCE_BUILD=TRUE pip_install --no-build-isolation "${GPU_PACKAGES[@]}"
  fi
}

project() {
  pip_install --quiet --no-deps --editable .
  "$VENV/bin/python" -m eval.wordnet
}

check() {
  "$VENV/bin/python" -m pip check
  "$VENV/bin/python" docker/pins.py installed
  "$VENV/bin/python" -c "from llamafactory_gaze.versions import check_versions; check_versions()"
  "$VENV/bin/llamafactory-gaze" demo --help >/dev/null
  if [ "$DEVICE" = gpu ]; then
    "$VENV/bin/python" -c "import flash_attn"
  fi
}

resolve() {
  local reports
  reports="$(mktemp -d)"
  pip_install --dry-run --ignore-installed --quiet --report "$reports/packages.json" "$PROJECT"
  if [ "$DEVICE" = gpu ]; then # needs torch in VENV, but neither a compiler nor a GPU
    FLASH_ATTENTION_SKIP_CUDA_BUILD=TRUE pip_install --dry-run --no-build-isolation --quiet \
      --report "$reports/gpu.json" "${GPU_PACKAGES[@]}"
  fi
  "$VENV/bin/python" docker/pins.py resolved "$reports"/*.json
  rm -r "$reports"
}

case "$DEVICE" in
  gpu | cpu) ;;
  *)
    echo "DEVICE is '$DEVICE': write gpu or cpu." >&2
    exit 2
    ;;
esac
case "${1:-}" in
  system | packages | locked | project | check | resolve) "$@" ;;
  *)
    echo "Unknown step '${1:-}': write docker/install.sh system, packages, locked, project, check or resolve." >&2
    exit 2
    ;;
esac
