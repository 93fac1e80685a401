#!/bin/sh
# Fails when a file of the repository names a package registry's host: locks and documents must
# hold wherever packages come from. Brackets keep the patterns from finding themselves.
set -eu

cd "$(dirname "$0")/.."
hosts='py[p]i\.org|pythonhoste[d]\.|registry\.npmj[s]|deb\.debia[n]\.org|archive\.ubunt[u]\.com|crate[s]\.io'

# git grep: 0 found, 1 found nothing, more: could not look (as in an archive without .git).
set +e
git grep --untracked --line-number --extended-regexp "$hosts" -- .
found=$?
set -e
case $found in
    0) echo "These lines name a package registry." >&2 && exit 1 ;;
    1) echo "No file names a package registry." ;;
    *) grep -rnE "$hosts" .ci Makefile ./*.md pyproject.toml configs docs requirements src tests && exit 1 ||
        echo "No file names a package registry." ;;
esac
