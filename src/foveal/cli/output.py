"""Results on standard output."""


def print_result(text: str) -> None:
    """Print a result on standard output."""
    print(text)  # noqa: T201 - the only place that prints results
