"""The release of this source tree."""

import tomllib

from scripts.docs import ROOT

RELEASE: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
