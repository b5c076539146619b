"""What an operator may set of the API, by `STREAMGAUGE_API_…`."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from streamgauge.settings import PREFIX


class ApiConfig(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=f"{PREFIX}API_", extra="ignore")

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=1, le=65535)
    requests_per_second: float = Field(default=100.0, gt=0)
    """Of one caller, on average."""
    burst: int = Field(default=200, ge=1)
    query_seconds: float = Field(default=5.0, gt=0)
    """After which Postgres gives a query up."""
    connections: int = Field(default=8, ge=1)
    """To Postgres at most."""
    live_clients: int = Field(default=500, ge=1)
