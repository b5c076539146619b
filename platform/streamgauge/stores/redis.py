"""Redis: answers that can be lost at any time and are rebuilt from Postgres."""

from typing import Any

from redis import Redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from streamgauge.settings import Settings


def redis_client(settings: Settings) -> Redis:
    """Gives up soon: nobody may wait long for a cache."""
    client: Redis = Redis.from_url(  # pyright: ignore[reportUnknownMemberType]
        settings.redis_url.get_secret_value(),
        decode_responses=True,
        socket_connect_timeout=1.0,
        socket_timeout=2.0,
        retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.3), 2),
    )
    return client


_REPLACE_UNLESS_NEWER = """
local held = redis.call('get', KEYS[1])
if held and cjson.decode(held)['version'] > tonumber(ARGV[1]) then return 0 end
redis.call('set', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1
"""


def replace_unless_newer(redis: Redis) -> Any:
    """A script for one key, with the arguments version, answer (JSON that has its version) and seconds to live."""
    return redis.register_script(_REPLACE_UNLESS_NEWER)
