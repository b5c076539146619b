"""The local stack: what dies comes back, what is wrong is said, what is stopped is gone."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable

import psutil
import psycopg
import pytest
from redis.exceptions import NoPermissionError

from streamgauge.errors import UserError
from streamgauge.settings import ROLES, Settings
from streamgauge.stack.control import Health, Stack, port_holder
from streamgauge.stack.doctor import examine
from streamgauge.stack.layout import LOOPBACK, stack_file
from streamgauge.stack.supervisor import MARK
from streamgauge.stores.postgres import connect
from streamgauge.stores.redis import redis_client


def of(stack: Stack, name: str) -> Health:
    return next(h for h in stack.health() if h.part.name == name)


def pid_of(stack: Stack, name: str) -> int:
    process = of(stack, name).process
    assert process is not None
    assert process.pid is not None
    return process.pid


def until(true: Callable[[], bool], seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.1)


def left_running(stack: Stack) -> list[str]:
    found: list[str] = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(stack.layout.root):
                found.append(process.name())
        except (psutil.Error, OSError):
            continue
    return found


def test_all_ready_in_the_pinned_versions(stack: Stack) -> None:
    versions = {h.part.name: h.version for h in stack.health() if not h.part.optional}
    for name, version in versions.items():
        assert version is not None, name
        assert version.startswith(stack_file().versions[name])


def test_doctor_finds_no_fault_in_the_servers(stack: Stack) -> None:
    about_servers = [f for f in examine(stack) if f.check not in ("contracts", "worker runs", "worker's lag")]
    assert [f for f in about_servers if f.verdict == "problem"] == []


@pytest.mark.parametrize("name", ["redis", "postgres", "kafka", "registry"])
def test_killed_part_is_restarted(stack: Stack, name: str) -> None:
    killed = pid_of(stack, name)
    os.kill(killed, signal.SIGKILL)
    until(lambda: of(stack, name).ready and pid_of(stack, name) != killed)


def test_taken_port_is_reported_with_its_holder(stack: Stack) -> None:
    stack.stop_program("redis")
    port = stack.layout.port("redis")
    with socket.create_server((LOOPBACK, port)), pytest.raises(UserError) as raised:
        stack.start_program("redis")
    assert f"port {port}" in raised.value.what
    assert f"process {os.getpid()}" in raised.value.what
    stack.start_program("redis")
    assert of(stack, "redis").ready


def test_part_that_dies_at_its_start_is_shown_with_its_log(stack: Stack) -> None:
    stack.stop_program("postgres")
    config = stack.layout.part("postgres") / "data" / "postgresql.conf"
    good = config.read_text()
    config.write_text(good + "\nno_such_setting = 1\n")
    try:
        with pytest.raises(UserError, match="no_such_setting"):
            stack.start_program("postgres")
    finally:
        config.write_text(good)
        stack.start_program("postgres")


def test_everything_listens_on_loopback_only(stack: Stack) -> None:
    ours = {stack.layout.port(name) for h in stack.health() for name in h.part.ports}
    addresses = {
        c.laddr.ip.removeprefix("::ffff:")
        for c in psutil.net_connections("tcp")
        if c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port in ours
    }
    assert addresses == {LOOPBACK}


def test_passwords_are_for_their_owner_only(stack: Stack) -> None:
    modes = {p.name: p.stat().st_mode & 0o777 for p in stack.layout.credentials.iterdir()}
    assert set(modes) == {"passwords.json", *(f"{role}.env" for role in ROLES)}
    assert set(modes.values()) == {0o600}


def test_roles_have_only_their_rights(stack: Stack) -> None:
    worker, reader = (redis_client(Settings.for_role(role)) for role in ("worker", "reader"))
    key = "streamgauge:test:minutes"
    worker.set(key, "1", ex=60)
    assert reader.get(key) == "1"
    for client, command in (
        (worker, "SET other 1"),
        (worker, "FLUSHALL"),
        (reader, f"SET {key} 2"),
        (reader, "GET streamgauge:test:top:users:1h"),
        (reader, "CONFIG GET *"),
    ):
        with pytest.raises(NoPermissionError):
            client.execute_command(*command.split())  # pyright: ignore[reportUnknownMemberType]
    for role in ("worker", "batch", "api", "reader"):
        with connect(Settings.for_role(role)) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("create table streamgauge.mine (id int)")


def test_second_up_changes_nothing(stack: Stack) -> None:
    before = [h.process and h.process.pid for h in stack.health()]
    stack.up()
    assert [h.process and h.process.pid for h in stack.health()] == before


def test_up_waits_for_a_server_that_answers_late(stack: Stack) -> None:
    frozen = pid_of(stack, "redis")
    os.kill(frozen, signal.SIGSTOP)
    going_on = threading.Timer(5.0, os.kill, (frozen, signal.SIGCONT))
    going_on.start()
    try:
        stack.up()
        assert pid_of(stack, "redis") == frozen
    finally:
        going_on.join()


def test_up_restarts_a_server_that_does_not_answer(stack: Stack) -> None:
    frozen = pid_of(stack, "redis")
    os.kill(frozen, signal.SIGSTOP)
    stack.up()
    assert pid_of(stack, "redis") != frozen


def test_down_leaves_nothing_running_and_up_finds_the_data(stack: Stack) -> None:
    admin = Settings.for_role("admin")
    with connect(admin) as connection:
        connection.execute("create table streamgauge.kept as select 42 as answer")
    try:
        assert stack.down()
        assert left_running(stack) == []
        assert not stack.down()
    finally:
        stack.up()
    with connect(admin) as connection:
        assert connection.execute("select answer from streamgauge.kept").fetchone() == (42,)
        connection.execute("drop table streamgauge.kept")


def test_servers_outliving_their_supervisor_are_stopped(stack: Stack) -> None:
    supervisor = int((stack.layout.supervisor / "pid").read_text())
    os.kill(supervisor, signal.SIGKILL)
    until(lambda: not stack.running)
    try:
        assert port_holder(stack.layout.port("kafka")) is not None
        assert stack.down()
        assert left_running(stack) == []
    finally:
        stack.up()
