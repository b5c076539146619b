#!/bin/sh
# Prometheus with the rules and the scrape configuration of platform/observability, filled in for these services.
set -eu
from=${OBSERVABILITY:-/observability} to=${PROMETHEUS_HOME:-/prometheus}
mkdir -p "$to/rules"
for file in "$from"/rules/*.yaml; do
  sed "s#\${RUNBOOKS}#$STREAMGAUGE_RUNBOOKS_URL#" "$file" > "$to/rules/$(basename "$file")"
done
sed -e 's#${HOST}:${WORKER_METRICS_PORT}#worker:9108#' -e 's#${HOST}:${SERVING_PORT}#api:8000#' \
  -e 's#${HOST}:${PRODUCER_METRICS_PORT}#producer:9109#' -e 's#${HOST}:${PROMETHEUS_PORT}#localhost:9090#' \
  -e 's#${HOST}:${ALERTMANAGER_PORT}#alertmanager:9093#' -e "s#\${RULES}#$to/rules#" -e 's#${LOGIN}##' \
  "$from/prometheus.yaml" > "$to/prometheus.yaml"
# By default a browser lets every site's page read it.
exec prometheus --config.file="$to/prometheus.yaml" --storage.tsdb.path="$to/data" --storage.tsdb.retention.time=31d \
  --web.cors.origin='http://127\.0\.0\.1:29090'
