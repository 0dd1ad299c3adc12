#!/usr/bin/env bash
# Durable invocations beside PostgreSQL and Redis, on this machine, this disk and in one run; prints the ratios.
#
#   sudo apt-get install postgresql redis-server
#   tests/rivals.sh [LEDGE]          LEDGE: the program, target/release/ledge if it is not given
#
# PostgreSQL commits one INSERT of 256 bytes a transaction (synchronous_commit=on), with as many clients; Redis adds as many bytes to a stream
# with appendfsync always. Both listen on loopback, and keep what they write beside the bench's own files.
set -euo pipefail
cd "$(dirname "$0")/.."
ledge=${1:-target/release/ledge}
seconds=${SECONDS_EACH:-8}
dir=$(mktemp -d)
bin=$(ls -d /usr/lib/postgresql/*/bin | tail -1)
payload=$(printf 'x%.0s' $(seq 256))

stop() {
    "${as[@]}" "$bin/pg_ctl" -D "$dir/pg/data" -m immediate stop >/dev/null 2>&1 || true
    redis-cli -s "$dir/redis.sock" shutdown nosave >/dev/null 2>&1 || true
    rm -rf "$dir"
}
trap stop EXIT

# PostgreSQL does not run as root.
as=()
if [ "$(id -u)" = 0 ]; then
    as=(runuser -u postgres --)
    chmod 755 "$dir"
fi
mkdir "$dir/pg" "$dir/redis"
[ "$(id -u)" != 0 ] || chown postgres "$dir/pg"
"${as[@]}" "$bin/initdb" -D "$dir/pg/data" -A trust -U postgres >/dev/null
"${as[@]}" "$bin/pg_ctl" -D "$dir/pg/data" -l "$dir/pg/log" -w -o "-k $dir/pg -c listen_addresses='' -c max_connections=300" start >/dev/null
"$bin/psql" -h "$dir/pg" -U postgres -qc 'create table jobs (id bigserial primary key, payload text not null)'
echo "insert into jobs (payload) values ('$payload');" >"$dir/insert.sql"

redis-server --port 0 --unixsocket "$dir/redis.sock" --appendonly yes --appendfsync always --save '' --dir "$dir/redis" --daemonize yes --logfile "$dir/redis/log" >/dev/null
until redis-cli -s "$dir/redis.sock" ping >/dev/null 2>&1; do sleep 0.1; done

postgres() { "$bin/pgbench" -h "$dir/pg" -U postgres -n -M prepared -c "$1" -j 2 -T "$seconds" -f "$dir/insert.sql" postgres 2>/dev/null | sed -n 's/^tps = \([0-9.]*\).*/\1/p'; }
redis() { redis-benchmark -s "$dir/redis.sock" -c 64 -n 200000 --csv xadd stream '*' payload "$payload" 2>/dev/null | tail -1 | cut -d, -f2 | tr -d '"'; }

pg64=$(postgres 64)
pg256=$(postgres 256)
redis64=$(redis)
"$ledge" bench --json durable-64 durable-256 durable-inside >"$dir/rows.json"
python3 - "$dir/rows.json" "$pg64" "$pg256" "$redis64" <<'PYTHON'
import json, sys
rows = {row["name"]: row["value"] for row in json.load(open(sys.argv[1]))}
print(f"{'row':16}{'Ledge':>10}  {'rival':34}{'ratio':>6}  bar")
for name, rival, value, bar in [
    ("durable-64", "PostgreSQL, 64 clients", sys.argv[2], 1.0),
    ("durable-256", "PostgreSQL, 256 clients", sys.argv[3], 2.0),
    ("durable-inside", "Redis XADD, 64 clients", sys.argv[4], 0.7),
]:
    ratio = rows[name] / float(value)
    print(f"{name:16}{rows[name]:>10.0f}  {rival + ' ' + format(float(value), '.0f'):34}{ratio:>6.2f}  >= {bar} {'' if ratio >= bar else 'NOT HELD'}")
PYTHON
