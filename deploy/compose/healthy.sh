#!/usr/bin/env bash
# Is this container well?  The images' health check.
#
#   healthy.sh               GET /healthz answers 200 (METRICS_PORT, else HTTP_PORT)
#   healthy.sh COMMAND …     the command exits 0
#
# Docker before version 25 knows one interval for a container that starts and for one that runs.  A question every second
# makes `up --wait` quick, and costs a tenth of a core for ever.  So it is asked every second, and once the container was
# well, each answer waits WELL_PAUSE_S seconds before it looks.
set -u
well=${TMPDIR:-/tmp}/container-was-well
[ -e "$well" ] && sleep "${WELL_PAUSE_S:-9}"

answers() {
    exec 3<>"/dev/tcp/127.0.0.1/${METRICS_PORT:-$HTTP_PORT}" || return 1
    printf 'GET /healthz HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' >&3
    read -r -t 3 _ status _ <&3 && [ "$status" = 200 ]
}

if [ $# -gt 0 ]; then "$@" >/dev/null; else answers; fi && : >"$well" && exit 0
rm -f "$well"
exit 1
