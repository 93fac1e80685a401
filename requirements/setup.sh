#!/bin/sh
# Makes the virtual environment that every target of the Makefile works in, from the locks alone.
#
#     sh requirements/setup.sh [FOLDER [LOCK]]
#
# FOLDER is .venv unless given; LOCK (docs, fuzz) is installed besides dev.txt; PYTHON=… chooses the
# Python. Does nothing when the environment is there and current. What it was made from is written
# into it last of all, so that an interrupted set-up never counts as ready. POSIX sh, GNU or BSD tools.
set -eu

cd "$(dirname "$0")/.."
venv=${1:-.venv}
besides=${2:-}
python="$venv/bin/python"

# Settings that are right for other work of this user and wrong inside this environment.
unset PYTHONHOME PYTHONPATH VIRTUAL_ENV PIP_TARGET PIP_PREFIX PIP_REQUIREMENT PIP_CONSTRAINT
PIP_USER=0 PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1
export PIP_USER PIP_NO_INPUT PIP_DISABLE_PIP_VERSION_CHECK

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

# A Python counts only if it runs (a shim may be found and fail), is CPython, is no older than we
# support and no newer than $2, and has the modules that some builds leave out.
runs() {
    "$1" -c "import sys, ssl, sqlite3
sys.exit(not (sys.implementation.name == 'cpython' and (3, 11) <= sys.version_info[:2] <= $2))" \
        >/dev/null 2>&1
}

version() {
    "$1" -c 'import sys; print(sys.version)' 2>/dev/null || echo none
}

# Where it stands is part of it: an environment that was moved points at where it was.
locks_fingerprint() {
    { pwd && cat requirements/dev.txt; } | cksum
}

package_fingerprint() {
    cat pyproject.toml src/asynctls/_version.py | cksum
}

written() {
    cat "$venv/$1" 2>/dev/null || true
}

make_with_venv() {
    rm -rf "$venv"
    "$1" -m venv "$venv" >/dev/null 2>&1 && "$python" -m pip --version >/dev/null 2>&1
}

make_with_uv() {
    command -v uv >/dev/null 2>&1 || return 1
    rm -rf "$venv"
    uv venv --quiet --no-project --python "$1" "$venv" && runs "$python" '(3, 99)'
}

# Those that the locks were tried with come first; a newer one is better than none.
make_environment() {
    if [ -n "${PYTHON:-}" ]; then
        runs "$PYTHON" '(3, 99)' || fail "PYTHON=$PYTHON is no CPython 3.11 or newer that runs here."
        make_with_venv "$PYTHON" || make_with_uv "$PYTHON" ||
            fail "PYTHON=$PYTHON cannot make virtual environments: install its venv module, or uv."
        return
    fi
    found=
    for newest in '(3, 14)' '(3, 99)'; do
        for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do
            if runs "$candidate" "$newest"; then
                found=${found:-$candidate}
                make_with_venv "$candidate" && return
            fi
        done
    done
    make_with_uv "${found:->=3.11,<3.15}" && return
    rm -rf "$venv"
    [ -z "$found" ] ||
        fail "$found cannot make virtual environments: install its venv module (Debian and Ubuntu:" \
            "apt-get install python3-venv) or uv."
    fail "No Python 3.11 or newer that runs was found: install one (Debian and Ubuntu: apt-get" \
        "install python3 python3-venv; macOS: brew install python) or uv, or name one: make PYTHON=…"
}

# An environment that uv made has no pip. Only errors are shown: twice quiet.
install() {
    if "$python" -m pip --version >/dev/null 2>&1; then
        "$python" -m pip install --quiet --quiet "$@"
    else
        uv pip install --quiet --python "$python" "$@"
    fi
}

install_package() {
    rm -f "$venv/made-from-package"
    install --no-build-isolation --no-deps --editable . || fail "The package could not be installed."
    package_fingerprint >"$venv/made-from-package"
}

if [ -e "$venv" ] && [ ! -e "$venv/pyvenv.cfg" ] && [ ! -e "$venv/made-from-locks" ]; then
    rmdir "$venv" 2>/dev/null || fail "$venv is in the way and is no virtual environment: move it."
fi

current=yes
[ "$(written made-from-locks)" = "$(locks_fingerprint)" ] || current=no
runs "$python" '(3, 99)' || current=no
if [ -n "${PYTHON:-}" ] && [ "$(version "$PYTHON")" != "$(version "$python")" ]; then
    current=no
fi

if [ $current = no ]; then
    echo "Setting up $venv (once, about half a minute) …" >&2
    make_environment
    # Wheels alone: what builds a source archive would come from outside the lock.
    install --require-hashes --only-binary :all: -r requirements/dev.txt ||
        fail "The locked packages could not be installed: the lines above say why."
    locks_fingerprint >"$venv/made-from-locks"
    install_package
    echo "$venv is ready ($("$python" --version))." >&2
elif [ "$(written made-from-package)" != "$(package_fingerprint)" ]; then
    install_package
fi

if [ -n "$besides" ] &&
    [ "$(written "made-from-$besides")" != "$(cksum <"requirements/$besides.txt")" ]; then
    echo "Adding requirements/$besides.txt to $venv (once) …" >&2
    install --require-hashes --only-binary :all: -r "requirements/$besides.txt" ||
        fail "The locked packages could not be installed: the lines above say why."
    cksum <"requirements/$besides.txt" >"$venv/made-from-$besides"
fi
