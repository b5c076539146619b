"""Redis' users: `python -m streamgauge.access.redis > platform/deploy/users.acl` makes those of compose.

https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from streamgauge.access.load import load_access
from streamgauge.access.model import Access, RedisCommands, RedisKeys
from streamgauge.contract.model import KEY_PREFIX
from streamgauge.settings import ACCESS_FILE, ROLES

KEYS: Mapping[RedisKeys, str] = {"minutes": f"{KEY_PREFIX}*:minutes", "tops": f"{KEY_PREFIX}*:top:*"}
"""As the contract names them."""

_CONNECTS = ("ping", "select", "client|setname")
_READS = (*_CONNECTS, "get", "mget")
# One by one: Redis writes categories, and what is taken from them, in other words than they were set.
COMMANDS: Mapping[RedisCommands, tuple[str, ...]] = {
    "read": _READS,
    # as which streamgauge.stores.redis replaces a value
    "write": (*_READS, "set", "evalsha", "script|load"),
    "figures": (*_CONNECTS, "info", "slowlog|get", "slowlog|len", "latency|latest", "latency|histogram"),
}


@dataclass(frozen=True)
class RedisUser:
    """`keys` are patterns of keys that it may read and write, by these `commands`."""

    name: str
    keys: frozenset[str] = frozenset()
    commands: frozenset[str] = frozenset()
    beyond: frozenset[str] = frozenset()
    """Rules of other kinds, which nobody is given: of categories, channels, selectors."""

    @property
    def rules(self) -> tuple[str, ...]:
        """They take all away first, so that nothing of earlier ones is left."""
        keys = (f"~{pattern}" for pattern in sorted(self.keys))
        return ("resetkeys", "resetchannels", *keys, "-@all", *(f"+{c}" for c in sorted(self.commands)))


def users(access: Access) -> tuple[RedisUser, ...]:
    """Those with rights to some keys or commands. The owner has all."""
    return tuple(_users(access))


def users_file(access: Access, passwords: Mapping[str, str]) -> str:
    """What Redis reads at its start, with the users whose password is given."""
    owners = (name for name, principal in access.principals.items() if principal.owner)
    rules = dict.fromkeys(owners, "~* &* +@all") | {u.name: " ".join(u.rules) for u in users(access)}
    lines = [f"user {name} on >{passwords[name]} {rule}\n" for name, rule in rules.items() if name in passwords]
    return "".join(["user default off\n", *lines])


def _users(access: Access) -> Iterator[RedisUser]:
    for name, principal in access.principals.items():
        if principal.redis is not None:
            keys = frozenset(KEYS[k] for k in principal.redis.keys)
            yield RedisUser(name, keys, frozenset(COMMANDS[principal.redis.commands]))


if __name__ == "__main__":
    sys.stdout.write(users_file(load_access(ACCESS_FILE), {role: f"{role.upper()}_PASSWORD" for role in ROLES}))
