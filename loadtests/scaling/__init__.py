"""A fleet that is scaled, simulated: Kubernetes' autoscaler, pods that look at themselves, traces of load."""
