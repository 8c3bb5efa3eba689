#!/bin/sh
# Does this sentinel answer? The variables are those of sentinel.sh.
set -eu

# shellcheck disable=SC2086 # options, separated by blanks
REDISCLI_AUTH=$REDIS_PASSWORD_PROBE redis-cli --user probe --no-auth-warning ${TLS_OPTIONS:-} \
  -h "${HERE:-127.0.0.1}" -p 26379 PING | grep -q PONG
