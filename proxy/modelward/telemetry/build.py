"""Versions of what a worker runs, for modelward_build_info."""

import platform
from collections.abc import Mapping
from functools import cache

from modelward.distribution import release_of
from modelward_native.wire.session import nghttp2_release

PACKAGES = {"version": "modelward", "onnxruntime": "onnxruntime", "uvloop": "uvloop"}


@cache
def build() -> Mapping[str, str]:
    """By the name of the label."""
    return {**{label: release_of(package) for label, package in PACKAGES.items()}, **_libraries()}


def _libraries() -> Mapping[str, str]:
    return {"python": platform.python_version(), "nghttp2": nghttp2_release()}
