/* A CUDA driver-API program whose activity is known exactly, for recordings.
 *
 * In: libcuda.so.1, found by the dynamic linker. Out: exit 0, and one line that says what it did. Refuses, with exit 1
 * and the call that failed, whatever the driver refuses; exit 77 without a device. With the argument `fork`, a child
 * is forked after cuInit that ends at once, as helpers of real programs do.
 *
 * Needs no CUDA header: the declarations are those of cuda.h, in the versions that all drivers from 11.8 on have.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS 60         /* two launches each, on two streams */
#define COPY_EVERY 6      /* rounds between a copy up, a fill and a copy down */
#define GRAPH_LAUNCHES 3  /* of a graph with two kernels */
#define BYTES 65536

typedef int CUdevice;
typedef unsigned long long CUdeviceptr;
typedef struct opaque *CUcontext, *CUstream, *CUmodule, *CUfunction, *CUgraph, *CUgraphExec, *CUevent;

/* PTX ISA 6.3, so that any supported driver takes it. */
static const char PTX[] =
    ".version 6.3\n.target sm_50\n.address_size 64\n"
    ".visible .global .align 4 .b32 fixture_variable;\n"
    ".visible .entry fixture_first(.param .u64 fixture_first_param_0) { ret; }\n"
    ".visible .entry _Z14fixture_secondILi4EEvPf(.param .u64 _Z14fixture_secondILi4EEvPf_param_0) { ret; }\n";

static void *driver;

static void *function(const char *name) {
    void *found = dlsym(driver, name);
    if (!found) {
        fprintf(stderr, "libcuda.so.1 has no %s\n", name);
        exit(1);
    }
    return found;
}

