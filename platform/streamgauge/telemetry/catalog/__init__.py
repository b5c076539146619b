"""The one list of what the platform reports: every metric, span, attribute and log field with its unit, meaning,
stability and who emits it. Instruments are created from it, docs/telemetry.md is its page, and a test holds what the
processes emit against it.

No instrument and no value belongs here. Names follow OpenTelemetry's semantic conventions where there is one.
"""
