"""Our own programs, where they are built; tests that need them are skipped, and say so, where they are not."""

import os
import pathlib
import re

import pytest

import chart

TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or chart.REPOSITORY / "target")
# In the order in which they are looked for.
FOLDERS = [pathlib.Path(folder) for folder in (os.environ.get("TAILWATER_BIN_DIR"), TARGET / "release") if folder]


def program(name):
    for folder in FOLDERS:
        if (folder / name).exists():
            return folder / name
    pytest.skip(f"{name} is not built (looked in {', '.join(map(str, FOLDERS))})")


def keys_of(name):
    """Keys of a program's configuration, dotted, as its source lists them."""
    file, pattern = {
        "tailwater-agent": ("agent/src/config/*keys.rs", r'path: "([a-z0-9_.\[\]]+)"'),
        "tailwater-aggregator": ("aggregator/src/config/key.rs", r'key\("([a-z0-9_.]+)", Kind::'),
    }[name]
    texts = [path.read_text().split("#[cfg(test)]")[0] for path in chart.REPOSITORY.glob(file)]
    found = {key for text in texts for key in re.findall(pattern, text)}
    assert len(found) > 20, f"{file} lists its keys in another way"
    return found


def clean_environment(**extra):
    """Nothing of this machine's own settings reaches the program."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TAILWATER_", "AWS_", "KUBERNETES_"))}
    return {**kept, **extra}
