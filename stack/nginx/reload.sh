#!/bin/sh
# Takes new certificates or another VIRTUAL_HOST into use; nothing is interrupted.
set -eu
sh /etc/mlflow-proxy/configure.sh
nginx -t -q -c /etc/mlflow-proxy/nginx.conf
nginx -s reload -c /etc/mlflow-proxy/nginx.conf
