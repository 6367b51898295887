"""Compiling the kernels with the compiler of this machine, once."""

import contextlib
import hashlib
import os
import pathlib
import platform
import shutil
import subprocess
import tempfile

from quantize_configs.errors import UnavailableError

SOURCES = tuple(sorted(pathlib.Path(__file__).parent.glob("*.cc")))
HEADERS = tuple(sorted(pathlib.Path(__file__).parent.glob("*.h")))
FLAGS = (
    "-std=c++17",
    "-O3",
    "-march=native",
    "-ffp-contract=off",  # rounds as TensorFlow's operators do
    "-fno-trapping-math",
    "-fno-math-errno",
    "-fopenmp-simd",
    "-fPIC",
    "-shared",
    "-pthread",
)
COMPILERS = ("c++", "g++", "clang++")
TIME_LIMIT = 600


class NativeBuildError(UnavailableError, RuntimeError):
    """The kernels could not be built; everything works without them, more slowly."""


def find_compiler() -> str | None:
    """The C++ compiler of the environment variable CXX, or one of `COMPILERS`; None without."""
    for name in filter(None, (os.environ.get("CXX"), *COMPILERS)):
        if found := shutil.which(name):
            return found
    return None


def is_built() -> bool:
    """Whether `build` has nothing to compile.

    Raises:
      NativeBuildError: There is no compiler.
    """
    _, _, library = _planned()
    return library.exists()


def build() -> pathlib.Path:
    """The library of the kernels, compiled unless it lies in the cache of the user already.

    The cache is `qfa_tf` in XDG_CACHE_HOME, or in ~/.cache. Another processor, compiler or version
    of TensorFlow, or another source makes another file.

    Raises:
      NativeBuildError: There is no compiler, or it failed.
    """
    compiler, flags, library = _planned()
    if not library.exists():
        _compile(compiler, flags, library)
    return library


def _planned() -> tuple[str, list[str], pathlib.Path]:
    """(compiler, flags, the library that it makes)."""
    import tensorflow as tf

    compiler = find_compiler()
    if compiler is None:
        raise NativeBuildError(
            f"Native kernels need a C++ compiler: one of {', '.join(COMPILERS)}, or the one that "
            "the environment variable CXX names. None was found. Install one (such as the package "
            "g++), or go on without native kernels."
        )
    flags = [*FLAGS, *tf.sysconfig.get_compile_flags(), *tf.sysconfig.get_link_flags()]
    flags = list(dict.fromkeys(flag for flag in flags if not flag.startswith("--std")))
    texts = [path.read_text() for path in (*SOURCES, *HEADERS)]
    parts = (*texts, compiler, *flags, tf.__version__, _processor())
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    return compiler, flags, _cache() / f"kernels_{digest}.so"


def _compile(compiler: str, flags: list[str], library: pathlib.Path) -> None:
    try:
        library.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(suffix=".so", dir=library.parent)
        os.close(handle)
    except OSError as error:
        raise NativeBuildError(
            f"Native kernels are kept in {library.parent}, where nothing can be written ({error}). "
            "Let XDG_CACHE_HOME name another folder."
        ) from error
    try:
        # The libraries of TensorFlow are named in its own flags, which must follow the source.
        command = [compiler, *map(str, SOURCES), *flags, "-o", temporary]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if "error" in line]
            reason = (lines or done.stderr.splitlines() or ["no message"])[0]
            raise NativeBuildError(
                f"Native kernels were not built: {compiler} ended with {reason!r}. Name another "
                "compiler in the environment variable CXX, or go on without native kernels."
            )
        os.replace(temporary, library)  # at once: several processes may build it
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NativeBuildError(
            f"Native kernels were not built: {error}. Go on without native kernels."
        ) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def _cache() -> pathlib.Path:
    folder = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return pathlib.Path(folder) / "qfa_tf"


def _processor() -> str:
    """What tells apart processors for which -march=native means different things."""
    with contextlib.suppress(OSError):
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        names = ("flags", "Features", "model name", "CPU part")
        known = dict.fromkeys(line for line in lines if line.startswith(names))
        return platform.machine() + "\n".join(known)
    return f"{platform.machine()} {platform.processor()}"
