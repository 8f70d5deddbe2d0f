"""Builds the compiled data plane and the protocol's descriptor set; everything else is in pyproject.toml.

Switches (environment):
  MODELWARD_SANITIZE=1       AddressSanitizer, bounds checks and asserts in every extension
  MODELWARD_SANITIZE=quick   as above, with Cython's C not optimized
  MODELWARD_FUZZ=1           as the first, with clang's coverage for libFuzzer
  MODELWARD_WERROR=1         a warning of the C compiler is an error, as in CI
  MODELWARD_COMPILED=1       a wheel of the modules that are compiled in place: for tests of what is in a wheel
"""

import os
import platform
import shlex
import subprocess
import sysconfig
from pathlib import Path

from Cython.Build import cythonize
from grpc_tools import protoc
from setuptools import Extension, setup
from setuptools.command.build_clib import build_clib
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

os.chdir(Path(__file__).parent)  # all paths are relative: they name object files too
FUZZ = bool(os.environ.get("MODELWARD_FUZZ"))
DEBUG = FUZZ or bool(os.environ.get("MODELWARD_SANITIZE"))

# The kernels before what they need themselves: linkers may drop a library that nothing before it has asked for.
HTTP2 = ["modelward_kernels", "nghttp2"]
LIBRARIES = {
    **dict.fromkeys(("wire.connection", "wire.receive", "wire.send", "wire.session", "wire.stream"), HTTP2),
    **dict.fromkeys(("backend.connection", "backend.questions", "backend.relay", "backend.relay_answers"), HTTP2),
    **dict.fromkeys(("backend.upstream", "backend.upstream_stream"), HTTP2),
    "wire.compression": ["z"],
}


