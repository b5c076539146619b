"""The parts of the local stack, in the order in which they may start."""

from streamgauge.stack import kafka, postgres, redis, schema_registry, worker
from streamgauge.stack.part import Part

WORKER = "worker"

PARTS = (
    Part(
        "postgres",
        ports=("postgres",),
        needs=(),
        program=postgres.program,
        probe=postgres.probe,
        prepare=postgres.prepare,
        set_up=postgres.set_up,
    ),
    Part(
        "kafka",
        ports=("kafka", "kafka-controller"),
        needs=(),
        program=kafka.program,
        probe=kafka.probe,
        prepare=kafka.prepare,
    ),
    Part(
        "redis",
        ports=("redis",),
        needs=(),
        program=redis.program,
        probe=redis.probe,
        prepare=redis.prepare,
    ),
    Part(
        "registry",
        ports=("registry", "registry-management"),
        needs=("postgres",),
        program=schema_registry.program,
        probe=schema_registry.probe,
        prepare=schema_registry.prepare,
    ),
    Part(
        WORKER,
        ports=("worker-metrics",),
        needs=("postgres", "kafka", "redis", "registry"),
        program=worker.program,
        probe=worker.probe,
        optional=True,
    ),
)


def part(name: str) -> Part:
    return next(p for p in PARTS if p.name == name)
