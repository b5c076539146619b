"""What all tests share."""

from hypothesis import settings

# A machine that is busy with other tests is no defect: examples may take as long as they take.
settings.register_profile("streamgauge", deadline=None)
settings.load_profile("streamgauge")
