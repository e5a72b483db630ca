/* The rest of the driver API: libraries, launch configurations, planes, pools, pointers, occupancy, hand-made graphs. */
#include "driver_api.h"
#include <math.h>

typedef struct {
    unsigned grid[3], block[3], shared;
    CUstream stream;
    void *attributes;
    unsigned count;
} LaunchConfig;
typedef struct {
    int id;
    char padding[4];
    union {
        char bytes[64];
        int cooperative;
    } value;
} LaunchAttribute;
typedef struct {
    size_t from_x, from_y;
    int from_type;
    const void *from_host;
    CUdeviceptr from_device;
    void *from_array;
    size_t from_pitch, to_x, to_y;
    int to_type;
    void *to_host;
    CUdeviceptr to_device;
    void *to_array;
    size_t to_pitch, width, height;
} Plane;
typedef struct {
    CUfunction function;
    unsigned grid[3], block[3], shared;
    void **each, **extra;
    void *kernel, *context;
} KernelNode;
typedef struct {
    int type, handles;
    struct {
        int type, id;
    } location;
    void *security;
    size_t size;
    char reserved[56];
} PoolProps;
typedef struct {
    int result;
    void *node, *from;
} UpdateResult;

CUresult cuLibraryLoadData(CUmodule *, const void *, void *, void *, unsigned, void *, void *, unsigned);
CUresult cuLibraryGetKernelCount(unsigned *, CUmodule);
CUresult cuLibraryEnumerateKernels(CUfunction *, unsigned, CUmodule);
CUresult cuLibraryGetKernel(CUfunction *, CUmodule, const char *);
CUresult cuLibraryUnload(CUmodule);
CUresult cuKernelGetFunction(CUfunction *, CUfunction);
CUresult cuKernelGetName(const char **, CUfunction);
CUresult cuKernelGetParamInfo(CUfunction, size_t, size_t *, size_t *);
CUresult cuFuncSetAttribute(CUfunction, int, int);
CUresult cuLaunchKernelEx(const LaunchConfig *, CUfunction, void **, void **);
CUresult cuLaunchKernel_ptsz(CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, CUstream,
                             void **, void **);
CUresult cuStreamSynchronize_ptsz(CUstream);
CUresult cuStreamGetId(CUstream, uint64_t *);
CUresult cuStreamAddCallback(CUstream, void (*)(CUstream, CUresult, void *), void *, unsigned);
CUresult cuMemAllocPitch_v2(CUdeviceptr *, size_t *, size_t, size_t, unsigned);
CUresult cuMemcpy2D_v2(const Plane *);
CUresult cuMemsetD2D8_v2(CUdeviceptr, size_t, unsigned char, size_t, size_t);
CUresult cuMemcpy(CUdeviceptr, CUdeviceptr, size_t);
CUresult cuMemAllocManaged(CUdeviceptr *, size_t, unsigned);
CUresult cuMemGetAddressRange_v2(CUdeviceptr *, size_t *, CUdeviceptr);
CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr *, void *, unsigned);
CUresult cuPointerGetAttribute(void *, int, CUdeviceptr);
CUresult cuPointerGetAttributes(unsigned, int *, void **, CUdeviceptr);
CUresult cuDeviceGetDefaultMemPool(CUmemoryPool *, CUdevice);
CUresult cuMemPoolCreate(CUmemoryPool *, const PoolProps *);
CUresult cuMemPoolSetAttribute(CUmemoryPool, int, void *);
CUresult cuMemPoolGetAttribute(CUmemoryPool, int, void *);
CUresult cuMemPoolDestroy(CUmemoryPool);
CUresult cuMemAllocFromPoolAsync(CUdeviceptr *, size_t, CUmemoryPool, CUstream);
CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *, CUfunction, int, size_t);
CUresult cuOccupancyMaxPotentialBlockSize(int *, int *, CUfunction, void *, size_t, int);
CUresult cuCtxGetLimit(size_t *, int);
CUresult cuCtxSetLimit(int, size_t);
CUresult cuDevicePrimaryCtxGetState(CUdevice, unsigned *, int *);
CUresult cuDevicePrimaryCtxReset_v2(CUdevice);
CUresult cuGraphCreate(CUgraph *, unsigned);
CUresult cuGraphAddKernelNode_v2(CUgraphNode *, CUgraph, const CUgraphNode *, size_t, const KernelNode *);
CUresult cuGraphExecUpdate_v2(CUgraphExec, CUgraph, UpdateResult *);

