#!/bin/sh
# Is this server of use: a primary, or a replica that follows one? Rollouts and disruptions wait for it.
set -eu

ask() {
  # shellcheck disable=SC2086 # options, separated by blanks
  REDISCLI_AUTH=$REDIS_PASSWORD_PROBE redis-cli --user probe --no-auth-warning --raw ${TLS_OPTIONS:-} \
    -h "${HERE:-127.0.0.1}" -p 6379 "$@"
}

# INFO answers while the data is still loading, PING does not.
[ "$(ask PING)" = PONG ]
ask INFO replication | grep -Eq '^(role:master|master_link_status:up)'
