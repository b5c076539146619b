"""What is asked of Dagster's web server, over GraphQL: commands must not import Dagster, nor read its database."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import httpx
from pydantic import SecretStr

from streamgauge.dagster.hours import HourRange, hour_key
from streamgauge.dagster.keys import AssetPath
from streamgauge.dagster.names import ASSET_JOB, RANGE_END_TAG, RANGE_START_TAG, REPOSITORY
from streamgauge.errors import UserError

_LAUNCH = """mutation ($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  __typename
  ... on LaunchBackfillSuccess { backfillId }
  ... on Error { message }
} }"""

_RUN = """mutation ($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename
  ... on LaunchRunSuccess { run { runId } }
  ... on Error { message }
} }"""

_STATUS = "query ($id: ID!) { runOrError(runId: $id) { __typename ... on Error { message } ... on Run { status } } }"

_PROGRESS = """query ($id: String!) { partitionBackfillOrError(backfillId: $id) {
  __typename
  ... on Error { message }
  ... on PartitionBackfill {
    status
    error { message }
    assetBackfillData { assetBackfillStatuses { ... on AssetPartitionsStatusCounts {
      assetKey { path } numPartitionsTargeted numPartitionsInProgress numPartitionsMaterialized numPartitionsFailed
    } } }
  }
} }"""

CODE = {"repositoryLocationName": "streamgauge", "repositoryName": REPOSITORY}
"""The location as workspace.yaml names it, and Dagster's name for what `definitions.py` holds."""

_ENDED = {
    "COMPLETED": "done",
    "COMPLETED_SUCCESS": "done",
    "COMPLETED_FAILED": "failed",
    "FAILED": "failed",
    "CANCELED": "canceled",
}
_RUN_ENDED = {"SUCCESS": "done", "FAILURE": "failed", "CANCELED": "canceled"}


@dataclass(frozen=True)
class AssetProgress:
    asset: str
    wanted: int
    running: int
    done: int
    failed: int


@dataclass(frozen=True)
class BackfillProgress:
    state: Literal["running", "done", "failed", "canceled"]
    error: str | None
    assets: Sequence[AssetProgress]


_LOCATIONS = """query { workspaceOrError { __typename ... on PythonError { message }
... on Workspace { locationEntries { loadStatus
locationOrLoadError { __typename ... on PythonError { message } } } } } }"""


class Dagster:
    def __init__(self, url: str | None, key: SecretStr | None = None, *, seconds: float = 30) -> None:
        """`seconds`: how long an answer may take."""
        if url is None:
            raise UserError(
                "it is not known where Dagster is",
                "start the local stack with `streamgauge stack up`, or set STREAMGAUGE_DAGSTER_URL",
            )
        self.url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else None
        self._client = httpx.Client(timeout=seconds, headers=headers)

    def launch_backfill(self, hours: Mapping[AssetPath, HourRange], title: str) -> str:
        """Of each asset its hours. Returns its id. Dagster cuts it into runs of as many hours as the assets allow."""
        wanted = [
            {
                "assetKey": {"path": list(asset)},
                "partitions": {"range": {"start": hour_key(range.first), "end": hour_key(range.last)}},
            }
            for asset, range in hours.items()
        ]
        answer = self.ask(_LAUNCH, {"params": {"partitionsByAssets": wanted, "title": title}})
        found = answer["launchPartitionBackfill"]
        if found["__typename"] != "LaunchBackfillSuccess":
            why = found.get("message") or found["__typename"]
            raise UserError(f"Dagster refused the backfill: {why}", f"see {self.url}/deployment/locations")
        return found["backfillId"]

    def launch_run(self, assets: Iterable[AssetPath], hours: HourRange) -> str:
        """One run for all of the hours. Returns its id. A backfill's own rhythm adds half a minute or more."""
        ends = {"start": hour_key(hours.first), "end": hour_key(hours.last)}
        params = {
            "selector": {**CODE, "jobName": ASSET_JOB, "assetSelection": [{"path": list(a)} for a in assets]},
            "runConfigData": {},
            "executionMetadata": {
                "tags": [{"key": RANGE_START_TAG, "value": ends["start"]}, {"key": RANGE_END_TAG, "value": ends["end"]}]
            },
        }
        found = self.ask(_RUN, {"params": params})["launchRun"]
        if found["__typename"] != "LaunchRunSuccess":
            why = found.get("message") or found["__typename"]
            raise UserError(f"Dagster refused the run: {why}", f"see {self.url}/deployment/locations")
        return found["run"]["runId"]

    def run_state(self, run: str) -> Literal["running", "done", "failed", "canceled"]:
        found = self.ask(_STATUS, {"id": run})["runOrError"]
        if found["__typename"] != "Run":
            raise UserError(f"run {run}: {found.get('message')}", f"see {self.run_url(run)}")
        return _RUN_ENDED.get(found["status"], "running")  # pyright: ignore[reportReturnType]

    def run_url(self, run: str) -> str:
        return f"{self.url}/runs/{run}"

    def progress(self, backfill: str) -> BackfillProgress:
        found = self.ask(_PROGRESS, {"id": backfill})["partitionBackfillOrError"]
        if found["__typename"] != "PartitionBackfill":
            raise UserError(f"backfill {backfill}: {found['message']}", f"see {self.backfill_url(backfill)}")
        data: dict[str, list[dict[str, Any]]] | None = found["assetBackfillData"]
        rows = data["assetBackfillStatuses"] if data else []
        return BackfillProgress(
            state=_ENDED.get(found["status"], "running"),  # pyright: ignore[reportArgumentType]
            error=found["error"] and str(found["error"]["message"]).strip(),
            assets=[
                AssetProgress(
                    "/".join(row["assetKey"]["path"]),
                    row["numPartitionsTargeted"],
                    row["numPartitionsInProgress"],
                    row["numPartitionsMaterialized"],
                    row["numPartitionsFailed"],
                )
                for row in rows
            ],
        )

    def backfill_url(self, backfill: str) -> str:
        return f"{self.url}/runs/b/{backfill}"

    def load_error(self) -> str | None:
        """Why the definitions are not loaded, in a line; None where they are."""
        found = self.ask(_LOCATIONS, {})["workspaceOrError"]
        entries: list[dict[str, Any]] = found.get("locationEntries") or [{"locationOrLoadError": found}]
        for entry in entries:
            loaded: dict[str, Any] = entry["locationOrLoadError"] or {}
            if loaded.get("__typename") == "PythonError":
                return str(loaded["message"]).strip().splitlines()[0]
            if entry.get("loadStatus") == "LOADING":
                return "they are still loading"
        return None

    def ask(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        """The data of a GraphQL query. Raises UserError where it is not answered."""
        try:
            answer = self._client.post(f"{self.url}/graphql", json={"query": query, "variables": variables})
            if answer.status_code in (401, 403):
                raise UserError(
                    f"Dagster at {self.url} refused: {answer.text.strip()}",
                    "set STREAMGAUGE_DAGSTER_KEY to an API key with the scopes read:*, operations and dagster",
                )
            answer.raise_for_status()
            body: dict[str, Any] = answer.json()
        except (httpx.HTTPError, ValueError) as e:
            raise UserError(f"no answer from Dagster at {self.url}: {e}", "see `streamgauge stack status`") from e
        if body.get("errors"):
            raise UserError(f"Dagster refused the question: {body['errors'][0]['message']}")
        return body["data"]
