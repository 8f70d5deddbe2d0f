"""All generated pages of docs/reference/."""

from scripts.docs import admin_api, audit_records, commands, configuration, metrics, refusals, rights


def pages() -> dict[str, str]:
    """Text of each page by its file name."""
    return {
        "admin-api.md": admin_api.page(),
        "audit-records.md": audit_records.page(),
        "commands.md": commands.page(),
        "configuration.md": configuration.page(),
        "metrics.md": metrics.page(),
        "refusals.md": refusals.page(),
        "rights.md": rights.page(),
    }
