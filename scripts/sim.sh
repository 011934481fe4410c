#!/bin/bash
# sim.sh [--seeds N] [--from S] [--jobs J] [--all] [--seed N [--trace]] [--twice] [--defect NAME]: builds and runs
# the simulation; see docs/development.md.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
"$ROOT/scripts/setup.sh"
"$ROOT/scripts/build.sh" sim
exec "$ROOT/build/bin/sim" "$@"
