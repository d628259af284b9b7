#!/bin/sh
# Starts the proxy: servers from VIRTUAL_HOST and certs/, then nginx in the foreground.
set -eu
sh /etc/mlflow-proxy/configure.sh
exec nginx -c /etc/mlflow-proxy/nginx.conf -g 'daemon off;'
