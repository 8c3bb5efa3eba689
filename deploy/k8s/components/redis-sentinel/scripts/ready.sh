#!/bin/sh
# Is this server of use: a primary, or a replica that follows one? Rollouts and disruptions wait for it.
set -eu

ask() {
  REDISCLI_AUTH=$REDIS_PASSWORD redis-cli -h "${HERE:-127.0.0.1}" -p 6379 --no-auth-warning --raw "$@"
}

# INFO answers while the data is still loading, PING does not.
[ "$(ask PING)" = PONG ]
ask INFO replication | grep -Eq '^(role:master|master_link_status:up)'
