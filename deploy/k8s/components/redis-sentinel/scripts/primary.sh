#!/bin/sh
# Writes this server's configuration: a primary if the sentinels say so, else a replica of whom they name.
#
#   SELF  PEERS  SENTINELS  names of this server, of all servers, of all sentinels
#   SET                     the sentinels' name of the servers
#   USERS                   file of the users of Redis
#   REDIS_PASSWORD_PROBE    asks servers and sentinels (user `probe`): letters and digits
#   REDIS_PASSWORD_REPLICA  copies from the primary (user `replica`)
#   GIVEN  WRITTEN  DATA    configuration to begin with, file to write, folder of the append-only file
#   TLS_CONF  TLS_OPTIONS   with TLS: more configuration, options of redis-cli (components/redis-tls)
#
# It never guesses: without two sentinels of one mind it waits, then fails, and is started again. The first start needs
# no exception: new sentinels know the first server's name from their own configuration.
set -eu

TRIES_MAX=150
PAUSE_SECONDS=2
ASK_SECONDS=3
AGREE_MIN=2

ask() {
  # shellcheck disable=SC2086 # options, separated by blanks
  REDISCLI_AUTH=$REDIS_PASSWORD_PROBE timeout "$ASK_SECONDS" redis-cli --user probe --no-auth-warning --raw \
    ${TLS_OPTIONS:-} "$@" 2>/dev/null || true
}

# Every sentinel's answer on a line of its own; an error message is none of the servers.
named() {
  for sentinel in $SENTINELS; do
    answer=$(ask -h "$sentinel" -p 26379 SENTINEL GET-MASTER-ADDR-BY-NAME "$SET" | head -n 1)
    for peer in $PEERS; do
      if [ "$peer" = "$answer" ]; then echo "$answer"; fi
    done
  done
}

# Down says nothing, empty says 0; what is loading or refuses to say has data, to be on the safe side.
another_has_data() {
  for peer in $PEERS; do
    if [ "$peer" = "$SELF" ]; then continue; fi
    keys=$(ask -h "$peer" -p 6379 DBSIZE)
    if [ -n "$keys" ] && [ "$keys" != 0 ]; then return 0; fi
  done
  return 1
}

write() {
  umask 077
  {
    cat "$GIVEN"
    if [ -n "${TLS_CONF:-}" ]; then cat "$TLS_CONF"; fi
    echo "replica-announce-ip $SELF"
    echo "aclfile $USERS"
    echo "masteruser replica"
    echo "masterauth $REDIS_PASSWORD_REPLICA"
    if [ "$1" != "$SELF" ]; then echo "replicaof $1 6379"; fi
  } >"$WRITTEN"
}

tries=0
while [ "$tries" -lt "$TRIES_MAX" ]; do
  primary=$(named | sort | uniq -c | awk -v least="$AGREE_MIN" '$1 >= least { print $2; exit }')
  if [ "$primary" = "$SELF" ] && [ ! -d "$DATA/appendonlydir" ] && another_has_data; then
    # This disk is new and the others have data: as their primary this server would empty them. They choose another.
    echo "named as primary, but without data; waiting for another one" >&2
  elif [ -n "$primary" ]; then
    echo "the primary is $primary" >&2
    write "$primary"
    exit 0
  fi
  tries=$((tries + 1))
  sleep "$PAUSE_SECONDS"
done
echo "the sentinels do not agree on a primary" >&2
exit 1
