"""Compiles cuda/NAME.cu to ptx/NAME_TYPE.ptx with NVRTC, in memory, so that no path of the machine enters them.

Usage: build_ptx.py [--check]

Each output begins with a line that names the SHA-256 of its inputs (this file, every header, the source) and the
compiler. With --check nothing is written: the exit status is 1 when a committed file differs from a fresh build.
Called by build-ptx.sh, which provides the compiler.
"""

import ctypes
import hashlib
import importlib.metadata
import pathlib
import sys

ARCHITECTURE = "compute_80"
OPTIONS = [f"--gpu-architecture={ARCHITECTURE}", "--std=c++17"]
ELEMENTS = ["f16", "bf16", "f32"]
COMPILER_PACKAGE = "nvidia-cuda-nvrtc-cu12"
KERNELS = pathlib.Path(__file__).resolve().parent.parent


class Nvrtc:
    """The five calls of libnvrtc that a compilation needs (nvrtc.h, 12.4)."""

    def __init__(self):
        package = importlib.metadata.distribution(COMPILER_PACKAGE)
        library = next(f for f in package.files if f.name == "libnvrtc.so.12")
        self.version = package.version
        self.library = ctypes.CDLL(str(library.locate()))
        self.library.nvrtcGetErrorString.restype = ctypes.c_char_p

    def _call(self, name, *arguments):
        status = getattr(self.library, name)(*arguments)
        if status != 0:
            raise RuntimeError(f"{name}: {self.library.nvrtcGetErrorString(status).decode()}")

    def _text(self, what, program):
        size = ctypes.c_size_t()
        self._call(f"nvrtcGet{what}Size", program, ctypes.byref(size))
        text = ctypes.create_string_buffer(size.value)
        self._call(f"nvrtcGet{what}", program, text)
        return text.value.decode()

    def compile(self, name, source, headers, element):
        """PTX of `source` for one element type; `headers` maps include names to their text."""
        options = [*OPTIONS, f"--define-macro=ELEMENT={element}"]
        strings = lambda items: (ctypes.c_char_p * len(items))(*(item.encode() for item in items))
        program = ctypes.c_void_p()
        self._call(
            "nvrtcCreateProgram",
            ctypes.byref(program),
            source.encode(),
            name.encode(),
            len(headers),
            strings(headers.values()),
            strings(headers.keys()),
        )
        try:
            self._call("nvrtcCompileProgram", program, len(options), strings(options))
            return self._text("PTX", program)
        except RuntimeError as error:
            raise RuntimeError(f"{name}: {error}\n{self._text('ProgramLog', program)}") from error
        finally:
            self._call("nvrtcDestroyProgram", ctypes.byref(program))


def source_hash(source):
    """SHA-256 over this file, every header in order of name, and the source: each as name, size, bytes."""
    digest = hashlib.sha256()
    inputs = [pathlib.Path(__file__).resolve(), *sorted((KERNELS / "cuda").glob("*.cuh")), source]
    for path in inputs:
        content = path.read_bytes()
        digest.update(f"{path.name}\n{len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def main():
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        sys.exit(__doc__)
    nvrtc = Nvrtc()
    headers = {path.name: path.read_text("utf-8") for path in sorted((KERNELS / "cuda").glob("*.cuh"))}
    outputs = {
        f"{source.stem}_{element}.ptx": (source, element)
        for source in sorted((KERNELS / "cuda").glob("*.cu"))
        for element in ELEMENTS
    }
    committed = {path.name for path in (KERNELS / "ptx").glob("*.ptx")}
    differing = [f"{name}: has no source" for name in sorted(committed - outputs.keys())]
    for name, (source, element) in outputs.items():
        ptx = nvrtc.compile(source.name, source.read_text("utf-8"), headers, element)
        first = f"// sha256:{source_hash(source)} {COMPILER_PACKAGE}=={nvrtc.version} {ARCHITECTURE}\n"
        target = KERNELS / "ptx" / name
        if not check:
            target.parent.mkdir(exist_ok=True)
            target.write_text(first + ptx, "utf-8")
            print(f"{name}: {len(ptx)} bytes")
        elif not target.exists() or target.read_text("utf-8") != first + ptx:
            differing.append(f"{name}: differs from what its source compiles to")
    if check and differing:
        sys.exit("\n".join(differing + ["run kernels/tools/build-ptx.sh and commit kernels/ptx"]))


main()
