#!/bin/bash
# docs.sh: writes again what comes from tables in the code: docs/formats.md and schemas/*.json, config/*.conf,
# the settings in docs/operations.md (the target `docs`).
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
exec "$ROOT/scripts/build.sh" docs
