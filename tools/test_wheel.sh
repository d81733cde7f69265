#!/usr/bin/env bash
# Run the suite on what users install: the built wheel, in a fresh environment, away from the checkout.
# A file that is missing from the wheel, or an import that works only beside the sources, shows here and nowhere else.
# What is pure arithmetic on the same modules can tell nothing new there and is left out; every module is imported.
# usage: tools/test_wheel.sh PYTHON "FOLDER LEFT OUT ..." [pytest argument ...]
set -euo pipefail

python=$1
read -r -a pure <<<"$2"
shift 2
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

echo "Building the wheel and installing it away from the checkout ..."
rm -rf build/wheel
"$python" -m build --wheel --no-isolation --outdir build/wheel . >"$place/build.log" 2>&1 || {
    cat "$place/build.log"
    exit 1
}
"$python" -m venv "$place/venv"
install=("$place/venv/bin/python" -m pip install --disable-pip-version-check --quiet --no-deps)
"${install[@]}" --require-hashes --only-binary :all: -r requirements/dev.lock
"${install[@]}" --no-index build/wheel/*.whl

# A third party's project, installed beside the wheel and away from its sources, with the plug-in that pytest finds there.
cp -R examples/downstream "$place/downstream"
"${install[@]}" --no-index --no-build-isolation "$place/downstream"
rm -r "$place/downstream/src"
(cd "$place/downstream" && timeout 60 "$place/venv/bin/python" -m pytest -p no:cacheprovider)

# Everything but the package itself, so that there is only one `telemetry` to import: the installed one.
mkdir "$place/suite"
tar --create --exclude=./telemetry --exclude=./.venv --exclude=./.git --exclude=./build --exclude='./.*_cache' --exclude=__pycache__ . |
    tar --extract --directory "$place/suite"
cd "$place/suite"
TELEMETRY_EXPECT_INSTALLED=1 PYTHONDONTWRITEBYTECODE=1 PATH="$place/venv/bin:$PATH" \
    "$place/venv/bin/python" -m pytest -p no:cacheprovider "${pure[@]/#/--ignore=}" "$@"
