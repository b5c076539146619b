"""What the local stack writes for its servers, without starting one."""

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from configparser import RawConfigParser
from pathlib import Path
from platform import freedesktop_os_release
from subprocess import CompletedProcess
from types import SimpleNamespace

import psutil
import pytest
import yaml
from typer.testing import CliRunner

from streamgauge.cli import build
from streamgauge.errors import UserError
from streamgauge.settings import PREFIX, ROLES
from streamgauge.stack import control, installed, monitoring
from streamgauge.stack.control import Health, Stack
from streamgauge.stack.credentials import AUDIT_KEY, LOGS_KEY, PSEUDONYM_KEY, Credentials, credentials
from streamgauge.stack.doctor import examine
from streamgauge.stack.layout import STACK_DIR, Layout, layout, stack_file
from streamgauge.stack.part import Program
from streamgauge.stack.parts import PARTS
from streamgauge.stack.supervisor import Process, Supervisor
from streamgauge.telemetry.catalog.servers import JOBS, SERVERS


@pytest.fixture
def place(tmp_path: Path) -> Layout:
    built = Layout("demo", tmp_path / "demo", stack_file().base_ports["demo"])
    built.make_folders()
    return built


@pytest.fixture
def known(place: Layout) -> Credentials:
    return credentials(place)


def test_no_two_parts_or_instances_share_a_port() -> None:
    stack = stack_file()
    ports = [base + offset for base in stack.base_ports.values() for offset in stack.ports.values()]
    assert len(set(ports)) == len(ports)


def test_every_part_has_its_ports_and_needs_only_what_stands_before_it() -> None:
    before: set[str] = set()
    for part in PARTS:
        assert set(part.ports) <= set(stack_file().ports)
        assert set(part.needs) <= before
        before.add(part.name)


def test_an_unknown_instance_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}INSTANCE", "nowhere")
    monkeypatch.delenv(f"{PREFIX}BASE_PORT", raising=False)
    with pytest.raises(UserError, match="'nowhere'") as raised:
        layout()
    assert "demo, test" in raised.value.hint


def test_passwords_are_made_once(place: Layout, known: Credentials) -> None:
    assert len(set(known.passwords.values())) == len(known.passwords)
    assert credentials(place).passwords == known.passwords


_FIRST_START = """
import json, secrets, sys, time
from pathlib import Path
from streamgauge.stack.credentials import credentials
from streamgauge.stack.layout import Layout
made, place = secrets.token_hex, Layout("demo", Path(sys.argv[1]), 1)
def slowly(n):
    time.sleep(0.02)
    return made(n)
secrets.token_hex = slowly
print("ready", flush=True)
sys.stdin.readline()
print(json.dumps(credentials(place).passwords))
"""


def test_two_first_starts_at_once_make_one_set(place: Layout) -> None:
    command = [sys.executable, "-c", _FIRST_START, str(place.root)]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
        for _ in range(3)
    ]
    for process in started:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    built = {process.communicate(timeout=30)[0] for process in started}
    assert len(built) == 1
    assert json.loads(built.pop()) == json.loads((place.credentials / "passwords.json").read_text())


def test_reset_says_which_instance_and_whether_there_was_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(f"{PREFIX}BASE_PORT", raising=False)
    monkeypatch.setenv(f"{PREFIX}INSTANCE", "demo")
    monkeypatch.setenv(f"{PREFIX}DATA_DIR", str(tmp_path / "demo"))
    nothing = CliRunner().invoke(build(), ["stack", "reset", "--yes"])
    assert nothing.exit_code == 0
    assert "There is nothing of the instance demo" in nothing.output.replace("\n", " ")
    layout().make_folders()
    gone = CliRunner().invoke(build(), ["stack", "reset", "--yes"])
    assert "The instance demo is gone" in gone.output.replace("\n", " ")
    assert not (tmp_path / "demo").exists()
    monkeypatch.setenv(f"{PREFIX}INSTANCE", "nowhere")
    refused = CliRunner().invoke(build(), ["stack", "reset", "--yes"])
    assert refused.exit_code != 0
    assert isinstance(refused.exception, UserError) and "'nowhere'" in refused.exception.what


