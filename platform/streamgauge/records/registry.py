"""The schema registry, by Confluent's REST API.

https://docs.confluent.io/platform/current/schema-registry/develop/api.html
"""

import json
import re
import ssl
from collections import Counter
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from streamgauge.errors import UserError
from streamgauge.records.decode import UnusableSchema
from streamgauge.settings import PREFIX, Settings

_TRIES_FOR_AN_ID = 3
"""How often a registry is asked that fails for one id only: without an end, one broken schema would stop a stream."""
_NOBODYS_ID = 2**31 - 1
"""Ids are given in order from 1: that the registry has no such schema, only its store can know."""
_MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"


class RegistryError(UserError):
    """The registry answered that it won't do this."""


class RegistryUnavailable(RegistryError):
    """The registry didn't answer, or not sensibly: try again later."""


class RegistryLogin(RegistryUnavailable):
    """The registry refuses this login: no schema's fault, and set right by whoever runs it."""


class SchemaNotFound(RegistryError):
    """The registry answered, and has no such schema or subject."""


class Incompatible(RegistryError):
    """The registry refuses a schema, and says why."""

    def __init__(self, subject: str, reasons: tuple[str, ...]) -> None:
        super().__init__(
            f"the registry refuses the schema of {subject}: {'; '.join(reasons)}",
            "give new fields a default and keep the type of old ones, or make it a new stream",
        )
        self.subject = subject
        self.reasons = reasons


@dataclass(frozen=True)
class SubjectVersion:
    subject: str
    version: int
    id: int
    schema: dict[str, Any]


