#!/bin/sh
# Before nginx itself, and before nothing else, the scripts of /docker-entrypoint.d in their order:
# *.envsh are read into this shell, *.sh are run, and none that is not executable.
set -e

note() {
  [ -n "${NGINX_ENTRYPOINT_QUIET_LOGS:-}" ] || echo "$0: $*"
}

if [ "$1" = nginx ] || [ "$1" = nginx-debug ]; then
  for script in /docker-entrypoint.d/*; do
    case "$script" in
      *.envsh | *.sh)
        if [ ! -x "$script" ]; then
          note "Ignoring $script, not executable"
        elif [ "${script%.envsh}" != "$script" ]; then
          note "Sourcing $script"
          . "$script"
        else
          note "Launching $script"
          "$script"
        fi
        ;;
      *) note "Ignoring $script" ;;
    esac
  done
  note "Configuration complete; ready for start up"
fi
exec "$@"
