#!/bin/sh
# Checks the model of the session protocol by spin; docs/model.md says what each macro does.
#
#     sh docs/model/check.sh [-DMACRO]...
#
# Exit 0: every reachable state was looked at and no assertion failed. Exit 1: one failed; the steps
# that lead there are printed. Needs spin and a C compiler.
set -eu

model=$(cd "$(dirname "$0")" && pwd)/session.pml
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

# spin writes the checker, a C program, into the folder that it is called in.
cp "$model" .
spin "$@" -a session.pml >generated || { cat generated; exit 2; }
${CC:-cc} -DSAFETY -DCOLLAPSE -o pan pan.c
# An end that waits for what the attacker never lets through is no fault of the protocol's: -E.
./pan -E -m100000 >found
grep -E 'assertion violated|states, stored|errors:' found | grep -v 'assertion violations'
! grep -q 'errors: 0' found || {
    ! grep -q 'Search not completed' found || exit 2
    exit 0
}
spin "$@" -t -T session.pml | sed '/trail ends/q'
exit 1
