#!/usr/bin/env bash
# Runs the tests on CPU, in an environment of its own.
#
#   bash launch/test.sh               # everything but what is marked slow
#   bash launch/test.sh -m slow       # what is marked slow
#   bash launch/test.sh tests/masks   # one room
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh" test
workers="${MDM_TEST_WORKERS:-2}"
exec python -m pytest -q -n "$workers" --dist loadfile "$@"
