#!/bin/bash
# with-servers.sh DIR COMMAND...: runs COMMAND with the variables of the servers started in DIR.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ $# -ge 2 ] || die -64 "usage: with-servers.sh DIR COMMAND..."
[ -r "$1/env" ] || die "no servers run in $1: start them by scripts/servers.sh start $1"
. "$1/env"
shift
exec "$@"
