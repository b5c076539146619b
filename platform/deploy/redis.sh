#!/usr/bin/env bash
# Redis as in the local stack (platform/streamgauge/stack/redis.py): a user a role with the rights of
# platform/access.yaml, nothing on disk.
set -euo pipefail
umask 077
users=$(</streamgauge/users.acl)
for role in ADMIN WORKER BATCH API READER; do
  password=REDIS_${role}_PASSWORD
  users=${users//${role}_PASSWORD/${!password}}
done
printf '%s\n' "$users" >/data/users.acl
exec redis-server --aclfile /data/users.acl --save "" --appendonly no --maxmemory 128mb --maxmemory-policy noeviction
