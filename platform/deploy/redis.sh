#!/usr/bin/env bash
# Redis as in the local stack (platform/streamgauge/stack/redis.py): a user a role, nothing on disk.
set -euo pipefail
umask 077
cat >/data/users.acl <<USERS
user default off
user admin on >$REDIS_ADMIN_PASSWORD ~* &* +@all
user worker on >$REDIS_WORKER_PASSWORD ~streamgauge:* resetchannels -@all +@read +@write +@scripting +@connection +@transaction -@dangerous +info
user batch on >$REDIS_BATCH_PASSWORD ~streamgauge:* resetchannels -@all +@read +@connection +@transaction -@dangerous +info
user api on >$REDIS_API_PASSWORD ~streamgauge:* resetchannels -@all +@read +@write +@scripting +@connection +@transaction -@dangerous +info
user reader on >$REDIS_READER_PASSWORD ~streamgauge:* resetchannels -@all +@read +@connection +@transaction -@dangerous +info
USERS
exec redis-server --aclfile /data/users.acl --save "" --appendonly no --maxmemory 128mb --maxmemory-policy noeviction
