"""`python -m scripts.manifests` writes what of deploy/ is generated."""

from scripts.manifests import values_schema

values_schema.write()
