"""Findings about the images that a run was trained on."""

from foveal.data.duplicates import describe_equal_files
from foveal.files.run_records import DatasetRecord
from foveal.reporting.findings import Finding


def describe_dataset(dataset: DatasetRecord) -> list[Finding]:
    """Say how many files hold the same bytes although they belong to different classes or splits."""
    return [
        Finding(
            kind=f"equal_files_in_{equal.kind}",
            sentence=f"{describe_equal_files(equal)}.",
            numbers={"n": equal.n, "between": list(equal.between), "pairs": [list(p) for p in equal.pairs]},
        )
        for equal in dataset.equal_files
    ]