def known(*flags: str) -> bool:
    """Whether the compiler and its libc take these flags together without a warning."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    command = [*compiler, "-Werror", *flags, "-x", "c", "-c", "-o", os.devnull, "-"]
    try:
        return not subprocess.run(command, input=b"#include <stdio.h>\n", capture_output=True, check=False).returncode
    except OSError:  # no compiler, and so nothing is compiled
        return False


def hardening() -> list[str]:
    """So that a stranger's bytes that overrun an array end the process and run nothing (docs/design/packaging.md).

    FORTIFY is given to the preprocessor: there it comes after what some Pythons give to it themselves.
    """
    fortify = [["-Wp,-U_FORTIFY_SOURCE", f"-Wp,-D_FORTIFY_SOURCE={level}"] for level in (3, 2)]
    first = next((flags for flags in fortify if known("-O1", *flags)), [])
    # on x86-64 Linux enforces shadow stacks alone for programs: the rest of cf-protection would cost, and do nothing
    frames = ("-fstack-protector-strong", "-fstack-clash-protection")
    jumps = ("-fcf-protection=return", "-mbranch-protection=standard")
    return [*first, *(flag for flag in (*frames, *jumps) if known(flag))]


COMPILE = ["-std=gnu11", "-Wall"]
# What calls and pointers go through is written once, when a module is loaded, and no data can be executed.
LINK = ["-Wl,-z,relro,-z,now", "-Wl,-z,noexecstack"]
if platform.machine() in ("x86_64", "AMD64"):
    COMPILE += ["-mcx16"]  # a slot of the limit table changes as a whole: 16 bytes
if DEBUG:
    COMPILE += ["-O1", "-g1", "-fno-omit-frame-pointer", "-fsanitize=address", "-UNDEBUG"]
    LINK += ["-fsanitize=address"]
else:
    COMPILE += ["-O3", "-fno-plt", "-g0"]  # debug information would be a quarter of the time to build
    COMPILE += ["-fvisibility=hidden"]  # kernels are called directly, and no other library's function in their place
    COMPILE += hardening()  # AddressSanitizer sees more itself, and does not see into the functions of FORTIFY
if FUZZ:
    COMPILE += ["-fsanitize=fuzzer-no-link"]
WERROR = bool(os.environ.get("MODELWARD_WERROR"))
COMPILED = bool(os.environ.get("MODELWARD_COMPILED"))
if WERROR:
    COMPILE += ["-Werror"]
# What Cython's C is warned of and cannot help: helpers and temporaries that are not used, temporaries without const, an
# enum beside an int.
GENERATED = [
    "-Wno-unused-function",
    "-Wno-unused-variable",
    "-Wno-unused-but-set-variable",
    "-Wno-sign-compare",
    "-Wno-discarded-qualifiers",
]
if FUZZ:
    GENERATED += ["-fno-sanitize=pointer-overflow"]  # Cython adds 0 to a NULL where a call has no keywords
if os.environ.get("MODELWARD_SANITIZE") == "quick":
    GENERATED += ["-O0"]  # half the time to compile, and hardly more to test: most of that is the interpreter's
if WERROR:
    GENERATED += ["-Wno-error=maybe-uninitialized"]  # gcc guesses, and by version; Cython's temporaries mislead it
WORKERS = os.cpu_count() or 1
NATIVE = Path("native/modelward_native")
TESTING = "modelward_native.testing."  # built where tests run, in no wheel
HEADERS = sorted(map(str, NATIVE.rglob("*.h")))
SOURCES = sorted(map(str, NATIVE.rglob("*.c")))
ROOMS = sorted({str(Path(header).parent) for header in HEADERS})

# Compiled once; each extension links what it calls. (Sources shared by extensions would be compiled by several threads
# into one object file.)
KERNELS = (
    "modelward_kernels",
    {
        "sources": SOURCES,
        "include_dirs": ROOMS,
        "cflags": [*COMPILE, "-Wextra"],
        "obj_deps": {"": [*HEADERS, "setup.py"]},
    },
)


def extension(pyx: Path) -> Extension:
    return Extension(
        ".".join(pyx.relative_to("native").with_suffix("").parts),
        [str(pyx)],
        include_dirs=ROOMS,
        libraries=LIBRARIES.get(f"{pyx.parent.name}.{pyx.stem}", []),
        extra_compile_args=COMPILE + GENERATED,
        extra_link_args=LINK,
    )


def build_descriptors() -> None:
    """Compiles protos/*.proto to one descriptor set, which the program loads into a private pool."""
    sources = sorted(map(str, Path("protos").glob("*.proto")))
    target = Path("proxy/modelward/descriptors.pb")
    if protoc.main(["protoc", "-Iprotos", "--include_imports", f"--descriptor_set_out={target}", *sources]):
        raise SystemExit("protos: protoc failed; its message is above")


class BuildKernels(build_clib):
    """Keeps what it has compiled in build/, also for an editable installation, which has a folder for once only."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.build_clib = self.build_temp = "build/kernels"


class BuildExtensions(build_ext):
    """Builds kernels and descriptors first, also where only extensions are asked for: in place they go together.

    In place, and so in an editable installation too, it compiles only what has changed.
    """

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = WORKERS
        if self.inplace or self.editable_mode:
            self.build_temp, self.build_lib = "build/objects", "build/inplace"

    def run(self) -> None:
        if not (self.inplace or self.editable_mode):
            self.extensions = [e for e in self.extensions if not e.name.startswith(TESTING)]
        if not COMPILED:
            self.run_command("build_clib")
            build_descriptors()
        super().run()

    def build_extensions(self) -> None:
        # Some Pythons have their own folder in here: libraries would be looked for in it wherever a wheel is installed.
        if not self.inplace:
            self.compiler.linker_so = [each for each in self.compiler.linker_so if not each.startswith("-Wl,-rpath")]
        super().build_extensions()

    def build_extension(self, ext: Extension) -> None:
        if not COMPILED:
            super().build_extension(ext)
            return
        target = self.get_ext_fullpath(ext.name)
        self.mkpath(str(Path(target).parent))
        self.copy_file(str(Path("native", self.get_ext_filename(ext.name))), target)
        self.spawn(["patchelf", "--remove-rpath", target])


class BuildWithDescriptors(build_py):
    """An installed package has its descriptor set beside it."""

    def run(self) -> None:
        if not COMPILED:
            build_descriptors()
        super().run()


modules = [extension(p) for p in sorted(NATIVE.rglob("*.pyx"))]
if not COMPILED:
    modules = cythonize(
        modules,
        build_dir="build/cython",  # beside the kernels lie only the kernels
        include_path=["native"],
        nthreads=WORKERS,
        compiler_directives={
            "language_level": 3,
            "boundscheck": DEBUG,
            "wraparound": False,
            "initializedcheck": DEBUG,
            "cdivision": True,
            "freethreading_compatible": False,
        },
    )
for module in modules:
    # linked again when a kernel changes, compiled again when the flags do
    module.depends = [*module.depends, *HEADERS, *SOURCES, "setup.py"]

setup(
    cmdclass={"build_clib": BuildKernels, "build_ext": BuildExtensions, "build_py": BuildWithDescriptors},
    libraries=[KERNELS],
    ext_modules=modules,
)
