"""The Helm chart, rendered by Helm: valid for Kubernetes, and the same processes as compose.yaml's."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import kubernetes_validate  # pyright: ignore[reportMissingTypeStubs]
import pytest
import yaml
from dagster import DagsterRun
from dagster_k8s import K8sRunLauncher
from dagster_k8s.job import construct_dagster_k8s_job
from kubernetes.client import ApiClient  # pyright: ignore[reportMissingTypeStubs]

from streamgauge.access.load import load_access
from streamgauge.contract.load import load_contract
from streamgauge.settings import ACCESS_FILE, CHECKOUT, CONTRACTS, PREFIX, Role, Settings
from streamgauge.telemetry.probes import LIVE, READY
from tests.chart import CHART, OWN_NAMES, RELEASE, VALUES, Chart, chart, template

KUBERNETES = ("1.30.0", "1.34.0", "1.37.0")
"""The oldest that Chart.yaml allows, one between, and the newest whose schemas there are."""
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((CHECKOUT / "platform/deploy/compose.yaml").read_text())[
    "services"
]
OURS = {
    OWN_NAMES.get(name, name): service
    for name, service in SERVICES.items()
    if service.get("image", "").startswith("streamgauge:")
}
LOGINS: dict[str, Role] = {
    "apply": "admin",
    "worker": "worker",
    "api": "api",
    "dagster-code": "batch",
    "dagster-web": "api",
    "dagster-daemon": "batch",
}
SITES = {
    "as it is": {},
    "no autoscaling, no login": {
        "worker__autoscaling__enabled": "false",
        "kafka__securityProtocol": "PLAINTEXT",
        "lake__secrets__batch": "",
        "lake__secrets__api": "",
    },
    "authorities and addresses of its own": {
        "authorities__kafka": "kafka-ca",
        "authorities__postgres": "postgres-ca",
        "kafka__saslMechanism": "PLAIN",
        "lake__endpoint": "https://store:9000",
        "lake__start": "2025-01-01",
        "urls__prometheus": "http://prometheus:9090",
        "urls__alertmanager": "http://alertmanager:9093",
        "urls__runbooks": "https://runbooks.example",
        "urls__source": "https://code.example/blob/main",
        "serviceAccount__annotations.role": "lake",
        "image__pullSecrets[0].name": "pull",
        "networkPolicy__pagesFrom[0].podSelector.matchLabels.app": "ingress",
        "networkPolicy__metricsFrom[0].namespaceSelector.matchLabels.name": "monitoring",
    },
}


@pytest.fixture(scope="module")
def rendered() -> Chart:
    return chart()


@pytest.fixture(scope="module")
def launcher(rendered: Chart, tmp_path_factory: pytest.TempPathFactory) -> K8sRunLauncher:
    """Dagster's own, by the chart's dagster.yaml."""
    kubeconfig = tmp_path_factory.mktemp("kube") / "config"
    cluster = {"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "c"}}
    users: list[Any] = [{"name": "c", "user": {}}]
    kubeconfig.write_text(
        yaml.safe_dump({"clusters": [cluster], "contexts": [context], "users": users, "current-context": "c"})
    )
    settings = rendered.instance()["run_launcher"]
    assert (settings["module"], settings["class"]) == ("dagster_k8s", "K8sRunLauncher")
    return K8sRunLauncher(**settings["config"], load_incluster_config=False, kubeconfig_file=str(kubeconfig))


@pytest.fixture(scope="module")
def run_job(launcher: K8sRunLauncher, rendered: Chart) -> dict[str, Any]:
    """The Job that a run becomes."""
    run = DagsterRun(job_name="lake", run_id="00000000-0000-0000-0000-000000000000")
    context: Any = launcher.get_container_context_for_run(run)
    image = rendered.container("dagster-code")["image"]
    job = construct_dagster_k8s_job(
        context.get_k8s_job_config(image, launcher),
        ["dagster"],
        "run",
        user_defined_k8s_config=context.run_k8s_config,
        component="run_worker",
        labels={"dagster/job": "lake"},
    )
    client: Any = ApiClient()
    return client.sanitize_for_serialization(job)


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("version", KUBERNETES)
def test_valid_for_kubernetes(site: str, version: str) -> None:
    found = chart(version, **SITES[site])
    assert set(found.pods) == set(OURS)
    checked = 0
    for manifest in found.manifests:
        if manifest["apiVersion"].startswith("keda.sh/"):
            continue
        kubernetes_validate.validate(manifest, version, strict=True)
        checked += 1
    assert checked > 20


def test_an_older_kubernetes_is_refused() -> None:
    oldest = yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"]
    assert oldest == f">={KUBERNETES[0]}-0"
    assert "incompatible with Kubernetes" in template(VALUES, "1.29.0").stderr


@pytest.mark.parametrize("missing", [name for name in VALUES if not name.startswith("lake.secrets.")])
def test_what_is_missing_is_named(missing: str) -> None:
    """Nothing has a default that would work somewhere else."""
    done = template({name: value for name, value in VALUES.items() if name != missing})
    assert done.returncode != 0
    assert missing.split(".")[-1] in done.stderr, done.stderr


@pytest.mark.parametrize("unknown", ["lake.secret", "worker.autoscaling.maximum", "workers.replicas"])
def test_what_nobody_reads_is_refused(unknown: str) -> None:
    """A misspelt value would leave the default where somebody thinks that it is another."""
    done = template(VALUES | {unknown: "1"})
    assert done.returncode != 0
    assert re.search(r"additional propert.* not allowed", done.stderr, re.IGNORECASE), done.stderr


def test_no_value_is_left_unread() -> None:
    templates = "".join(file.read_text() for file in (CHART / "templates").iterdir())

    def leaves(name: str, value: Any) -> Iterator[str]:
        # resources and urls are read whole
        if not isinstance(value, dict) or not value or name in ("resources", "urls"):
            yield name
            return
        for part, inner in cast("dict[str, Any]", value).items():
            yield from leaves(part, inner)

    names = list(leaves("", yaml.safe_load((CHART / "values.yaml").read_text())))
    assert len(names) > 50
    assert not [name for name in names if not re.search(rf'\.{name}\b|"{name}"', templates)]


def test_the_same_processes_as_compose(rendered: Chart) -> None:
    assert set(rendered.pods) == set(OURS)
    for name, service in OURS.items():
        container = rendered.container(name)
        assert container["command"] == service["command"], name
        assert container.get("workingDir") == service.get("working_dir"), name


@pytest.mark.parametrize("process", sorted(OURS))
def test_settings_are_complete_and_known(
    process: str, rendered: Chart, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = [variable["name"] for variable in rendered.container(process)["env"]]
    assert len(set(names)) == len(names)
    others = {"api_host", "api_port", *(f"dagster_{name}" for name in ("postgres_url", "code_host", "code_port"))}
    # read before there are credentials
    others |= {"batch_start", "runbooks_url", "source_url"}
    possible = variables_of(chart(**SITES["authorities and addresses of its own"]), process)
    assert set(names) <= set(possible)
    ours = {name for name in possible if name.startswith(PREFIX)}
    assert {name.removeprefix(PREFIX).lower() for name in ours} <= set(Settings.model_fields) | others
    # where people find the pages and the runbooks is said by `urls` alone, and the monitoring may not be there
    left_out = {f"{PREFIX}{name}" for name in ("ALERTMANAGER_URL", "RUNBOOKS_URL")}
    if process == "dagster-web":
        # it shows pages, and sends no alert
        left_out.add(f"{PREFIX}ALERT_WEBHOOK_URL")
    assert set(OURS[process]["environment"]) - left_out <= set(names)
    for variable in rendered.container(process)["env"]:
        monkeypatch.setenv(variable["name"], variable.get("value", "given"))
    monkeypatch.setenv(f"{PREFIX}DATA_DIR", str(tmp_path))
    settings = Settings.for_role(LOGINS[process])
    assert settings.kafka_username == "given"
    assert settings.postgres_dsn.get_secret_value() == "given"


def variables_of(rendered: Chart, process: str) -> dict[str, str | None]:
    return {v["name"]: v.get("value") for v in rendered.container(process)["env"]}


def test_authorities_are_files_that_settings_name() -> None:
    site = chart(**SITES["authorities and addresses of its own"])
    for process in site.pods:
        variables = variables_of(site, process)
        assert variables[f"{PREFIX}KAFKA_CA_FILE"] == "/authorities/kafka/ca.crt"
        assert f"{PREFIX}REGISTRY_CA_FILE" not in variables
        mounted = {m["name"]: m["mountPath"] for m in site.container(process)["volumeMounts"] if m.get("readOnly")}
        secrets = {v["name"]: v["secret"]["secretName"] for v in site.pods[process]["spec"]["volumes"] if "secret" in v}
        assert {mounted[name]: secret for name, secret in secrets.items()} == {
            "/authorities/kafka": "kafka-ca",
            "/authorities/postgres": "postgres-ca",
        }
    (login,) = site.of_kind("TriggerAuthentication").values()
    asked = {r["parameter"]: r["name"] for r in login["spec"]["secretTargetRef"]}
    assert asked == {"username": "reader-login", "password": "reader-login", "ca": "kafka-ca"}


def test_each_process_has_one_login(rendered: Chart) -> None:
    for process, login in LOGINS.items():
        found = {name for _, name in rendered.secrets(process)}
        assert f"{login}-login" in found
        others = {f"{role}-login" for role in ("admin", "worker", "batch", "api", "reader")} - {f"{login}-login"}
        assert not found & others, process
    assert {name for _, name in rendered.secrets("worker")} == {"worker-login", "shared-keys"}
    assert {name for _, name in rendered.secrets("apply")} == {"admin-login"}
    lake = {p: {name for name in dict(rendered.secrets(p)).values() if name.startswith("lake-")} for p in LOGINS}
    assert {p: found for p, found in lake.items() if found} == {
        "api": {"lake-api"},
        "dagster-code": {"lake-batch"},
        "dagster-daemon": {"lake-batch"},
    }
    signing = {p for p in LOGINS if f"{PREFIX}AUDIT_KEY" in dict(rendered.secrets(p))}
    assert signing == {"dagster-code"}, "nobody else may sign, but its runs"


def test_every_secret_is_a_reference(rendered: Chart) -> None:
    assert not rendered.of_kind("Secret")
    secret = re.compile("PASSWORD|USERNAME|_KEY|_DSN|REDIS_URL|POSTGRES_URL|WEBHOOK")
    for process in rendered.pods:
        for variable in rendered.container(process)["env"]:
            assert bool(secret.search(variable["name"])) == ("value" not in variable), variable
    assert not [name for name in VALUES if secret.search(name.upper())], "no value is a secret itself"


def test_no_root_and_nothing_writable(rendered: Chart, run_job: dict[str, Any]) -> None:
    dockerfile = (CHECKOUT / "platform/deploy/Dockerfile").read_text()
    (user,) = re.findall(r"useradd --uid (\d+)", dockerfile)
    pods = [*rendered.pods.values(), run_job["spec"]["template"]]
    assert len(pods) == len(OURS) + 1
    for pod in pods:
        security = pod["spec"]["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] == security["runAsGroup"] == int(user)
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["spec"]["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            writable = {m["name"] for m in container["volumeMounts"] if not m.get("readOnly")}
            volumes = {v["name"]: v for v in pod["spec"]["volumes"]}
            for name in writable - {"dagster-instance"}:
                assert volumes[name]["emptyDir"] == {}, name
            assert "/tmp" in {m["mountPath"] for m in container["volumeMounts"]}


def test_resources_are_asked_for_and_memory_is_bounded(rendered: Chart, run_job: dict[str, Any]) -> None:
    containers = [rendered.container(p) for p in rendered.pods] + run_job["spec"]["template"]["spec"]["containers"]
    for container in containers:
        asked, most = (container["resources"][kind] for kind in ("requests", "limits"))
        assert set(asked) == {"cpu", "memory"}, container["name"]
        assert set(most) == {"memory"}, "a limit on CPU slows what is only busy"


def test_only_who_begins_runs_may_ask_kubernetes(rendered: Chart, run_job: dict[str, Any]) -> None:
    """A token in a pod is a login that whoever breaks into it has."""
    specs = {name: pod["spec"] for name, pod in rendered.pods.items()}
    specs["run"] = run_job["spec"]["template"]["spec"]
    with_token = {name for name, spec in specs.items() if spec["automountServiceAccountToken"]}
    assert with_token == {"dagster-web", "dagster-daemon"}
    assert {specs[name]["serviceAccountName"] for name in with_token} == {f"{RELEASE}-dagster"}
    (role,) = rendered.of_kind("Role").values()
    assert {r for rule in role["rules"] for r in rule["resources"]} <= {
        "jobs", "jobs/status", "pods", "pods/log", "pods/status", "events"
    }  # fmt: skip


def test_a_run_is_a_job_with_what_the_code_server_has(rendered: Chart, run_job: dict[str, Any]) -> None:
    kubernetes_validate.validate(run_job, KUBERNETES[-1], strict=True)
    pod = run_job["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    code = rendered.container("dagster-code")
    assert container["image"] == code["image"]
    assert container["workingDir"] == code["workingDir"]
    has = {v["name"]: v for v in container["env"]}
    wanted = {v["name"]: v for v in code["env"]}
    del wanted["DAGSTER_CURRENT_IMAGE"]
    assert {name: has[name] for name in wanted} == wanted
    mounts = {m["mountPath"] for m in container["volumeMounts"]}
    assert {m["mountPath"] for m in code["volumeMounts"]} <= mounts, container["volumeMounts"]
    assert pod["metadata"]["labels"]["app.kubernetes.io/component"] == "dagster-run"


def test_dagster_has_the_instance_of_the_local_stack(rendered: Chart) -> None:
    ours = yaml.safe_load((CHECKOUT / "platform/dagster.yaml").read_text())
    theirs = rendered.instance()
    assert {name: theirs[name] for name in ours} == ours
    assert set(theirs) - set(ours) == {"run_launcher", "compute_logs"}
    daemon = rendered.of_kind("Deployment")["dagster-daemon"]["spec"]
    assert (daemon["replicas"], daemon["strategy"]) == (1, {"type": "Recreate"})


def test_contracts_arrive_as_they_are(rendered: Chart, tmp_path: Path) -> None:
    """In two ConfigMaps: a hook runs before what belongs to the release is there."""
    maps = rendered.of_kind("ConfigMap")
    assert maps["contracts"]["data"] == maps["contracts-to-apply"]["data"]
    for name, content in maps["contracts"]["data"].items():
        (tmp_path / name).write_text(content)
        assert load_contract(tmp_path / name) == load_contract(CONTRACTS / name)
    assert set(maps["contracts"]["data"]) == {file.name for file in CONTRACTS.glob("*.yaml")}
    applied = (maps["contracts-to-apply"], rendered.of_kind("Job")["apply"])
    hooks = [manifest["metadata"]["annotations"] for manifest in applied]
    assert [h["helm.sh/hook"] for h in hooks] == ["pre-install,pre-upgrade"] * 2
    assert int(hooks[0]["helm.sh/hook-weight"]) < int(hooks[1].get("helm.sh/hook-weight", 0))
    (volume,) = (v for v in rendered.pods["apply"]["spec"]["volumes"] if v["name"] == "contracts")
    assert volume["configMap"]["name"] == f"{RELEASE}-contracts-to-apply"


def test_workers_are_scaled_by_lag_and_cpu(rendered: Chart) -> None:
    scaled = rendered.of_kind("ScaledObject")["worker"]["spec"]
    assert scaled["scaleTargetRef"]["name"] == f"{RELEASE}-worker"
    assert "replicas" not in rendered.of_kind("Deployment")["worker"]["spec"], "each upgrade would set it back"
    contracts = [load_contract(file) for file in CONTRACTS.glob("*.yaml")]
    by_lag = [t for t in scaled["triggers"] if t["type"] == "kafka"]
    asked = {(t["metadata"]["consumerGroup"], t["metadata"]["topic"]) for t in by_lag}
    assert asked == {(c.group, c.topic) for c in contracts}
    assert {(t["metadata"]["sasl"], t["metadata"]["tls"]) for t in by_lag} == {("scram_sha512", "enable")}
    (login,) = rendered.of_kind("TriggerAuthentication").values()
    assert {t["authenticationRef"]["name"] for t in by_lag} == {login["metadata"]["name"]}
    assert {r["name"] for r in login["spec"]["secretTargetRef"]} == {"reader-login"}
    assert [t["metricType"] for t in scaled["triggers"] if t["type"] == "cpu"] == ["Utilization"]
    down = scaled["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
    assert down["stabilizationWindowSeconds"] >= 300
    most = max(c.topic_spec.partitions for c in contracts)
    assert scaled["maxReplicaCount"] <= most
    assert {t["metadata"]["excludePersistentLag"] for t in by_lag} == {"true"}
    refused = template(VALUES | {"worker.autoscaling.maxReplicas": str(most + 1)})
    assert f"no stream has more than {most} partitions" in refused.stderr


def test_a_topic_of_others_may_have_any_number_of_partitions(tmp_path: Path) -> None:
    foreign = yaml.safe_load((CONTRACTS / "user_events.yaml").read_text())
    foreign["name"] = "orders"
    foreign["customProperties"] = [p for p in foreign["customProperties"] if p["property"] != "topic"]
    foreign["customProperties"].append({"property": "source", "value": {"topic": "shop-orders", "format": "json"}})
    file = tmp_path / "orders.yaml"
    file.write_text(yaml.safe_dump(foreign))
    taken = template(VALUES | {"worker.autoscaling.maxReplicas": "24"}, contracts=[file])
    assert taken.returncode == 0, taken.stderr
    assert "topic: shop-orders" in taken.stdout


def test_the_api_survives_the_loss_of_a_node(rendered: Chart) -> None:
    scaled = rendered.of_kind("HorizontalPodAutoscaler")["api"]["spec"]
    assert scaled["scaleTargetRef"]["name"] == f"{RELEASE}-api"
    assert scaled["minReplicas"] >= 2
    budget = rendered.of_kind("PodDisruptionBudget")["api"]["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"]["matchLabels"].items() <= rendered.pods["api"]["metadata"]["labels"].items()


def test_services_lead_to_their_pods(rendered: Chart) -> None:
    services = rendered.of_kind("Service")
    assert set(services) == {"api", "dagster-code", "dagster-web"}
    for name, service in services.items():
        assert service["spec"]["selector"].items() <= rendered.pods[name]["metadata"]["labels"].items()
        (port,) = service["spec"]["ports"]
        listens = rendered.port(name, port["targetPort"])
        command = rendered.container(name)["command"]
        variables = {v["name"]: v.get("value") for v in rendered.container(name)["env"]}
        assert str(listens) in command or variables.get(f"{PREFIX}API_PORT") == str(listens)
    assert variables_of(rendered, "worker")[f"{PREFIX}METRICS_PORT"] == str(rendered.port("worker", "metrics"))
    code = variables_of(rendered, "dagster-web")
    assert code[f"{PREFIX}DAGSTER_CODE_HOST"] == f"{RELEASE}-dagster-code"
    assert code[f"{PREFIX}DAGSTER_CODE_PORT"] == str(services["dagster-code"]["spec"]["ports"][0]["port"])


def test_probes_ask_what_the_processes_answer(rendered: Chart) -> None:
    """The rest of it is asked of processes that run, in tests/integration."""
    probes = ("startupProbe", "livenessProbe", "readinessProbe")
    asked = {name: [rendered.container(name).get(kind) for kind in probes] for name in rendered.pods}
    assert {name for name, found in asked.items() if not any(found)} == {"apply", "dagster-daemon"}
    assert all(all(found) for found in asked.values() if any(found))
    paths = {name: [p["httpGet"]["path"] for p in found if p and "httpGet" in p] for name, found in asked.items()}
    assert paths["worker"] == [LIVE, LIVE, READY], "a restart brings no Postgres back"
    assert paths["api"] == ["/v1/health/live", "/v1/health/live", "/v1/health/ready"]
    assert {f"GET {path}" for path in paths["api"]} <= set(load_access(ACCESS_FILE).api.open), "no probe has a key"
    (code,) = {(p["grpc"]["port"], p["grpc"]["service"]) for p in asked["dagster-code"] if p}
    assert code == (rendered.port("dagster-code", "grpc"), "DagsterApi")
    ports = {p["httpGet"]["port"] for found in asked.values() for p in found if p and "httpGet" in p}
    assert ports == {"metrics", "http"}


def test_nothing_reaches_what_it_does_not_need(run_job: dict[str, Any]) -> None:
    open_to = chart(**SITES["authorities and addresses of its own"])
    policies = open_to.of_kind("NetworkPolicy")
    denied = policies.pop("default-deny")["spec"]
    assert denied["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in denied
    assert {p["port"] for rule in denied["egress"] for p in rule["ports"]} == {53}
    pods = {name: pod["metadata"]["labels"] for name, pod in open_to.pods.items()}
    pods["dagster-run"] = run_job["spec"]["template"]["metadata"]["labels"]
    assert set(policies) == set(pods)
    for name, policy in policies.items():
        selected = policy["spec"]["podSelector"]["matchLabels"]
        assert [p for p, labels in pods.items() if selected.items() <= labels.items()] == [name]
        assert denied["podSelector"]["matchLabels"].items() <= pods[name].items()
        assert all(rule["ports"] for rule in policy["spec"]["egress"])
        ports = {p["port"] for rule in policy["spec"]["egress"] for p in rule["ports"]}
        assert (6443 in ports) == (name in ("dagster-web", "dagster-daemon")), name
    entered = {
        name: {p["port"] for rule in policy["spec"].get("ingress", []) for p in rule["ports"]}
        for name, policy in policies.items()
    }
    listens = {name: {p["containerPort"] for p in open_to.container(name).get("ports", [])} for name in open_to.pods}
    assert {name: ports for name, ports in entered.items() if ports} == {n: p for n, p in listens.items() if p}
    closed = chart().of_kind("NetworkPolicy")
    assert {name for name, policy in closed.items() if "ingress" in policy["spec"]} == {"dagster-code"}
