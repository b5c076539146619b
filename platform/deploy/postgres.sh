#!/usr/bin/env bash
# Run once by the Postgres image when its data folder is new: roles, databases and the extension, as
# platform/streamgauge/stack/postgres.py makes them in the local stack. `streamgauge apply` makes what is inside.
set -euo pipefail

# The passwords by variables of psql, which quotes them.
psql -v ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres \
  -v admin="$POSTGRES_ADMIN_PASSWORD" -v worker="$POSTGRES_WORKER_PASSWORD" \
  -v batch="$POSTGRES_BATCH_PASSWORD" -v api="$POSTGRES_API_PASSWORD" -v reader="$POSTGRES_READER_PASSWORD" \
  -v registry="$POSTGRES_REGISTRY_PASSWORD" -v dagster="$POSTGRES_DAGSTER_PASSWORD" <<'SQL'
create role streamgauge_admin login password :'admin';
create role streamgauge_worker login password :'worker';
create role streamgauge_batch login password :'batch';
create role streamgauge_api login password :'api';
create role streamgauge_reader login password :'reader';
create role registry login password :'registry';
create database registry owner registry;
revoke connect, temporary on database registry from public;
create role dagster login password :'dagster';
create database dagster owner dagster;
revoke connect, temporary on database dagster from public;
alter database streamgauge owner to streamgauge_admin;
revoke connect, temporary on database streamgauge from public;
grant connect on database streamgauge to streamgauge_admin, streamgauge_worker, streamgauge_batch, streamgauge_api,
  streamgauge_reader;
\connect streamgauge
create extension if not exists timescaledb;
create schema streamgauge authorization streamgauge_admin;
SQL
