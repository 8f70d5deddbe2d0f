"""What of deploy/ is generated: the schema of the chart's values, and the manifests that kustomize begins with."""