static const char ptx[] = ".version 7.0\n.target sm_80\n.address_size 64\n"
                          ".visible .const .align 4 .b8 coefficients[16];\n"
                          ".visible .entry sin_kernel(.param .u64 a, .param .u64 b, .param .u32 c) { ret; }\n"
                          ".visible .entry polynomial_kernel(.param .u64 a, .param .u64 b, .param .u32 c) { ret; }\n";

enum { COUNT = 32, BYTES = COUNT * 4 };
static CUdeviceptr in, out;
static int n = COUNT;
static void *parameters[] = {&out, &in, &n};
static float input[COUNT], output[COUNT];

static void expect_sines(void) {
    OK(cuMemcpyDtoH_v2(output, out, BYTES));
    for (int i = 0; i < COUNT; i++)
        HOLDS(fabsf(output[i] - sinf(input[i])) < 1e-6f);
    /* The memset returns before it has run, and streams that do not block do not wait for it. */
    OK(cuMemsetD8_v2(out, 0, BYTES));
    OK(cuCtxSynchronize());
}

static CUfunction libraries(CUmodule *library) {
    CUfunction kernels[2], sine;
    unsigned count;
    const char *name;
    size_t offset, size;
    OK(cuLibraryLoadData(library, ptx, NULL, NULL, 0, NULL, NULL, 0));
    OK(cuLibraryGetKernelCount(&count, *library));
    HOLDS(count == 2);
    OK(cuLibraryEnumerateKernels(kernels, 2, *library));
    OK(cuLibraryGetKernel(&sine, *library, "sin_kernel"));
    HOLDS(kernels[0] == sine);
    OK(cuKernelGetName(&name, kernels[1]));
    HOLDS(strcmp(name, "polynomial_kernel") == 0);
    OK(cuKernelGetParamInfo(sine, 2, &offset, &size));
    HOLDS(offset == 16 && size == 4);
    EXPECT(INVALID_VALUE, cuKernelGetParamInfo(sine, 3, &offset, &size));
    OK(cuKernelGetFunction(&sine, sine));
    return sine;
}

static void launches(CUfunction sine, CUstream stream) {
    LaunchAttribute cooperative = {.id = 2, .value.cooperative = 1};
    LaunchConfig config = {{1, 1, 1}, {COUNT, 1, 1}, 0, stream, NULL, 0};
    OK(cuLaunchKernelEx(&config, sine, parameters, NULL));
    OK(cuStreamSynchronize(stream));
    expect_sines();
    config.attributes = &cooperative, config.count = 1;
    OK(cuLaunchKernelEx(&config, sine, parameters, NULL));
    OK(cuStreamSynchronize(stream));
    expect_sines();
    config.grid[0] = 100000;
    EXPECT(720, cuLaunchKernelEx(&config, sine, parameters, NULL));
    EXPECT(INVALID_VALUE, cuLaunchKernelEx(NULL, sine, parameters, NULL));
    /* Per-thread default stream: another stream than the legacy one. */
    uint64_t own, legacy;
    OK(cuLaunchKernel_ptsz(sine, 1, 1, 1, COUNT, 1, 1, 0, NULL, parameters, NULL));
    OK(cuStreamSynchronize_ptsz(NULL));
    expect_sines();
    OK(cuStreamGetId((CUstream)2, &own));
    OK(cuStreamGetId(NULL, &legacy));
    HOLDS(own != legacy && legacy == 7);
    /* Opting into more shared memory. */
    EXPECT(INVALID_VALUE, cuLaunchKernel(sine, 1, 1, 1, 1, 1, 1, 100 << 10, NULL, parameters, NULL));
    OK(cuFuncSetAttribute(sine, 8, 100 << 10));
    OK(cuLaunchKernel(sine, 1, 1, 1, 1, 1, 1, 100 << 10, NULL, parameters, NULL));
    EXPECT(INVALID_VALUE, cuFuncSetAttribute(sine, 8, 1 << 20));
    OK(cuCtxSynchronize());
}

