"""Reads and sets the rights of Redis' users. Logins are the stack's or the deployment's."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from streamgauge.access.redis import RedisUser
from streamgauge.errors import UserError

_COMPARABLE = 7
"""The first version that gives a user's rules back as they were set."""


def read_users(client: Redis, names: Iterable[str]) -> Mapping[str, RedisUser]:
    """The rights of those of these users that there are. None at all where this login may not see them, or where the
    server's rules can't be compared. Raises UserError where it doesn't answer.
    """
    untyped: Any = client
    try:
        if int(str(untyped.info("server")["redis_version"]).split(".")[0]) < _COMPARABLE:
            return {}
        found = {name: untyped.execute_command("ACL GETUSER", name) for name in names}
    except ResponseError:
        return {}
    except (RedisError, OSError) as e:
        raise UserError(f"Redis doesn't answer: {e}", "see streamgauge stack status") from e
    return {name: _user(name, answer) for name, answer in found.items() if answer is not None}


def set_rights(client: Redis, user: RedisUser) -> None:
    """At once, also for who is connected already."""
    untyped: Any = client
    try:
        untyped.execute_command("ACL SETUSER", user.name, "clearselectors", *user.rules)
        # Else it would be forgotten with a restart. Without a file the deployment keeps the users elsewhere.
        with suppress(ResponseError):
            untyped.execute_command("ACL SAVE")
    except (RedisError, OSError) as e:
        raise UserError(f"Redis doesn't take the rights of {user.name}: {e}", "see streamgauge stack status") from e


def _user(name: str, answer: Mapping[str, Any]) -> RedisUser:
    keys, commands = (frozenset[str](map(str, answer[part])) for part in ("keys", "commands"))
    others = frozenset[str](map(str, (*answer["categories"], *answer["channels"], *answer["selectors"])))
    return RedisUser(
        name,
        frozenset(k.removeprefix("~") for k in keys if k.startswith("~")),
        frozenset(c.removeprefix("+") for c in commands if c.startswith("+")),
        others - {"-@all"} | {k for k in keys if not k.startswith("~")},
    )
