#!/bin/sh
# /etc/nginx/templates/NAME.template becomes /etc/nginx/conf.d/NAME. Only variables that are set are
# put in: what is left, such as $host, is nginx's.
set -e
templates=${NGINX_ENVSUBST_TEMPLATE_DIR:-/etc/nginx/templates}
suffix=${NGINX_ENVSUBST_TEMPLATE_SUFFIX:-.template}
output=${NGINX_ENVSUBST_OUTPUT_DIR:-/etc/nginx/conf.d}
[ -d "$templates" ] || exit 0
if [ ! -w "$output" ]; then
  echo "$0: $templates exists, but $output is not writable" >&2
  exit 0
fi
set_variables=$(awk -v filter="${NGINX_ENVSUBST_FILTER:-}" \
  'BEGIN { for (name in ENVIRON) if (name ~ filter) printf "${%s} ", name }')
find -L "$templates" -type f -name "*$suffix" | while read -r template; do
  path=${template#"$templates/"}
  path=$output/${path%"$suffix"}
  mkdir -p "$(dirname "$path")"
  envsubst "$set_variables" < "$template" > "$path"
done
