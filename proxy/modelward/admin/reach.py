"""Whom the admin API lets in, in words."""

from modelward.config.schema import Config


def open_to(config: Config) -> str:
    """What there is to warn of; empty where certificates or the file system say who may connect."""
    admin = config.listen.admin
    if admin is None or admin.is_unix or config.admin_tls is not None:
        return ""
    return "plain TCP: every user of this machine may do everything; listen.admin: unix:PATH lets in this user alone"
