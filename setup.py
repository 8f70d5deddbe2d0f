"""Builds the compiled data plane and the protocol's descriptor set; everything else is in pyproject.toml.

Switches (environment):
  MODELWARD_SANITIZE=1   AddressSanitizer, bounds checks and asserts in every extension
  MODELWARD_FUZZ=1       as above, with clang's coverage for libFuzzer and atheris
"""
import os
from pathlib import Path

from Cython.Build import cythonize
from grpc_tools import protoc
from setuptools import Extension, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
FUZZ = bool(os.environ.get("MODELWARD_FUZZ"))
DEBUG = FUZZ or bool(os.environ.get("MODELWARD_SANITIZE"))

# module -> C kernels linked into it
KERNELS = {
    "batch": ["session.c", "lane.c", "watchdog.c"],
    "deadline": ["wheel.c"],
    "limit": ["gcra.c"],
    "oip": ["oip.c", "oip_contents.c"],
    "events": ["score.c"],
    "pipeline": ["score.c", "gather.c"],
    "reply": ["oip_write.c"],
    "scan": ["oip.c", "oip_contents.c", "oip_write.c"],
    "score": ["score.c", "gather.c"],
    "served": ["session.c", "lane.c"],
}
LIBRARIES = {"h2": ["nghttp2"], "stream": ["nghttp2"], "grpc": ["z"]}


def extension(pyx: Path) -> Extension:
    name = pyx.stem
    compile_args = ["-std=gnu11", "-Wall", "-Wno-unused-function", "-Wno-unused-variable", "-Wno-unreachable-code"]
    link_args = []
    if DEBUG:
        compile_args += ["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address", "-UNDEBUG"]
        link_args += ["-fsanitize=address"]
    else:
        compile_args += ["-O3", "-fno-plt"]
    if FUZZ:
        compile_args += ["-fsanitize=fuzzer-no-link"]
    return Extension(
        f"native.{name}",
        [str(pyx.relative_to(ROOT)), *(f"native/csrc/{c}" for c in KERNELS.get(name, []))],
        include_dirs=["native/csrc"],
        depends=[str(h.relative_to(ROOT)) for h in (ROOT / "native/csrc").glob("*.h")],
        libraries=LIBRARIES.get(name, []),
        extra_compile_args=compile_args,
        extra_link_args=link_args,
    )


class BuildWithDescriptors(build_py):
    """Compiles protos/*.proto to one descriptor set, which the program loads into a private pool."""

    def run(self) -> None:
        sources = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "protos").glob("*.proto"))
        target = ROOT / "protos" / "descriptors.pb"
        if protoc.main(["protoc", "-Iprotos", "--include_imports", f"--descriptor_set_out={target}", *sources]):
            raise SystemExit("protos: protoc failed; its message is above")
        super().run()


setup(
    options={"build_ext": {"parallel": os.cpu_count() or 1}},
    cmdclass={"build_py": BuildWithDescriptors},
    ext_modules=cythonize(
        [extension(p) for p in sorted((ROOT / "native").glob("*.pyx"))],
        nthreads=os.cpu_count() or 1,
        compiler_directives={
            "language_level": 3,
            "boundscheck": DEBUG,
            "wraparound": False,
            "initializedcheck": DEBUG,
            "cdivision": True,
            "freethreading_compatible": False,
        },
    ),
)
