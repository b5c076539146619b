"""Where settings come from, and what is said when they are missing."""

import os
from pathlib import Path

import pytest

from streamgauge.errors import UserError
from streamgauge.settings import PREFIX, Settings, data_dir

VALUES = {
    "kafka_bootstrap_servers": "localhost:1",
    "kafka_username": "worker",
    "kafka_password": "hunter-1",
    "registry_url": "http://localhost:2/apis/ccompat/v7",
    "postgres_dsn": "postgresql://worker:hunter-2@localhost:3/streamgauge",
    "redis_url": "redis://worker:hunter-3@localhost:4/0",
}


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in [n for n in os.environ if n.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv(f"{PREFIX}DATA_DIR", str(tmp_path))
    return tmp_path


def credentials_file(folder: Path, **changed: str) -> None:
    (folder / "credentials").mkdir()
    lines = [f"{PREFIX}{name.upper()}={value}\n" for name, value in {**VALUES, **changed}.items()]
    (folder / "credentials" / "worker.env").write_text("".join(lines))


def test_from_the_role_s_credentials_file(folder: Path) -> None:
    credentials_file(folder)
    settings = Settings.for_role("worker")
    assert settings.kafka_bootstrap_servers == "localhost:1"
    assert settings.redis_url.get_secret_value() == VALUES["redis_url"]
    assert settings.data_dir == folder


def test_environment_comes_before_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials_file(folder)
    monkeypatch.setenv(f"{PREFIX}KAFKA_BOOTSTRAP_SERVERS", "elsewhere:1")
    settings = Settings.for_role("worker")
    assert settings.kafka_bootstrap_servers == "elsewhere:1"
    assert settings.kafka_username == "worker"


def test_missing_ones_are_named_with_what_to_do() -> None:
    with pytest.raises(UserError) as raised:
        Settings.for_role("worker")
    required = [name for name, field in Settings.model_fields.items() if field.is_required() and name != "data_dir"]
    assert all(f"{PREFIX}{name.upper()}" in raised.value.what for name in required)
    assert "streamgauge stack up" in raised.value.hint


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"kafka_password": None}, "KAFKA_PASSWORD"),
        ({"kafka_username": None, "kafka_sasl_mechanism": "PLAIN"}, "KAFKA_USERNAME"),
        ({"kafka_certificate_file": __file__}, "KAFKA_KEY_FILE"),
        ({"kafka_ca_file": "/nowhere/ca.pem"}, "KAFKA_CA_FILE"),
        ({"registry_username": "ada"}, "REGISTRY_PASSWORD"),
        ({"registry_key_file": __file__}, "REGISTRY_CERTIFICATE_FILE"),
        ({"kafka_properties": '{"enable.auto.commit": "true"}'}, "KAFKA_PROPERTIES"),
        ({"kafka_sasl_mechanism": "MAGIC"}, "KAFKA_SASL_MECHANISM"),
    ],
)
def test_logins_that_are_half_given_are_named(
    given: dict[str, str | None], named: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {name: value for name, value in {**VALUES, **given}.items() if value is not None}
    for name, value in wanted.items():
        monkeypatch.setenv(f"{PREFIX}{name.upper()}", value)
    with pytest.raises(UserError) as raised:
        Settings.for_role("worker")
    assert raised.value.what.endswith(f": {PREFIX}{named}")


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"kafka_security_protocol": "PLAINTEXT"}, "KAFKA_PASSWORD"),
        ({"kafka_sasl_mechanism": "OAUTHBEARER"}, "KAFKA_USERNAME"),
    ],
)
def test_a_login_that_is_not_used_need_not_be_given(
    given: dict[str, str], missing: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**VALUES, **given}.items():
        if name != missing.lower():
            monkeypatch.setenv(f"{PREFIX}{name.upper()}", value)
    assert Settings.for_role("worker")


def test_a_wrong_one_is_named_without_its_value(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials_file(folder)
    monkeypatch.setenv(f"{PREFIX}LOG_LEVEL", "LOUD")
    with pytest.raises(UserError) as raised:
        Settings.for_role("worker")
    assert f"{PREFIX}LOG_LEVEL" in raised.value.what
    assert "LOUD" not in raised.value.what


def test_secrets_are_not_shown(folder: Path) -> None:
    credentials_file(folder)
    shown = repr(Settings.for_role("worker"))
    assert "localhost:1" in shown
    assert "hunter" not in shown


@pytest.mark.parametrize(
    ("uid", "instance", "expected"),
    [
        (0, None, "/var/lib/streamgauge/demo"),
        (0, "test", "/var/lib/streamgauge/test"),
        (1000, "test", "/home/ada/.data/streamgauge/test"),
    ],
)
def test_each_instance_has_a_folder_of_its_own(
    uid: int, instance: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(f"{PREFIX}DATA_DIR")
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setenv("XDG_DATA_HOME", "/home/ada/.data")
    if instance:
        monkeypatch.setenv(f"{PREFIX}INSTANCE", instance)
    assert data_dir() == Path(expected)


@pytest.mark.parametrize("wrong", ["127.0.0.1:9411", "http://127.0.0.1:x1", "http://", "ftp://127.0.0.1/"])
def test_an_address_that_is_none_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    credentials_file(folder)
    monkeypatch.setenv("STREAMGAUGE_ZIPKIN_URL", wrong)
    with pytest.raises(UserError, match=r"wrong: STREAMGAUGE_ZIPKIN_URL$"):
        Settings.for_role("worker")
    monkeypatch.setenv("STREAMGAUGE_ZIPKIN_URL", "http://127.0.0.1:9411")
    assert Settings.for_role("worker").zipkin_url == "http://127.0.0.1:9411"
