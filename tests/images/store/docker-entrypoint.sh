#!/bin/sh
# `server /data`, `minio server /data` and `silo server /data` are the same.
case "${1:-}" in
  silo | minio) shift ;;
esac
exec /usr/bin/silo "$@"
