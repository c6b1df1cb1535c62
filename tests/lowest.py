"""Print constraints that pin every dependency of pyproject.toml to its lower bound, torch aside."""

import re
import tomllib
from pathlib import Path


def lower_bounds() -> list[str]:
    """Read the bounds of the core and of all extras."""
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = project["dependencies"] + [each for name in extras for each in extras[name]]
    bounds = []
    for each in wanted:
        if each.startswith(("torch", "foveal")):
            continue
        match = re.fullmatch(r"([A-Za-z0-9-]+)>=([0-9.]+)", each)
        assert match, f"{each} has no lower bound"
        bounds.append(f"{match[1]}=={match[2]}")
    return bounds


if __name__ == "__main__":
    print("\n".join(lower_bounds()))  # noqa: T201 - its purpose