class Registry:
    """Retries what may pass by itself, a few seconds long; the caller decides whether to wait longer."""

    def __init__(
        self,
        url: str,
        *,
        attempts: int = 4,
        timeout: float = 5.0,
        transport: httpx.BaseTransport | None = None,
        auth: tuple[str, str] | None = None,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        self._url = url
        self._http = httpx.Client(
            base_url=url.rstrip("/") + "/",
            timeout=timeout,
            transport=transport,
            auth=auth,
            verify=verify,
            headers={"Content-Type": _MEDIA_TYPE, "Accept": f"{_MEDIA_TYPE}, application/json"},
        )
        self._attempts = attempts
        self._schemas: dict[int, Any] = {}
        self._failed: Counter[int] = Counter()

    def close(self) -> None:
        self._http.close()

    def find_schema(self, schema_id: int) -> Any:
        """The schema with this id, as a decoder asks for it (None: there is none). Kept, because an id never changes
        its meaning.

        Raises UnusableSchema for whatever else is wrong with this id, and RegistryUnavailable for what may pass by
        itself. A registry that fails for this id alone is not away.
        """
        if schema_id in self._schemas:
            return self._schemas[schema_id]
        try:
            body = self._call("GET", f"schemas/ids/{schema_id}")
        except SchemaNotFound:
            return None
        except RegistryUnavailable as e:
            # only what fails while others are answered is the schema's own fault
            self._failed[schema_id] = self._failed[schema_id] + 1 if self._answers() else 0
            if self._failed[schema_id] < _TRIES_FOR_AN_ID:
                raise
            raise UnusableSchema(f"of this one the registry says only: {e.what}") from e
        except RegistryError as e:
            raise UnusableSchema(e.what) from e
        self._schemas[schema_id] = schema = _avro(body)
        return schema

    def _answers(self) -> bool:
        try:
            self._call_once("GET", f"schemas/ids/{_NOBODYS_ID}", None)
        except SchemaNotFound:
            return True
        except RegistryError:
            return False
        return True

    def check(self) -> None:
        """Raises RegistryError where it doesn't answer, or not to this login."""
        self._call("GET", "config")

    def latest(self, subject: str) -> SubjectVersion | None:
        try:
            body = self._call("GET", f"subjects/{quote(subject, safe='')}/versions/latest")
        except SchemaNotFound:
            return None
        return SubjectVersion(subject, body["version"], body["id"], json.loads(body["schema"]))

    def versions(self, subject: str) -> list[Any]:
        """The schemas of all its versions, the latest last."""
        path = f"subjects/{quote(subject, safe='')}/versions"
        try:
            numbers = cast(list[int], self._call("GET", path))
        except SchemaNotFound:
            return []
        return [json.loads(self._call("GET", f"{path}/{number}")["schema"]) for number in sorted(numbers)]

    def lookup(self, subject: str, schema: dict[str, Any]) -> SubjectVersion | None:
        """The subject's version with exactly this schema, the latest or an older one."""
        body = {"schema": json.dumps(schema), "schemaType": "AVRO"}
        try:
            found = self._call("POST", f"subjects/{quote(subject, safe='')}", body)
        except SchemaNotFound:
            return None
        return SubjectVersion(subject, found["version"], found["id"], schema)

    def level(self, subject: str) -> str | None:
        """The subject's own compatibility level; None where the registry's default applies."""
        try:
            return self._call("GET", f"config/{quote(subject, safe='')}")["compatibilityLevel"]
        except SchemaNotFound:
            return None

    def set_level(self, subject: str, level: str) -> None:
        self._call("PUT", f"config/{quote(subject, safe='')}", {"compatibility": level})

    def incompatibilities(self, subject: str, schema: dict[str, Any]) -> tuple[str, ...]:
        """The registry's reasons against this schema as the subject's next version; none if it is welcome."""
        path = f"compatibility/subjects/{quote(subject, safe='')}/versions?verbose=true"
        try:
            body = self._call("POST", path, {"schema": json.dumps(schema), "schemaType": "AVRO"})
        except SchemaNotFound:
            return ()
        if body["is_compatible"]:
            return ()
        return tuple(body.get("messages") or ()) or (self._reason(subject, schema),)

    def _reason(self, subject: str, schema: dict[str, Any]) -> str:
        """Apicurio answers Confluent's request without messages, but its own API gives them to a dry run."""
        root, apicurio, _ = self._url.partition("/apis/ccompat/")
        if not apicurio:
            return "it gives no reason"
        url = f"{root}/apis/registry/v3/groups/default/artifacts/{quote(subject, safe='')}/versions?dryRun=true"
        content = {"content": json.dumps(schema), "contentType": "application/json"}
        answer = self._send("POST", url, {"content": content}, {"Content-Type": "application/json"})
        names = [field["name"] for field in schema["fields"]]
        # a reason may be about a version that is there, which can have more fields
        named = {str(i): f" ({name})" for i, name in enumerate(names)}
        return re.sub(r"/fields/(\d+)", lambda m: m[0] + named.get(m[1], ""), _message(answer))

    def register(self, subject: str, schema: dict[str, Any]) -> int:
        """The schema's id: a new one, or the one it already has."""
        path = f"subjects/{quote(subject, safe='')}/versions"
        return self._call("POST", path, {"schema": json.dumps(schema), "schemaType": "AVRO"})["id"]

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        retrying = Retrying(
            retry=retry_if_exception_type(RegistryUnavailable),
            stop=stop_after_attempt(self._attempts),
            wait=wait_random_exponential(multiplier=0.2, max=2),
            reraise=True,
        )
        return retrying(self._call_once, method, path, body)

    def _call_once(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        response = self._send(method, path, body)
        if response.status_code in (401, 403, 407):
            raise RegistryLogin(
                f"the schema registry at {self._url} refuses this login: {response.status_code} {_message(response)}",
                f"see {PREFIX}REGISTRY_USERNAME and {PREFIX}REGISTRY_PASSWORD",
            )
        if response.status_code == 404:
            raise SchemaNotFound(f"the registry has no {path}: {_message(response)}", "run streamgauge apply")
        if response.status_code == 409:
            raise Incompatible(path.split("/")[1], (_message(response),))
        if response.is_error:
            raise RegistryError(
                f"the registry refuses {method} {path}: {response.status_code} {_message(response)}",
                "see its log for more",
            )
        try:
            return cast(dict[str, Any], response.json())
        except ValueError as e:
            raise self._unavailable(f"no JSON in its answer to {method} {path}") from e

    def _send(
        self, method: str, path: str, body: dict[str, Any] | None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        try:
            response = self._http.request(method, path, json=body, headers=headers)
        except httpx.TransportError as e:
            raise self._unavailable(str(e) or type(e).__name__) from e
        if response.status_code == 429 or response.status_code >= 500:
            raise self._unavailable(f"{response.status_code} {_message(response)}")
        return response

    def _unavailable(self, why: str) -> RegistryUnavailable:
        return RegistryUnavailable(
            f"the schema registry at {self._url} doesn't answer: {why}", "see streamgauge stack status"
        )


def registry(settings: Settings, *, attempts: int = 4, timeout: float = 5.0) -> Registry:
    auth, verify = registry_login(settings)
    return Registry(settings.registry_url, attempts=attempts, timeout=timeout, auth=auth, verify=verify)


def registry_login(settings: Settings) -> tuple[tuple[str, str] | None, ssl.SSLContext | bool]:
    """User and password, where the registry wants them, and what a TLS connection to it is checked with."""
    auth = None
    if settings.registry_username is not None and settings.registry_password is not None:
        auth = (settings.registry_username, settings.registry_password.get_secret_value())
    if settings.registry_ca_file is None and settings.registry_certificate_file is None:
        return auth, True
    context = ssl.create_default_context(cafile=settings.registry_ca_file)
    if settings.registry_certificate_file is not None:
        context.load_cert_chain(settings.registry_certificate_file, settings.registry_key_file)
    return auth, context


def _avro(body: dict[str, Any]) -> Any:
    kind = body.get("schemaType") or "AVRO"
    if kind != "AVRO":
        raise UnusableSchema(f"it is a schema of the type {kind}, not Avro")
    try:
        return json.loads(body["schema"])
    except (KeyError, TypeError, ValueError) as e:
        raise UnusableSchema("the registry's answer holds no Avro schema") from e


def _message(response: httpx.Response) -> str:
    try:
        body: Any = response.json()
    except ValueError:
        return response.text[:200]
    if not isinstance(body, dict):
        return response.text[:200]
    answer = cast(dict[str, Any], body)
    return str(answer.get("message") or answer.get("title") or response.text[:200])