@pytest.mark.parametrize(
    ("stopped", "code", "verdict"), [("worker", 1, "problem"), ("api", 0, "note"), ("kafka", 1, "")]
)
def test_a_stack_without_a_needed_part_is_not_well(
    stopped: str, code: int, verdict: str, place: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def health(_: Stack) -> list[Health]:
        running = Process("p", "RUNNING", 1, 1)
        return [
            Health(p, Process("p", "STOPPED", None, 0), None, "stopped")
            if p.name == stopped
            else Health(p, running, stack_file().versions.get(p.name, "1"), None)
            for p in PARTS
        ]

    monkeypatch.setenv(f"{PREFIX}INSTANCE", "demo")
    monkeypatch.setenv(f"{PREFIX}DATA_DIR", str(place.root))
    monkeypatch.setattr(Stack, "health", health)
    assert CliRunner().invoke(build(), ["stack", "status", "--json"]).exit_code == code
    found = {f.check: f for f in examine(Stack(place))}
    if verdict:
        assert found[f"{stopped} runs"].verdict == verdict
        assert f"streamgauge stack restart {stopped}" in found[f"{stopped} runs"].hint
    else:
        assert found["worker runs"].verdict == "ok", "a server that is down hides nothing of the worker"


def test_prometheus_accepts_its_configuration_and_scrapes_every_exporter(known: Credentials) -> None:
    monitoring.prepare_prometheus(known)
    file = known.layout.part("prometheus") / "prometheus.yaml"
    checked = subprocess.run(["promtool", "check", "config", file], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    jobs = {job["job_name"]: job for job in yaml.safe_load(file.read_text())["scrape_configs"]}
    for job in JOBS:
        (kept,) = jobs[job]["metric_relabel_configs"]
        assert kept["regex"].split("|") == [m.name for m in SERVERS if m.emitters == (job,)]


def test_a_missing_password_is_added_and_the_others_are_kept(place: Layout, known: Credentials) -> None:
    store = place.credentials / "passwords.json"
    redis = known.of("redis", "reader")
    store.write_text(store.read_text().replace('"redis.reader"', '"no longer used"'))
    again = credentials(place)
    assert again.of("redis", "reader") != redis
    assert again.of("kafka", "admin") == known.of("kafka", "admin")
    assert set(again.passwords) == set(known.passwords)


def test_a_role_s_file_holds_no_other_role_s_password(place: Layout, known: Credentials) -> None:
    for role in ROLES:
        text = (place.credentials / f"{role}.env").read_text()
        held = {name for name, password in known.passwords.items() if password in text}
        assert held
        counts = role in ("worker", "batch", "api")
        assert LOGS_KEY in held
        assert {name.split(".")[1] for name in held - {PSEUDONYM_KEY, AUDIT_KEY, LOGS_KEY}} == {role}
        assert (PSEUDONYM_KEY in held) == counts
        assert (AUDIT_KEY in held) == (role == "batch")


def test_only_the_owner_reads_the_passwords(place: Layout, known: Credentials) -> None:
    assert place.credentials.stat().st_mode & 0o777 == 0o700
    assert {p.stat().st_mode & 0o777 for p in place.credentials.iterdir()} == {0o600}


Config = Callable[[Program], RawConfigParser]


@pytest.fixture
def config_of(place: Layout, monkeypatch: pytest.MonkeyPatch) -> Config:
    """The configuration that is written for a program, and no supervisor that reads it."""

    def refuse(command: list[str], **_: object) -> CompletedProcess[str]:
        return CompletedProcess(command, 1, "", "not today")

    def written(program: Program) -> RawConfigParser:
        monkeypatch.setattr(subprocess, "run", refuse)
        with pytest.raises(UserError, match="the supervisor doesn't start: not today"):
            Supervisor(place).launch([("part", program)])
        read = RawConfigParser()
        read.read(place.supervisor / "supervisord.conf")
        return read

    return written


def test_the_supervisor_restarts_what_dies_and_rotates_its_log(place: Layout, config_of: Config) -> None:
    section = config_of(Program(("/bin/server",), stop_signal="INT", stop_seconds=7))["program:part"]
    assert section["autorestart"] == "true"
    assert section["autostart"] == "false"
    assert (section["stopsignal"], section["stopwaitsecs"]) == ("INT", "7")
    assert section["stdout_logfile"] == str(place.log("part"))
    assert int(section["stdout_logfile_backups"]) > 0


def test_a_command_with_a_space_or_a_percent_stays_what_it_is(config_of: Config) -> None:
    section = config_of(Program(("/opt/my server/run", "--rate=50%")))["program:part"]
    assert section["command"] == "'/opt/my server/run' --rate=50%%"


def test_a_path_too_long_for_a_socket_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="too long for a unix socket"):
        Supervisor(Layout("demo", tmp_path / ("x" * 100), 1)).launch([])


def test_the_supervisor_is_reached_only_by_its_owner(config_of: Config) -> None:
    config = config_of(Program(("/bin/server",)))
    assert config["unix_http_server"]["chmod"] == "0600"
    assert "inet_http_server" not in config


def test_too_little_disk_is_reported_before_anything_starts(place: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    def nearly_full(_: str) -> SimpleNamespace:
        return SimpleNamespace(free=300 << 20)

    monkeypatch.setattr(control, "check_installed", lambda: None)
    monkeypatch.setattr(psutil, "disk_usage", nearly_full)
    with pytest.raises(UserError, match="only 300 MiB are free") as raised:
        Stack(place).up()
    assert "STREAMGAUGE_DATA_DIR" in raised.value.hint


def test_java_missing_is_reported_with_what_to_run(
    place: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installed, "cache_dir", lambda: tmp_path)
    with pytest.raises(UserError, match="Java is missing") as raised:
        Stack(place).up()
    assert "install.sh" in raised.value.hint


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "check_installed", lambda: None)
    letter = tmp_path / "home" / "letter"
    letter.parent.mkdir()
    letter.write_text("dear")
    stack = Stack(Layout("demo", letter.parent, 1))
    for action in (stack.up, stack.reset):
        with pytest.raises(UserError, match="not an instance's folder"):
            action()
    assert [p.name for p in letter.parent.iterdir()] == ["letter"]


SOURCES = [
    (
        "debian.sources",
        "Types: deb\nURIs: http://mirror/debian/\nSuites: {release} x\nComponents: main\nSigned-By: /key\n",
    ),
    ("a.list", "deb [arch=amd64 signed-by=/key] http://mirror/debian/ {release} main contrib\n"),
]


@pytest.mark.parametrize(("name", "text"), SOURCES)
def test_source_packages_come_from_the_mirror_of_the_packages(
    name: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = runpy.run_path(str(STACK_DIR / "source_archive.py"))
    release = freedesktop_os_release()["VERSION_CODENAME"]
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / "0.list").write_text("# deb http://off/debian main\ndeb http://other/ tools main\n")
    (tmp_path / "sources.list.d" / name).write_text(text.format(release=release))
    monkeypatch.setitem(script["main"].__globals__, "APT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["source_archive.py", "trixie"])
    assert script["main"]() == 0
    assert capsys.readouterr().out.splitlines() == [
        "Types: deb-src",
        "URIs: http://mirror/debian/",
        "Suites: trixie",
        "Components: main",
        "Signed-By: /key",
    ]