static void constants(CUmodule library) {
    CUdeviceptr address;
    size_t bytes;
    float coefficients[] = {1, 2, 3, 4}, zero[4] = {9, 9, 9, 9};
    CUfunction polynomial;
    OK(cuModuleGetGlobal_v2(&address, &bytes, library, "coefficients"));
    HOLDS(bytes == 16);
    OK(cuMemcpyDtoH_v2(zero, address, 16));
    HOLDS(zero[0] == 0 && zero[3] == 0);
    OK(cuMemcpyHtoD_v2(address, coefficients, 16));
    OK(cuModuleGetFunction(&polynomial, library, "polynomial_kernel"));
    OK(cuLaunchKernel(polynomial, 1, 1, 1, COUNT, 1, 1, 0, NULL, parameters, NULL));
    OK(cuMemcpyDtoH_v2(output, out, BYTES));
    for (int i = 0; i < COUNT; i++) {
        float x = input[i];
        HOLDS(fabsf(output[i] - (1 + 2 * x + 3 * x * x + 4 * x * x * x)) < 1e-3f);
    }
}

static void planes(void) {
    CUdeviceptr plane;
    size_t pitch;
    unsigned char from[6][10], to[3][4];
    OK(cuMemAllocPitch_v2(&plane, &pitch, 10, 6, 4));
    HOLDS(pitch >= 10 && pitch % 512 == 0);
    for (int y = 0; y < 6; y++)
        for (int x = 0; x < 10; x++)
            from[y][x] = (unsigned char)(y * 10 + x);
    Plane down = {0, 0, 1, from, 0, NULL, 10, 0, 0, 2, NULL, plane, NULL, pitch, 10, 6};
    OK(cuMemcpy2D_v2(&down));
    OK(cuMemsetD2D8_v2(plane + pitch + 1, pitch, 0xee, 2, 2));
    Plane up = {2, 1, 2, NULL, plane, NULL, pitch, 0, 0, 1, to, 0, NULL, 4, 4, 3};
    OK(cuMemcpy2D_v2(&up));
    HOLDS(to[0][0] == 0xee && to[0][1] == 13 && to[1][0] == 0xee && to[2][0] == 32 && to[2][3] == 35);
    EXPECT(INVALID_VALUE, cuMemcpy2D_v2(&(Plane){0, 0, 1, from, 0, NULL, 10, 0, 0, 2, NULL, plane, NULL, pitch, 10, 60}));
    OK(cuMemFree_v2(plane));
}

static void pools(CUstream stream) {
    CUmemoryPool pool, other;
    CUdeviceptr address;
    uint64_t threshold = 4096, got = 0;
    OK(cuDeviceGetDefaultMemPool(&pool, 0));
    OK(cuMemPoolSetAttribute(pool, 4, &threshold));
    OK(cuMemPoolGetAttribute(pool, 4, &got));
    HOLDS(got == 4096);
    PoolProps props = {.type = 1, .location = {1, 0}};
    OK(cuMemPoolCreate(&other, &props));
    OK(cuMemAllocFromPoolAsync(&address, 64, other, stream));
    OK(cuMemPoolGetAttribute(other, 7, &got));
    HOLDS(got >= 64);
    OK(cuMemFreeAsync(address, stream));
    EXPECT(INVALID_VALUE, cuMemFreeAsync(address, stream));
    OK(cuStreamSynchronize(stream));
    OK(cuMemPoolDestroy(other));
    EXPECT(INVALID_VALUE, cuMemPoolDestroy(other));
    EXPECT(INVALID_VALUE, cuMemPoolDestroy(pool));
}

static void pointers(void) {
    CUdeviceptr managed, start, device;
    void *pinned;
    size_t bytes;
    int type, is_managed = 0, ordinal;
    OK(cuMemAllocManaged(&managed, 4096, 1));
    memset((void *)managed, 1, 4096);
    OK(cuPointerGetAttribute(&type, 2, managed));
    HOLDS(type == 2);
    void *values[] = {&is_managed, &ordinal};
    OK(cuPointerGetAttributes(2, (int[]){8, 9}, values, managed + 5));
    HOLDS((is_managed & 0xff) == 1 && ordinal == 0);
    OK(cuMemGetAddressRange_v2(&start, &bytes, managed + 100));
    HOLDS(start == managed && bytes == 4096);
    OK(cuMemHostAlloc(&pinned, 100, 0));
    OK(cuMemHostGetDevicePointer_v2(&device, pinned, 0));
    HOLDS(device == (CUdeviceptr)pinned);
    OK(cuMemcpy(device, managed, 100));
    HOLDS(*(char *)pinned == 1);
    EXPECT(INVALID_VALUE, cuPointerGetAttribute(&type, 2, (CUdeviceptr)&type));
    OK(cuMemFreeHost(pinned));
    OK(cuMemFree_v2(managed));
}

