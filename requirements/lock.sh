#!/bin/sh
# Makes the locks anew from pyproject.toml: run.txt for running, dev.txt for developing (the build
# backend included), docs.txt for what the site needs besides, fuzz.txt for what the fuzzers need
# besides, build.txt for the build backend alone (the container file). They agree with one
# another, and hold for Python 3.11 to 3.14 on Linux and macOS. Needs uv.
#
#     sh requirements/lock.sh [--upgrade | --upgrade-package NAME]
set -eu

cd "$(dirname "$0")/.."
command -v uv >/dev/null 2>&1 || {
    echo "Remaking the locks needs uv, which was not found: install it first." >&2
    exit 1
}

# Without headers, annotations and index addresses they name no machine and no host.
compile() {
    uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
        --no-header --no-annotate --no-emit-index-url --no-emit-find-links --only-binary :all: \
        "$@" >/dev/null
}

compile pyproject.toml --group dev --output-file requirements/dev.txt "$@"
compile pyproject.toml --constraints requirements/dev.txt --output-file requirements/run.txt "$@"
compile --group build --constraints requirements/dev.txt --output-file requirements/build.txt "$@"
# The same Sphinx on every Python, since each has warnings of its own, and here they are errors.
compile --group docs --constraints requirements/dev.txt --fork-strategy fewest \
    --output-file requirements/docs.txt "$@"
compile --group fuzz --constraints requirements/dev.txt --output-file requirements/fuzz.txt "$@"
