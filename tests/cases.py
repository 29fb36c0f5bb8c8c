"""Number and seeds of the random cases of a test.

On every push a test tries a few cases, always the same ones: Hypothesis seeds them from the test's own source. `nox -s
fuzz` sets HORIZON_CASES: then every test tries that many, seeded by pytest's option --hypothesis-seed, and a failure
prints the smallest example that Hypothesis finds. No test has a deadline: on a busy machine any case may take long.
"""

import os

from hypothesis import HealthCheck, settings

ASKED = os.environ.get("HORIZON_CASES")
PUSH, FUZZ = "push", "fuzz"

settings.register_profile(PUSH, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
settings.register_profile(
    FUZZ, settings.get_profile(PUSH), derandomize=False, max_examples=int(ASKED or 1), print_blob=True
)
settings.load_profile(FUZZ if ASKED else PUSH)


def cases(few: int) -> settings:
    """Settings of a test that tries `few` cases on a push."""
    return settings() if ASKED else settings(max_examples=few)
