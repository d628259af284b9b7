#!/bin/sh
# Starts the proxy: servers from VIRTUAL_HOST and certs/, then nginx in the foreground.
set -eu
sh /etc/mlflow-proxy/configure.sh
rm -f /run/*.sock  # of one that was killed
# The one that checks passwords; should it end, nobody could log in, so it comes back.
while true; do
  rm -f /run/verify.sock
  nginx -c /etc/mlflow-proxy/verify.conf -g 'daemon off;' || true
  sleep 1
done &
exec nginx -c /etc/mlflow-proxy/nginx.conf -g 'daemon off;'
