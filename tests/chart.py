"""The Helm chart's manifests, rendered by Helm itself."""

import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from streamgauge.settings import CHECKOUT, CONTRACTS
from streamgauge.stack.layout import cache_dir

CHART = CHECKOUT / "platform" / "deploy" / "helm"
RELEASE = "sg"
OWN_NAMES = {"dagster": "dagster-web"}
"""Of processes that have another name in compose.yaml."""

VALUES: dict[str, str] = {
    "image.repository": "images.example/streamgauge",
    "kafka.bootstrapServers": "kafka:9093",
    "registry.url": "http://registry:8080/apis/ccompat/v7",
    "lake.url": "s3://lake/streamgauge",
    "lake.secrets.batch": "lake-batch",
    "lake.secrets.api": "lake-api",
    **{f"logins.{login}": f"{login}-login" for login in ("admin", "worker", "batch", "api", "reader", "dagster")},
    "keys": "shared-keys",
    "urls.api": "https://numbers.example",
    "urls.dagster": "https://dagster.example",
}
"""What has no default, and the lake's logins."""


def helm() -> Path:
    found = sorted(cache_dir().glob("helm-*"))
    assert found, "run platform/stack/install_test_tools.sh"
    return found[-1]


def template(
    values: Mapping[str, str], kubernetes: str = "1.34.0", contracts: Iterable[Path] = ()
) -> "subprocess.CompletedProcess[str]":
    """With those contracts beside the shipped ones."""
    files = [*sorted(CONTRACTS.glob("*.yaml")), *contracts]
    of_files = [f"--set-file=contracts.{file.stem}={file}" for file in files]
    given = [f"--set={name}={value}" for name, value in values.items()]
    return subprocess.run(
        [helm(), "template", RELEASE, CHART, "--namespace=ns", f"--kube-version={kubernetes}", *of_files, *given],
        capture_output=True,
        text=True,
        check=False,
    )


@dataclass(frozen=True)
class Chart:
    manifests: tuple[dict[str, Any], ...]

    def of_kind(self, kind: str) -> dict[str, dict[str, Any]]:
        """By name, without the release's."""
        found = (m for m in self.manifests if m["kind"] == kind)
        return {m["metadata"]["name"].removeprefix(f"{RELEASE}-"): m for m in found}

    @cached_property
    def pods(self) -> dict[str, dict[str, Any]]:
        """The pod templates, by process."""
        workloads = self.of_kind("Deployment") | self.of_kind("Job")
        return {name: manifest["spec"]["template"] for name, manifest in workloads.items()}

    def container(self, process: str) -> dict[str, Any]:
        (only,) = self.pods[process]["spec"]["containers"]
        return only

    def instance(self) -> dict[str, Any]:
        """Of Dagster: its dagster.yaml."""
        return yaml.safe_load(self.of_kind("ConfigMap")["dagster-instance"]["data"]["dagster.yaml"])

    def port(self, process: str, name: str) -> int:
        (found,) = (p["containerPort"] for p in self.container(process)["ports"] if p["name"] == name)
        return found

    def secrets(self, process: str) -> Iterator[tuple[str, str]]:
        """The variables that come from a Secret, and its name."""
        for variable in self.container(process)["env"]:
            reference = variable.get("valueFrom", {}).get("secretKeyRef")
            if reference is not None:
                yield variable["name"], reference["name"]


def chart(kubernetes: str = "1.34.0", **replaced: str) -> Chart:
    """With more values, their dots as two underscores."""
    values = VALUES | {name.replace("__", "."): value for name, value in replaced.items()}
    done = template(values, kubernetes)
    assert done.returncode == 0, done.stderr
    return Chart(tuple(yaml.safe_load_all(done.stdout)))
