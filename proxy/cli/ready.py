"""The READY table: what is served, how, and which guards are off."""

from proxy.cli.output import console, plain, print_table
from proxy.models.guards import OFF, guards, off
from proxy.server.app import Application
from proxy.server.tls import clients

COLUMNS = ("model", "version", "backend", "runs on", "profile", "deadline", "fallback", "limits", "guards off")


def print_ready(application: Application) -> None:
    """Prints the table, the addresses, and what there is to say about single models."""
    rows = []
    connected = {endpoint.address for endpoint in application.upstreams if endpoint.connected}
    for model in application.models:
        states = guards(application.config, model.checked)
        batching = f"batches of {model.checked.settings.batching.max}" if model.served.batchable else "one by one"
        anomaly = model.checked.settings.anomaly
        over = " over TLS" if application.config.upstream_tls_of(model.served.name) else ""
        profile = f"{anomaly.mode} at {anomaly.false_positive_rate:g}" if model.profile is not None else "none"
        where = [f"{text}{'' if text in connected else ', not connected yet'}" for text in model.upstreams]
        rows.append(
            (
                model.served.name,
                model.served.version or "any",
                "\n".join(where) or "ONNX Runtime",
                f"upstream{over}, {model.source}" if model.upstreams else f"{model.served.placement()}, {batching}",
                profile,
                states["deadline"] if states["deadline"] != OFF else "the client's",
                states["fallback"] if states["fallback"] != OFF else "none",
                states["limits"] if states["limits"] != OFF else "none",
                ", ".join(off(states)) or "none",
            )
        )
    print_table("READY", COLUMNS, rows)
    out = console()
    out.print(f"gRPC     {application.grpc_address}")
    if application.tls is not None and application.config.tls is not None:
        asked = clients(application.config.tls)
        out.print(f"TLS      {plain(application.tls.current.certificate)}; {asked}", soft_wrap=True)
    at = application.http_address
    base = f"http://{at}" if not at.is_unix else str(at)
    out.print(f"metrics  {base}/metrics   health  {base}/healthz   readiness  {base}/readyz", soft_wrap=True)
    for model in application.models:
        if model.note:
            version = f" version {model.served.version}" if model.served.version else ""
            out.print(plain(f"note: {model.served.name}{version}: {model.note}"), soft_wrap=True)
    out.file.flush()
