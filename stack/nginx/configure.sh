#!/bin/sh
# Writes /run/mlflow-proxy/servers.conf: one server for every name of VIRTUAL_HOST.
# After a change of certs/:  docker compose exec proxy sh /etc/mlflow-proxy/reload.sh
set -eu
certs=/etc/nginx/certs
out=/run/mlflow-proxy
mkdir -p "$out"

# A name that is nginx's syntax, or that names another file, would be an instruction.
names=$(printf '%s' "$VIRTUAL_HOST" | tr 'A-Z,' 'a-z\n' | tr -d ' \t')
bad=$(printf '%s\n' "$names" | grep -vxE '[a-z0-9]([a-z0-9.-]*[a-z0-9])?|' | grep -v '^$' | head -n 1 || true)
if [ -n "$bad" ]; then
  echo "VIRTUAL_HOST holds '$bad', which is not a host name: give names like mlflow.lab,localhost" >&2
  exit 1
fi
if [ -z "$names" ]; then
  echo "VIRTUAL_HOST is empty: give the names that the server is called by" >&2
  exit 1
fi

plain=proxy.internal
secure=
for name in $names; do
  if [ -s "$certs/$name.crt" ] && [ -s "$certs/$name.key" ]; then
    secure="$secure $name"
  elif [ -e "$certs/$name.crt" ] || [ -e "$certs/$name.key" ]; then
    # Without it the name would be served readable, and nobody would notice.
    echo "error: certs/ holds half a certificate of $name: NAME.crt and NAME.key are both needed" >&2
    exit 1
  else
    plain="$plain $name"
  fi
done

{
  echo "server { listen 80; server_name $plain; include /etc/mlflow-proxy/server.conf; }"
  if [ -n "$secure" ]; then
    echo "server { listen 443 ssl default_server; ssl_reject_handshake on; }"
  fi
  for name in $secure; do
    echo "server { listen 80; server_name $name; return 308 https://\$host:$HTTPS_PORT\$request_uri; }"
    echo "server {"
    echo "  listen 443 ssl; http2 on; server_name $name;"
    echo "  ssl_certificate $certs/$name.crt; ssl_certificate_key $certs/$name.key;"
    echo "  include /etc/mlflow-proxy/server.conf;"
    echo "}"
  done
} > "$out/servers.conf.new"
mv "$out/servers.conf.new" "$out/servers.conf"
