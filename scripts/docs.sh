#!/bin/bash
# docs.sh: writes again the pages and samples that come from tables in the code (the target `docs`).
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
grep -rqs 'add_custom_target(docs\b' "$ROOT" --include=CMakeLists.txt --include='*.cmake' ||
    die -64 "this tree has no generated pages (no target 'docs')"
exec "$ROOT/scripts/build.sh" docs
