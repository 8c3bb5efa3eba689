#!/bin/sh
# Before a primary is stopped: let another one take over first. The variables are those of primary.sh.
set -eu

WAIT_SECONDS=20
ASK_SECONDS=3
AGREE_MIN=2

ask() {
  # shellcheck disable=SC2086 # options, separated by blanks
  REDISCLI_AUTH=$REDIS_PASSWORD_PROBE timeout "$ASK_SECONDS" redis-cli --user probe --no-auth-warning --raw \
    ${TLS_OPTIONS:-} "$@" 2>/dev/null || true
}

# Whoever starts now would ask most of the sentinels.
most_name_another() {
  agreed=0
  for sentinel in $SENTINELS; do
    named=$(ask -h "$sentinel" -p 26379 SENTINEL GET-MASTER-ADDR-BY-NAME "$SET" | head -n 1)
    for peer in $PEERS; do
      if [ "$peer" = "$named" ] && [ "$peer" != "$SELF" ]; then agreed=$((agreed + 1)); fi
    done
  done
  [ "$agreed" -ge "$AGREE_MIN" ]
}

if [ "$(ask -h "$SELF" -p 6379 ROLE | head -n 1)" != master ]; then exit 0; fi
# What is written from here on would be lost: the sentinels demote the old primary only later.
ask -h "$SELF" -p 6379 CLIENT PAUSE $((WAIT_SECONDS * 1000)) WRITE >/dev/null
for sentinel in $SENTINELS; do
  if [ "$(ask -h "$sentinel" -p 26379 SENTINEL FAILOVER "$SET")" = OK ]; then break; fi
done
waited=0
while [ "$waited" -lt "$WAIT_SECONDS" ] && ! most_name_another; do
  sleep 1
  waited=$((waited + 1))
done
