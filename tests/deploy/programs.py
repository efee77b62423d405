"""Our own programs, where they are built; tests that need them are skipped, and say so, where they are not."""

import os
import pathlib

import pytest
import yaml

import chart

TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or chart.REPOSITORY / "target")
# In the order in which they are looked for.
FOLDERS = [pathlib.Path(folder) for folder in (os.environ.get("TAILWATER_BIN_DIR"), TARGET / "release") if folder]


def program(name):
    for folder in FOLDERS:
        if (folder / name).exists():
            return folder / name
    pytest.skip(f"{name} is not built (looked in {', '.join(map(str, FOLDERS))})")


def keys_printed(name, *arguments):
    """Keys of `--print-config`, dotted, with those of maps that the user names cut off."""
    outcome = chart.run([program(name), *arguments, "--print-config"], env=clean_environment())
    assert outcome.returncode == 0, outcome.stderr
    return set(dotted(yaml.safe_load(outcome.stdout)))


def dotted(tree, prefix=""):
    for name, value in tree.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            yield from dotted(value[0], f"{prefix}{name}[0].")
        elif isinstance(value, dict) and value:
            yield from dotted(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def clean_environment(**extra):
    """Nothing of this machine's own settings reaches the program."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TAILWATER_", "AWS_", "KUBERNETES_"))}
    return {**kept, **extra}
