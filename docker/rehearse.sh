#!/usr/bin/env bash
# The steps of the Dockerfile for a CPU, without Docker: in a copy of what the image would hold, and a new virtual
# environment. Packages that VENV has in the pinned version are seen from there and not installed again.
#
#   docker/rehearse.sh VENV
set -euo pipefail
cd "$(dirname "$0")/.."

borrowed="$(cd "$1" && pwd)"
stage="$(mktemp -d)"
trap 'rm -rf "$stage"' EXIT

git ls-files --cached --others --exclude-standard -z | tar --create --null --files-from=- | tar --extract --directory="$stage"
"$borrowed/bin/python" -m venv "$stage/venv"
site="$("$stage/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
"$borrowed/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >"$site/borrowed.pth"

export DEVICE=cpu VENV="$stage/venv" TORCH_INDEX=""
for step in packages project check; do
  echo "== $step"
  "$stage/docker/install.sh" "$step"
done

# The default command of the image, as another folder's user would call it.
mkdir "$stage/work"
cd "$stage/work"
PATH="$stage/venv/bin:$PATH" HOME="$stage/work" llamafactory-gaze demo --help >/dev/null
echo "The image's command answers."
