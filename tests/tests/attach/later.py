"""A Python program that loads CUDA only when it is told to. Enters: `load`, then `launch N`, on stdin. Leaves: an answer a line."""

import ctypes
import sys

PTX = b".version 7.0\n.target sm_70\n.address_size 64\n.visible .entry attached_late() { ret; }\n"


def load():
    cuda = ctypes.CDLL("libcuda.so.1")
    device, context, module, kernel = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
    calls = [
        cuda.cuInit(0),
        cuda.cuDeviceGet(ctypes.byref(device), 0),
        cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device),
        cuda.cuCtxSetCurrent(context),
        cuda.cuModuleLoadData(ctypes.byref(module), PTX),
        cuda.cuModuleGetFunction(ctypes.byref(kernel), module, b"attached_late"),
    ]
    assert calls == [0] * len(calls), calls
    return cuda, kernel


print("ready", flush=True)
for line in sys.stdin:
    match line.split():
        case ["load"]:
            cuda, kernel = load()
            print("loaded", flush=True)
        case ["launch", count]:
            for _ in range(int(count)):
                assert cuda.cuLaunchKernel(kernel, 1, 1, 1, 32, 1, 1, 0, None, None, None) == 0
            assert cuda.cuCtxSynchronize() == 0
            print("launched", count, flush=True)
