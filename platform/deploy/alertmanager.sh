#!/bin/sh
# Alertmanager with the routes of platform/observability, and the webhook if there is one.
set -eu
from=${OBSERVABILITY:-/observability} to=${ALERTMANAGER_HOME:-/alertmanager}
webhook=
if [ -n "${STREAMGAUGE_ALERT_WEBHOOK_URL:-}" ]; then
  webhook="{ url: \"$STREAMGAUGE_ALERT_WEBHOOK_URL\" }"
fi
umask 077
sed "s#\${WEBHOOK}#$webhook#" "$from/alertmanager.yaml" > "$to/alertmanager.yaml"
exec alertmanager --config.file="$to/alertmanager.yaml" --storage.path="$to/data" --cluster.listen-address=
