#!/bin/sh
# Grafana's own start, with a password of yours or with no login at all: never with its own admin/admin.
#
#   GF_SECURITY_ADMIN_PASSWORD   of the user admin, when the volume is new; empty: nobody can log in, anonymous viewers read
#   GRAFANA_RUN                  what the image starts (another one for tests)
set -eu

if [ -z "${GF_SECURITY_ADMIN_PASSWORD:-}" ]; then
  unset GF_SECURITY_ADMIN_PASSWORD
  # The form and passwords in requests, also for a volume whose users are of an earlier release; and no admin is made.
  export GF_AUTH_DISABLE_LOGIN_FORM=true GF_AUTH_BASIC_ENABLED=false GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION=true
elif [ "$GF_SECURITY_ADMIN_PASSWORD" = admin ]; then
  echo "GRAFANA_PASSWORD: choose another one than admin" >&2
  exit 1
fi
exec "${GRAFANA_RUN:-/run.sh}" "$@"
