"""Whom the admin API lets do everything, in words."""

from modelward.config.schema import Config

HOW = "operators: says who may do what"


def open_to(config: Config) -> str:
    """What there is to warn of; empty where `operators` says who may do what."""
    admin = config.listen.admin
    if admin is None or config.operators is not None:
        return ""
    if admin.is_unix:
        return f"no operators: this server's user and root may do everything; {HOW}"
    if config.admin_tls is not None:
        return f"no operators: each client with a certificate of admin_tls.client_ca may do everything; {HOW}"
    return (
        "no operators, plain TCP: every user of this machine may do everything; "
        f"listen.admin: unix:PATH lets in this user alone, {HOW}"
    )
