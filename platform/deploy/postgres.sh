#!/usr/bin/env bash
# Run once by the Postgres image when its data folder is new.
set -euo pipefail

# The passwords by variables of psql, which quotes them.
psql -v ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres \
  -v admin="$POSTGRES_ADMIN_PASSWORD" -v worker="$POSTGRES_WORKER_PASSWORD" \
  -v batch="$POSTGRES_BATCH_PASSWORD" -v api="$POSTGRES_API_PASSWORD" -v reader="$POSTGRES_READER_PASSWORD" \
  -v registry="$POSTGRES_REGISTRY_PASSWORD" -v dagster="$POSTGRES_DAGSTER_PASSWORD" -f /streamgauge/roles.sql
