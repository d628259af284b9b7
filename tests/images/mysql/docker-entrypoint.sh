#!/usr/bin/env bash
# Makes the database on the first start, by a server that listens on its socket only; then mysqld.
# Passwords go through standard input and pipes, never through an argument that `ps` would show.
set -eo pipefail
shopt -s nullglob

data=/var/lib/mysql
socket=/var/run/mysqld/mysqld.sock

note() { echo "$(date --rfc-3339=seconds) [Note] [Entrypoint]: $*"; }

fail() {
  echo "$(date --rfc-3339=seconds) [ERROR] [Entrypoint]: $*" >&2
  exit 1
}

# VARIABLE, or what is in the file that VARIABLE_FILE names.
from_file() {
  local name=$1 file=${1}_FILE value
  if [ -n "${!name:-}" ] && [ -n "${!file:-}" ]; then
    fail "Both $name and $file are set (but are exclusive)"
  fi
  value=${!name:-${2:-}}
  [ -z "${!file:-}" ] || value=$(< "${!file}")
  export "$name=$value"
  unset "$file"
}

client_file() {
  [ -z "$password_is_set" ] || printf '[client]\nuser=root\npassword=%s\n' "$MYSQL_ROOT_PASSWORD"
}

sql() {
  mysql --defaults-extra-file=<(client_file) --protocol=socket --socket="$socket" --user=root \
    --comments ${MYSQL_DATABASE:+--database="$MYSQL_DATABASE"} "$@"
}

check() {
  if [ -z "$MYSQL_ROOT_PASSWORD$MYSQL_ALLOW_EMPTY_PASSWORD$MYSQL_RANDOM_ROOT_PASSWORD" ]; then
    fail "Database is uninitialized and password option is not specified: set one of" \
      "MYSQL_ROOT_PASSWORD, MYSQL_ALLOW_EMPTY_PASSWORD, MYSQL_RANDOM_ROOT_PASSWORD"
  fi
  if [ "$MYSQL_USER" = root ]; then
    fail 'MYSQL_USER="root": MYSQL_USER and MYSQL_PASSWORD are for a regular user'
  fi
}

# As in the official image, names and passwords go into SQL as they are: a quote in one of them
# must fail here as it fails there.
make_accounts() {
  if [ -n "$MYSQL_RANDOM_ROOT_PASSWORD" ]; then
    MYSQL_ROOT_PASSWORD=$(openssl rand -base64 24)
    note "GENERATED ROOT PASSWORD: $MYSQL_ROOT_PASSWORD"
  fi
  local elsewhere=
  if [ "$MYSQL_ROOT_HOST" != localhost ]; then
    elsewhere="CREATE USER 'root'@'$MYSQL_ROOT_HOST' IDENTIFIED BY '$MYSQL_ROOT_PASSWORD';
      GRANT ALL ON *.* TO 'root'@'$MYSQL_ROOT_HOST' WITH GRANT OPTION;"
  fi
  MYSQL_DATABASE='' sql --database=mysql <<SQL
SET autocommit = 1;
SET @@SESSION.SQL_LOG_BIN = 0;
ALTER USER 'root'@'localhost' IDENTIFIED BY '$MYSQL_ROOT_PASSWORD';
GRANT ALL ON *.* TO 'root'@'localhost' WITH GRANT OPTION;
$elsewhere
SQL
  [ -z "$MYSQL_ROOT_PASSWORD" ] || password_is_set=yes
  if [ -n "$MYSQL_DATABASE" ]; then
    note "Creating database $MYSQL_DATABASE"
    MYSQL_DATABASE='' sql <<< "CREATE DATABASE IF NOT EXISTS \`$MYSQL_DATABASE\`;"
  fi
  if [ -n "$MYSQL_USER" ] && [ -n "$MYSQL_PASSWORD" ]; then
    note "Creating user $MYSQL_USER"
    sql <<< "CREATE USER '$MYSQL_USER'@'%' IDENTIFIED BY '$MYSQL_PASSWORD';"
    if [ -n "$MYSQL_DATABASE" ]; then
      sql <<< "GRANT ALL ON \`${MYSQL_DATABASE//_/\\_}\`.* TO '$MYSQL_USER'@'%';"
    fi
  fi
}

run_files() {
  local file
  for file in /docker-entrypoint-initdb.d/*; do
    note "running $file"
    case $file in
      *.sh) if [ -x "$file" ]; then "$file"; else . "$file"; fi ;;
      *.sql) sql < "$file" ;;
      *) note "ignoring $file" ;;
    esac
  done
}

initialise() {
  check
  note "Initializing database files"
  "$@" --initialize-insecure --default-time-zone=SYSTEM
  note "Starting temporary server"
  "$@" --daemonize --skip-networking --default-time-zone=SYSTEM --socket="$socket"
  make_accounts
  run_files
  note "Stopping temporary server"
  mysqladmin --defaults-extra-file=<(client_file) --socket="$socket" --user=root shutdown
  note "MySQL init process done. Ready for start up."
}

[ "${1:0:1}" != - ] || set -- mysqld "$@"
if [ "$1" = mysqld ] && [[ " $* " != *" --help "* && " $* " != *" --version "* ]]; then
  # Still as root, who may be the only one that can read the files of the secrets.
  from_file MYSQL_ROOT_HOST %
  for name in MYSQL_DATABASE MYSQL_USER MYSQL_PASSWORD MYSQL_ROOT_PASSWORD; do
    from_file "$name"
  done
  if [ "$(id -u)" = 0 ]; then
    find "$data" /var/run/mysqld/ \! -user mysql -exec chown --no-dereference mysql {} +
    export HOME=$data
    exec setpriv --reuid=mysql --regid=mysql --init-groups "$0" "$@"
  fi
  password_is_set=
  [ -d "$data/mysql" ] || initialise "$@"
fi
exec "$@"
