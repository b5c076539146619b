#!/usr/bin/env bash
# Prints the passwords and the keys that compose.yaml needs, new ones each time: platform/deploy/make-env.sh > platform/deploy/.env
set -euo pipefail
umask 077
secret() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
for name in KAFKA_{ADMIN,PRODUCER,WORKER,BATCH,API,READER} REDIS_{ADMIN,WORKER,BATCH,API,READER} \
  POSTGRES POSTGRES_{ADMIN,WORKER,BATCH,API,READER,REGISTRY,DAGSTER} GRAFANA_ADMIN; do
  printf '%s_PASSWORD=%s\n' "$name" "$(secret)"
done
printf 'PSEUDONYM_KEY=%s\n' "$(secret)"
printf 'AUDIT_KEY=%s\n' "$(secret)"
