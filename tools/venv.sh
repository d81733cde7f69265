#!/usr/bin/env bash
# Make a virtual environment, and make that possible where it is not: Debian ships python3 without its venv module.
# usage: tools/venv.sh PYTHON FOLDER
set -euo pipefail

python=$1
folder=$2

if ! command -v "$python" >/dev/null; then
    echo "make: no '$python' on this machine; install it with:  apt-get install python3" >&2
    exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "make: '$python' is $("$python" -V); Python 3.11 or later is needed (choose one with: make PYTHON=/path/to/python3.11 ...)" >&2
    exit 1
fi

create() {
    # A half-made environment of an earlier failure must not be mistaken for a whole one.
    rm -rf "$folder"
    "$python" -m venv "$folder"
}

echo "Making the environment $folder with $("$python" -V) ..."
if create >/dev/null 2>&1; then
    exit 0
fi

install=(apt-get install --yes --no-install-recommends python3-venv)
if ! command -v apt-get >/dev/null; then
    create || true # once more, for its own words
    echo "make: '$python -m venv' does not work here; install the venv and ensurepip modules of this Python" >&2
    exit 1
elif [ "$(id -u)" = 0 ]; then
    as_root=(env DEBIAN_FRONTEND=noninteractive)
elif sudo -n true 2>/dev/null; then
    as_root=(sudo -n env DEBIAN_FRONTEND=noninteractive)
else
    rm -rf "$folder"
    echo "make: this Python has no venv module; install it and call make again:" >&2
    echo "    sudo apt-get install python3-venv" >&2
    exit 1
fi
echo "This Python has no venv module: installing Debian's python3-venv ..."
"${as_root[@]}" apt-get update
"${as_root[@]}" "${install[@]}"
create
