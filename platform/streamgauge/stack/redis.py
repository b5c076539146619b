"""Redis: answers that can be lost at any time, so nothing is written to disk."""

import redis as client
from redis.exceptions import RedisError

from streamgauge.access.logins import logins
from streamgauge.access.redis import users_file
from streamgauge.stack.credentials import Credentials
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


def prepare(credentials: Credentials) -> None:
    layout = credentials.layout
    user = server_user()
    folder = private_folder(layout.part("redis"), user)
    settings = _SETTINGS.format(host=LOOPBACK, port=layout.port("redis"), folder=folder)
    write_private(folder / "redis.conf", settings, user)
    passwords = {name: credentials.of("redis", name) for name in logins(credentials.access, "redis")}
    write_private(folder / "users.acl", users_file(credentials.access, passwords), user)


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
