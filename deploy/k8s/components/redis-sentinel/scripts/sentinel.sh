#!/bin/sh
# Writes this sentinel's configuration, or brings the one it keeps up to date.
#
#   SELF  PEERS  SENTINELS  names of this sentinel, of all servers, of all sentinels; the first server begins as primary
#   SET                     the sentinels' name of the servers
#   USERS                   file of the users of the sentinels
#   REDIS_PASSWORD_PROBE    asks the other sentinels (user `probe`): letters and digits
#   REDIS_PASSWORD_SENTINEL the sentinels' own, at the servers and among themselves (user `sentinel`)
#   GIVEN  WRITTEN          configuration to begin with; file that the sentinel keeps and rewrites
#   TLS_CONF  TLS_OPTIONS   with TLS: more configuration, options of redis-cli (components/redis-tls)
set -eu

ASK_SECONDS=3
QUORUM=2

known_to_others() {
  for sentinel in $SENTINELS; do
    if [ "$sentinel" = "$SELF" ]; then continue; fi
    # shellcheck disable=SC2086 # options, separated by blanks
    answer=$(REDISCLI_AUTH=$REDIS_PASSWORD_PROBE timeout "$ASK_SECONDS" \
      redis-cli --user probe --no-auth-warning --raw ${TLS_OPTIONS:-} \
      -h "$sentinel" -p 26379 SENTINEL GET-MASTER-ADDR-BY-NAME "$SET" 2>/dev/null | head -n 1 || true)
    for peer in $PEERS; do
      if [ "$peer" = "$answer" ]; then
        echo "$answer"
        return
      fi
    done
  done
}

umask 077
if [ -s "$WRITTEN" ]; then
  # What it learned stays; passwords may have been changed, and TLS switched on or off.
  sed -e '/^requirepass /d' -e '/^user /d' -e '/^aclfile /d' -e '/^tls-/d' -e '/^port /d' \
    -e '/^sentinel sentinel-/d' -e '/^sentinel auth-/d' "$WRITTEN" >"$WRITTEN.new"
else
  primary=$(known_to_others)
  first=${PEERS%% *}
  {
    cat "$GIVEN"
    echo "sentinel announce-ip $SELF"
    echo "sentinel monitor $SET ${primary:-$first} 6379 $QUORUM"
    echo "sentinel down-after-milliseconds $SET 2000"
    # After a split vote they try again in twice this time.
    echo "sentinel failover-timeout $SET 3000"
    echo "sentinel parallel-syncs $SET 1"
  } >"$WRITTEN.new"
fi
{
  if [ -n "${TLS_CONF:-}" ]; then cat "$TLS_CONF"; else echo "port 26379"; fi
  echo "aclfile $USERS"
  echo "sentinel sentinel-user sentinel"
  echo "sentinel sentinel-pass $REDIS_PASSWORD_SENTINEL"
  echo "sentinel auth-user $SET sentinel"
  echo "sentinel auth-pass $SET $REDIS_PASSWORD_SENTINEL"
} >>"$WRITTEN.new"
mv "$WRITTEN.new" "$WRITTEN"
