"""Says whether an object is what its API takes: Kubernetes' own schemas, strict; for others, those in `schemas/`."""

import functools
import json
import pathlib

import jsonschema
import kubernetes_validate
import kubernetes_validate.utils as kubernetes_schemas

# Read once for all objects.
kubernetes_schemas.schema_contents = functools.cache(kubernetes_schemas.schema_contents)

FOLDER = pathlib.Path(__file__).parent / "schemas"
# The oldest that the chart installs on, and those that are supported.
VERSIONS = ["1.25", *(f"1.{minor}" for minor in range(30, 38))]
# Nothing beta or alpha of Kubernetes: those go away with a release.
UNSTABLE = ("alpha", "beta")


@functools.cache
def own_schema(api_version, kind):
    path = FOLDER / f"{api_version.replace('/', '-')}-{kind}.json"
    return json.loads(path.read_text()) if path.exists() else None


def is_kubernetes(api_version):
    group = api_version.rpartition("/")[0]
    return "." not in group or group.endswith(".k8s.io")


def problems(document, version="1.37"):
    """What is wrong with the object, as texts."""
    api_version, kind = document.get("apiVersion", ""), document.get("kind", "")
    if is_kubernetes(api_version) and any(word in api_version.rpartition("/")[2] for word in UNSTABLE):
        return [f"{api_version} is not stable"]
    if not is_kubernetes(api_version):
        schema = own_schema(api_version, kind)
        if schema is None:
            return [f"there is no schema for {api_version} {kind} in {FOLDER.name}/"]
        found = jsonschema.Draft202012Validator(schema).iter_errors(document)
        return [f"{'/'.join(map(str, error.path))}: {error.message}" for error in found]
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{'/'.join(map(str, error.path))}: {error.message}"]
    except kubernetes_validate.SchemaNotFoundError as error:
        return [error.message]
    return []
