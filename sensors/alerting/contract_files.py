"""Contracts that are set aside for a mistake: an alert for each file, until it is put right."""

from datetime import datetime
from pathlib import Path

from sensors.alerting.incidents import Alert
from streamgauge.contract.folder import read_folder


def faulty_contracts(folder: Path, now: datetime) -> list[Alert]:
    return [
        Alert(
            cause=f"contract/{fault.file}",
            name="StreamgaugeContractFaulty",
            severity="critical",
            stream="",
            asset="",
            owner="platform",
            summary=f"the contract {fault.file} has a mistake and is set aside",
            description=f"{fault.message}. Processes that had read it before go on with that; the other streams go on.",
            runbook="contract-faulty",
            since=now,
        )
        for fault in read_folder(folder).faults
    ]