static void occupancy(CUfunction sine) {
    int blocks, grid, block;
    OK(cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, sine, 256, 0));
    HOLDS(blocks == 8);
    OK(cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, sine, 256, 82 << 10));
    HOLDS(blocks == 2);
    OK(cuOccupancyMaxPotentialBlockSize(&grid, &block, sine, NULL, 0, 0));
    HOLDS(block > 0 && grid == blocks * 108);
    EXPECT(INVALID_VALUE, cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, sine, 0, 0));
}

static void graphs(CUfunction sine, CUstream stream) {
    CUgraph graph, empty;
    CUgraphNode node;
    CUgraphExec executable;
    UpdateResult result;
    KernelNode kernel = {sine, {1, 1, 1}, {COUNT, 1, 1}, 0, parameters, NULL, NULL, NULL};
    OK(cuGraphCreate(&graph, 0));
    OK(cuGraphCreate(&empty, 0));
    OK(cuGraphAddKernelNode_v2(&node, graph, NULL, 0, &kernel));
    OK(cuGraphInstantiateWithFlags(&executable, graph, 0));
    OK(cuGraphExecUpdate_v2(executable, graph, &result));
    EXPECT(910, cuGraphExecUpdate_v2(executable, empty, &result));
    HOLDS(result.result == 2);
    OK(cuGraphLaunch(executable, stream));
    OK(cuStreamSynchronize(stream));
    expect_sines();
    OK(cuGraphExecDestroy(executable));
    OK(cuGraphDestroy(graph));
    OK(cuGraphDestroy(empty));
    EXPECT(INVALID_HANDLE, cuGraphNodeGetType(node, &result.result));
}

static void called_back(CUstream stream, CUresult status, void *seen) {
    HOLDS(status == 0);
    *(CUstream *)seen = stream;
}

int main(void) {
    CUcontext context;
    CUmodule library;
    CUstream stream, seen = NULL;
    unsigned flags;
    int active;
    size_t limit;
    OK(cuInit(0));
    OK(cuDevicePrimaryCtxGetState(0, &flags, &active));
    HOLDS(!active);
    OK(cuDevicePrimaryCtxRetain(&context, 0));
    OK(cuCtxSetCurrent(context));
    OK(cuDevicePrimaryCtxGetState(0, &flags, &active));
    HOLDS(active);
    OK(cuCtxSetLimit(0, 2048));
    OK(cuCtxGetLimit(&limit, 0));
    HOLDS(limit == 2048);
    EXPECT(215, cuCtxGetLimit(&limit, 77));
    OK(cuStreamCreate(&stream, 1));
    OK(cuMemAlloc_v2(&in, BYTES));
    OK(cuMemAlloc_v2(&out, BYTES));
    for (int i = 0; i < COUNT; i++)
        input[i] = (float)i / 10;
    OK(cuMemcpyHtoD_v2(in, input, BYTES));
    CUfunction sine = libraries(&library);
    occupancy(sine);
    launches(sine, stream);
    constants(library);
    planes();
    pools(stream);
    pointers();
    graphs(sine, stream);
    OK(cuStreamAddCallback(stream, called_back, &seen, 0));
    OK(cuStreamSynchronize(stream));
    HOLDS(seen == stream);
    void *address;
    OK(cuGetProcAddress_v2("cuLaunchKernel", &address, 12040, 2, NULL));
    HOLDS(address == (void *)cuLaunchKernel_ptsz);
    OK(cuLibraryUnload(library));
    OK(cuDevicePrimaryCtxReset_v2(0));
    EXPECT(709, cuCtxSynchronize());
    puts("ok");
    return 0;
}
