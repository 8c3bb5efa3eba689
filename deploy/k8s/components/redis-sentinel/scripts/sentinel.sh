#!/bin/sh
# Writes this sentinel's configuration, or brings the one it keeps up to date.
#
#   SELF  PEERS  SENTINELS  names of this sentinel, of all servers, of all sentinels; the first server begins as primary
#   SET                     the sentinels' name of the servers
#   REDIS_PASSWORD          of servers and sentinels: letters and digits
#   GIVEN  WRITTEN          configuration to begin with; file that the sentinel keeps and rewrites
set -eu

ASK_SECONDS=3
QUORUM=2

known_to_others() {
  for sentinel in $SENTINELS; do
    if [ "$sentinel" = "$SELF" ]; then continue; fi
    answer=$(REDISCLI_AUTH=$REDIS_PASSWORD timeout "$ASK_SECONDS" redis-cli --no-auth-warning --raw \
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
  # What it learned stays; the password may have been changed.
  sed -e '/^requirepass /d' -e '/^user default /d' -e '/^sentinel sentinel-pass /d' -e '/^sentinel auth-pass /d' \
    "$WRITTEN" >"$WRITTEN.new"
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
  echo "requirepass $REDIS_PASSWORD"
  echo "sentinel sentinel-pass $REDIS_PASSWORD"
  echo "sentinel auth-pass $SET $REDIS_PASSWORD"
} >>"$WRITTEN.new"
mv "$WRITTEN.new" "$WRITTEN"
