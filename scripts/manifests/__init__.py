"""What of deploy/ is generated: the schema of the chart's values, and the manifests that kustomize begins with."""

from importlib.util import find_spec

from scripts.manifests import values_schema


def write() -> None:
    """The manifests only where Helm's bindings are installed, which not every machine can have."""
    values_schema.write()
    if find_spec("helm_python") is None:
        print("deploy/kustomize: left as it is, since helm-python-sdk is not installed")
        return
    from scripts.manifests import kustomize  # noqa: PLC0415 - imports the bindings

    kustomize.write()
