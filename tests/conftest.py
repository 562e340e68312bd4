"""What holds for every test."""

from hypothesis import settings

# Hypothesis fails an example that takes longer than 200 ms: on a busy machine that tells nothing
# about the code. Speed is measured in benchmarks/.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
