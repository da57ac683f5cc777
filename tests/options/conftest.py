"""The registry of the integration tests, and two ways to look at what an option makes of it."""

from tests.integration.conftest import registry  # noqa: F401 - a fixture
