"""The two ways in which a comparison can go wrong that a user can do something about."""


class InputError(ValueError):
    """The input cannot be compared as it is; one sentence says which file and row, what is wrong, and what to do."""


class MetricUnavailableError(RuntimeError):
    """A metric cannot run on this machine. The message says why and what would make it run."""
