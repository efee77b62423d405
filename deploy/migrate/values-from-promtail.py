#!/usr/bin/env python3
"""Turns a promtail.yaml, and values of Promtail's Helm chart if there are any, into values of tailwater's.

    python3 values-from-promtail.py --push-url URL promtail.yaml [VALUES.yaml] > values.yaml

The agent runs promtail.yaml as it stands, but that every client's URL becomes URL; without --push-url they stay. What has no
counterpart in the values is listed on standard error. `tailwater-agent --promtail-config promtail.yaml --check-config` judges the file itself.
"""

import argparse
import pathlib
import sys

import yaml

# Values of the same name and meaning in both charts.
SAME = ["tolerations", "nodeSelector", "affinity", "resources", "priorityClassName", "podAnnotations", "podLabels", "updateStrategy", "extraEnv", "extraVolumes", "extraVolumeMounts"]
# Values that say nothing that is needed here.
NEEDLESS = {"config", "defaultVolumes", "defaultVolumeMounts", "fullnameOverride", "nameOverride", "initContainer", "rbac", "image"}


class Values(yaml.SafeDumper):
    """Writes YAML as Helm reads it: to Helm, `y` and `n` are booleans."""

    def text(self, text):
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="'" if text in ("y", "Y", "n", "N") else None)


Values.add_representer(str, Values.text)


def is_empty(value):
    return value is None or value == "" or value == {} or value == []


def converted(promtail, values, push_url):
    """Our values, and the names of Promtail's values that have no counterpart."""
    if push_url:
        for client in promtail.get("clients") or []:
            client["url"] = push_url
    agent = {"promtailConfig": promtail}
    ours, left = {"agent": agent}, []
    for name, value in values.items():
        if is_empty(value) or name in NEEDLESS:
            continue
        if name in SAME:
            agent[name] = value
        elif name == "serviceAccount" and value.get("annotations"):
            agent["serviceAccount"] = {"annotations": value["annotations"]}
        elif name == "imagePullSecrets":
            ours["global"] = {"image": {"pullSecrets": [one["name"] for one in value]}}
        elif name == "serviceMonitor":
            ours["monitoring"] = {"podMonitor": {"enabled": bool(value.get("enabled"))}}
            if value.get("labels"):
                ours["monitoring"]["labels"] = value["labels"]
        elif name == "networkPolicy":
            ours["networkPolicy"] = {"enabled": bool(value.get("enabled"))}
        elif name != "serviceAccount":
            left.append(name)
    positions = (promtail.get("positions") or {}).get("filename", "")
    folder = str(pathlib.PurePosixPath(positions).parent) if positions else ""
    mounted = {mount.get("mountPath") for mount in agent.get("extraVolumeMounts", [])}
    if folder.startswith("/") and folder != "/" and folder not in mounted:
        # Where Promtail's chart keeps its positions: read once, so that nothing is shipped twice.
        agent.setdefault("extraVolumes", []).append({"name": "promtail-positions", "hostPath": {"path": folder, "type": "DirectoryOrCreate"}})
        agent.setdefault("extraVolumeMounts", []).append({"name": "promtail-positions", "mountPath": folder, "readOnly": True})
    return ours, left


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--push-url", default="")
    parser.add_argument("promtail", type=pathlib.Path)
    parser.add_argument("values", type=pathlib.Path, nargs="?")
    given = parser.parse_args()
    values = yaml.safe_load(given.values.read_text()) if given.values else {}
    ours, left = converted(yaml.safe_load(given.promtail.read_text()), values or {}, given.push_url)
    print(yaml.dump(ours, Dumper=Values, sort_keys=False), end="")
    for name in left:
        print(f"{name}: has no counterpart", file=sys.stderr)


if __name__ == "__main__":
    main()
