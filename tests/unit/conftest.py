"""What all unit tests share."""

from hypothesis import settings

# Property tests ask whether the code is right. How long an example takes says how busy the machine is.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
