"""What all tests share."""

import pytest

from tests.examples import use_defaults

use_defaults()

LONGEST = (
    "test_image.py",
    "test_batch_layer.py",
    "test_alerts.py",
    "test_telemetry.py",
    "test_worker_isolation.py",
    "test_monitoring_login.py",
    "test_stack.py",
    "test_secured_servers.py",
    "test_page.py",
    "test_contracts_taken_up.py",
    "test_serving_outages.py",
    "test_event_hours.py",
    "test_serving_contract.py",
    "test_facts.py",
    "test_rebuild.py",
    "test_worker_output.py",
    "test_worker_input.py",
    "test_producer.py",
    "test_page_stack.py",
    "test_kafka_clients.py",
    "test_apply.py",
    "test_ingest.py",
    "test_monitoring.py",
    "test_reconciliation.py",
    "test_real_data.py",
    "test_pipeline.py",
    "test_rules.py",
)
"""The files that take longest are begun first: one begun last would run alone at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))
