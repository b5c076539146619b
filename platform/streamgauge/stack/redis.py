"""Redis: answers that can be lost at any time, so nothing is written to disk."""

import redis as client
from redis.exceptions import RedisError

from streamgauge.stack.credentials import MONITOR_ROLE, WITH_POSTGRES, Credentials
from streamgauge.stack.installed import redis_server, server_user
from streamgauge.stack.layout import LOOPBACK, private_folder, write_private
from streamgauge.stack.part import NotReady, Program
from streamgauge.stores.redis import redis_client

_SETTINGS = """\
bind {host}
port {port}
dir {folder}
aclfile {folder}/users.acl
daemonize no
save ""
appendonly no
maxmemory 128mb
# Full, it refuses writes: to forget one answer of many unseen would be worse.
maxmemory-policy noeviction
set-proc-title no
"""

_USERS = """\
user default off
user admin on >{admin} ~* &* +@all
user worker on >{worker} ~streamgauge:* resetchannels -@all +@read +@write +@scripting +@connection +@transaction \
-@dangerous +info
user batch on >{batch} ~streamgauge:* resetchannels -@all +@read +@connection +@transaction -@dangerous +info
user api on >{api} ~streamgauge:* resetchannels -@all +@read +@write +@scripting +@connection +@transaction \
-@dangerous +info
user reader on >{reader} ~streamgauge:* resetchannels -@all +@read +@connection +@transaction -@dangerous +info
user monitor on >{monitor} resetkeys resetchannels -@all +info +client|setname +slowlog|get +slowlog|len \
+latency|latest +latency|histogram
"""


def prepare(credentials: Credentials) -> None:
    layout = credentials.layout
    user = server_user()
    folder = private_folder(layout.part("redis"), user)
    settings = _SETTINGS.format(host=LOOPBACK, port=layout.port("redis"), folder=folder)
    write_private(folder / "redis.conf", settings, user)
    users = _USERS.format(**{role: credentials.of("redis", role) for role in (*WITH_POSTGRES, MONITOR_ROLE)})
    write_private(folder / "users.acl", users, user)


def program(credentials: Credentials) -> Program:
    config = credentials.layout.part("redis") / "redis.conf"
    return Program((str(redis_server()), str(config)), user=server_user(), stop_seconds=10)


def probe(credentials: Credentials) -> str:
    server: client.Redis = redis_client(credentials.settings("admin"))
    try:
        server.ping()  # pyright: ignore[reportUnknownMemberType]
        return str(server.info("server")["redis_version"])  # pyright: ignore
    except (RedisError, OSError) as e:
        raise NotReady(str(e)) from e
    finally:
        server.close()