/* Calls NAME, declared to take the types TYPES. */
#define CU(NAME, TYPES, ...)                                              \
    do {                                                                  \
        int status = ((int(*) TYPES)function(#NAME))(__VA_ARGS__);        \
        if (status != 0) {                                                \
            fprintf(stderr, #NAME " failed with CUresult %d\n", status);  \
            exit(1);                                                      \
        }                                                                 \
    } while (0)

static void launch(CUfunction kernel, unsigned blocks, unsigned shared_bytes, CUstream stream, CUdeviceptr argument) {
    void *arguments[] = {&argument};
    CU(cuLaunchKernel,
       (CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, CUstream, void **, void **),
       kernel, blocks, 1, 1, 128, 1, 1, shared_bytes, stream, arguments, NULL);
}

/* Copies from device 0 to device 1; says how often. */
static int copy_between_devices(CUcontext first, CUdeviceptr from) {
    CUcontext second;
    CUdeviceptr to;
    CU(cuDevicePrimaryCtxRetain, (CUcontext *, CUdevice), &second, 1);
    CU(cuCtxSetCurrent, (CUcontext), second);
    CU(cuMemAlloc_v2, (CUdeviceptr *, size_t), &to, BYTES);
    CU(cuMemcpyPeer, (CUdeviceptr, CUcontext, CUdeviceptr, CUcontext, size_t), to, second, from, first, BYTES);
    CU(cuCtxSynchronize, (void));
    CU(cuMemFree_v2, (CUdeviceptr), to);
    CU(cuCtxSetCurrent, (CUcontext), first);
    return 1;
}

int main(int arguments, char **argument) {
    driver = dlopen("libcuda.so.1", RTLD_NOW);
    if (!driver) {
        fprintf(stderr, "%s\n", dlerror());
        return 77;
    }
    int devices = 0;
    if (((int (*)(unsigned))function("cuInit"))(0) != 0) {
        fprintf(stderr, "cuInit failed: no device\n");
        return 77;
    }
    CU(cuDeviceGetCount, (int *), &devices);
    if (arguments > 1 && strcmp(argument[1], "fork") == 0) {
        pid_t child = fork();
        if (child == 0) exit(0);
        int status = -1;
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
            fprintf(stderr, "the child failed: %d\n", status);
            return 1;
        }
    }

    CUcontext context;
    CUmodule module;
    CUfunction first, second;
    CUstream a, b;
    CUdeviceptr memory, pooled;
    void *pinned;
    CUdevice device;
    CU(cuDeviceGet, (CUdevice *, int), &device, 0);
    CU(cuDevicePrimaryCtxRetain, (CUcontext *, CUdevice), &context, device);
    CU(cuCtxSetCurrent, (CUcontext), context);
    CU(cuModuleLoadData, (CUmodule *, const void *), &module, PTX);
    CU(cuModuleGetFunction, (CUfunction *, CUmodule, const char *), &first, module, "fixture_first");
    CU(cuModuleGetFunction, (CUfunction *, CUmodule, const char *), &second, module, "_Z14fixture_secondILi4EEvPf");
    CU(cuStreamCreate, (CUstream *, unsigned), &a, 1);
    CU(cuStreamCreate, (CUstream *, unsigned), &b, 1);
    CU(cuMemAlloc_v2, (CUdeviceptr *, size_t), &memory, BYTES);
    CU(cuMemHostAlloc, (void **, size_t, unsigned), &pinned, BYTES, 0);

    for (int round = 0; round < ROUNDS; round++) {
        if (round % COPY_EVERY == 0) {
            CU(cuMemcpyHtoDAsync_v2, (CUdeviceptr, const void *, size_t, CUstream), memory, pinned, BYTES, a);
            CU(cuMemsetD32Async, (CUdeviceptr, unsigned, size_t, CUstream), memory, 7, BYTES / 4, a);
            CU(cuMemcpyDtoHAsync_v2, (void *, CUdeviceptr, size_t, CUstream), pinned, memory, BYTES, a);
            CU(cuStreamSynchronize, (CUstream), a);
        }
        launch(first, 1 + (unsigned)round % 8, 0, a, memory);
        launch(second, 4, 1024, b, memory);
    }
    CU(cuStreamSynchronize, (CUstream), b);

    CUevent event;
    CU(cuEventCreate, (CUevent *, unsigned), &event, 0);
    CU(cuEventRecord, (CUevent, CUstream), event, a);
    CU(cuStreamWaitEvent, (CUstream, CUevent, unsigned), b, event, 0);
    CU(cuEventSynchronize, (CUevent), event);

    CUgraph graph;
    CUgraphExec executable;
    CU(cuStreamBeginCapture_v2, (CUstream, int), a, 0);
    launch(first, 2, 0, a, memory);
    launch(second, 2, 0, a, memory);
    CU(cuStreamEndCapture, (CUstream, CUgraph *), a, &graph);
    CU(cuGraphInstantiateWithFlags, (CUgraphExec *, CUgraph, unsigned long long), &executable, graph, 0);
    for (int i = 0; i < GRAPH_LAUNCHES; i++) {
        CU(cuGraphLaunch, (CUgraphExec, CUstream), executable, a);
    }
    CU(cuStreamSynchronize, (CUstream), a);

    CU(cuMemAllocAsync, (CUdeviceptr *, size_t, CUstream), &pooled, BYTES, a);
    CU(cuMemcpyDtoDAsync_v2, (CUdeviceptr, CUdeviceptr, size_t, CUstream), pooled, memory, BYTES, a);
    CU(cuMemFreeAsync, (CUdeviceptr, CUstream), pooled, a);
    CU(cuCtxSynchronize, (void));

    int peers = devices > 1 ? copy_between_devices(context, memory) : 0;
    CU(cuMemFreeHost, (void *), pinned);
    CU(cuMemFree_v2, (CUdeviceptr), memory);
    CU(cuModuleUnload, (CUmodule), module);
    printf("launches %d, kernels %d, copies up %d, down %d, within %d, between devices %d, fills %d\n", 2 * ROUNDS,
           2 * (ROUNDS + GRAPH_LAUNCHES), ROUNDS / COPY_EVERY, ROUNDS / COPY_EVERY, 1, peers, ROUNDS / COPY_EVERY);
    return 0;
}
