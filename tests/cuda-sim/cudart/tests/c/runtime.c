/* A runtime program as nvcc would make it: registers an image, kernels and a variable before main, launches through
 * all generations of launch functions. Prototypes are written down by hand (CUDA 12.9 cuda_runtime_api.h). */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int cudaError_t;
typedef struct stream *cudaStream_t;
typedef struct event *cudaEvent_t;
typedef struct graph *cudaGraph_t;
typedef struct graph_exec *cudaGraphExec_t;
typedef struct {
    unsigned x, y, z;
} dim3;

void **__cudaRegisterFatBinary(void *);
void __cudaRegisterFatBinaryEnd(void **);
void __cudaUnregisterFatBinary(void **);
void __cudaRegisterFunction(void **, const char *, char *, const char *, int, void *, void *, dim3 *, dim3 *, int *);
void __cudaRegisterVar(void **, char *, char *, const char *, int, size_t, int, int);
unsigned __cudaPushCallConfiguration(dim3, dim3, size_t, cudaStream_t);
cudaError_t __cudaPopCallConfiguration(dim3 *, dim3 *, size_t *, void *);
cudaError_t __cudaGetKernel(void **, const void *);
cudaError_t __cudaLaunchKernel(void *, dim3, dim3, void **, size_t, cudaStream_t);
cudaError_t cudaLaunchKernel(const void *, dim3, dim3, void **, size_t, cudaStream_t);
cudaError_t cudaLaunchKernel_ptsz(const void *, dim3, dim3, void **, size_t, cudaStream_t);
cudaError_t cudaLaunchKernelExC(const void *, const void *, void **);
cudaError_t cudaLaunchCooperativeKernel(const void *, dim3, dim3, void **, size_t, cudaStream_t);
cudaError_t cudaMalloc(void **, size_t);
cudaError_t cudaMallocAsync(void **, size_t, cudaStream_t);
cudaError_t cudaMallocHost(void **, size_t);
cudaError_t cudaFree(void *);
cudaError_t cudaFreeAsync(void *, cudaStream_t);
cudaError_t cudaFreeHost(void *);
cudaError_t cudaMemcpy(void *, const void *, size_t, int);
cudaError_t cudaMemcpyAsync(void *, const void *, size_t, int, cudaStream_t);
cudaError_t cudaMemcpyPeer(void *, int, const void *, int, size_t);
cudaError_t cudaMemcpyToSymbol(const void *, const void *, size_t, size_t, int);
cudaError_t cudaMemcpyFromSymbol(void *, const void *, size_t, size_t, int);
cudaError_t cudaMemset(void *, int, size_t);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *, unsigned);
cudaError_t cudaStreamSynchronize(cudaStream_t);
cudaError_t cudaStreamDestroy(cudaStream_t);
cudaError_t cudaStreamBeginCapture(cudaStream_t, int);
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t *);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *, cudaGraph_t, unsigned long long);
cudaError_t cudaGraphLaunch(cudaGraphExec_t, cudaStream_t);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t);
cudaError_t cudaGraphDestroy(cudaGraph_t);
cudaError_t cudaEventCreate(cudaEvent_t *);
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t);
cudaError_t cudaEventSynchronize(cudaEvent_t);
cudaError_t cudaEventElapsedTime(float *, cudaEvent_t, cudaEvent_t);
cudaError_t cudaGetDeviceCount(int *);
cudaError_t cudaGetDevice(int *);
cudaError_t cudaSetDevice(int);
cudaError_t cudaDeviceSynchronize(void);
cudaError_t cudaDeviceReset(void);
cudaError_t cudaDeviceGetAttribute(int *, int, int);
cudaError_t cudaGetDeviceProperties_v2(void *, int);
cudaError_t cudaGetLastError(void);
cudaError_t cudaPeekAtLastError(void);
const char *cudaGetErrorName(cudaError_t);
cudaError_t cudaDriverGetVersion(int *);
cudaError_t cudaRuntimeGetVersion(int *);

#define EXPECT(status, call)                                                                                           \
    do {                                                                                                               \
        cudaError_t got_ = (call);                                                                                     \
        if (got_ != (status)) {                                                                                        \
            fprintf(stderr, "%s:%d: %s returned %d, expected %d\n", __FILE__, __LINE__, #call, got_, (status));        \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)
#define OK(call) EXPECT(0, call)
#define HOLDS(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition);                              \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

enum { HOST_TO_DEVICE = 1, DEVICE_TO_HOST = 2, COUNT = 100, BYTES = COUNT * 4 };

static const uint32_t image[] = {0xba55ed50, 1, 0, 0};
static const struct {
    uint32_t magic, version;
    const void *data, *unused;
} wrapper = {0x466243b1, 1, image, NULL};

static void sine_stub(void) {}
static void unregistered_stub(void) {}
static float variable[4];
static void **handle;

__attribute__((constructor)) static void register_all(void) {
    handle = __cudaRegisterFatBinary((void *)&wrapper);
    __cudaRegisterFunction(handle, (const char *)sine_stub, "sin_kernel", "sin_kernel", -1, NULL, NULL, NULL, NULL,
                           NULL);
    __cudaRegisterVar(handle, (char *)variable, "variable", "variable", 0, sizeof variable, 0, 0);
    __cudaRegisterFatBinaryEnd(handle);
}

__attribute__((destructor)) static void unregister_all(void) { __cudaUnregisterFatBinary(handle); }

static float input[COUNT], output[COUNT];

static void check(void *out) {
    memset(output, 0, sizeof output);
    OK(cudaMemcpy(output, out, BYTES, DEVICE_TO_HOST));
    for (int i = 0; i < COUNT; i++)
        HOLDS(fabsf(output[i] - sinf(input[i])) < 1e-6f);
    /* The memset returns before it has run, and streams that do not block do not wait for it. */
    OK(cudaMemset(out, 0, BYTES));
    OK(cudaDeviceSynchronize());
}

int main(int count, char **arguments) {
    HOLDS(count == 2);
    int devices, device, version, driver_version, processors;
    OK(cudaRuntimeGetVersion(&version));
    OK(cudaDriverGetVersion(&driver_version));
    HOLDS(version / 1000 == atoi(arguments[1]) && driver_version == 12040);
    OK(cudaGetDeviceCount(&devices));
    HOLDS(devices == 2);
    OK(cudaGetDevice(&device));
    HOLDS(device == 0);
    OK(cudaDeviceGetAttribute(&processors, 16, 0));
    unsigned char properties[2048];
    memset(properties, 0xff, sizeof properties);
    OK(cudaGetDeviceProperties_v2(properties, 1));
    HOLDS(strstr((char *)properties, "Simulated"));
    HOLDS(*(int *)(properties + (version >= 13000 ? 384 : 388)) == processors);
    HOLDS(*(int *)(properties + 360) == 8 && *(int *)(properties + 364) == 0);
    HOLDS(properties[version >= 13000 ? 1008 : 1032] == 0xff);

    void *in, *out, *parameters[3];
    int n = COUNT;
    parameters[0] = &out, parameters[1] = &in, parameters[2] = &n;
    for (int i = 0; i < COUNT; i++)
        input[i] = (float)i / 10;
    cudaStream_t stream;
    OK(cudaStreamCreateWithFlags(&stream, 1));
    OK(cudaMalloc(&in, BYTES));
    OK(cudaMallocAsync(&out, BYTES, stream));
    OK(cudaMemcpy(in, input, BYTES, HOST_TO_DEVICE));

    /* Every way to launch. */
    dim3 grid = {4, 1, 1}, block = {32, 1, 1};
    cudaEvent_t start, end;
    float milliseconds;
    OK(cudaEventCreate(&start));
    OK(cudaEventCreate(&end));
    OK(cudaEventRecord(start, stream));
    OK(cudaLaunchKernel((void *)sine_stub, grid, block, parameters, 0, stream));
    OK(cudaEventRecord(end, stream));
    OK(cudaEventSynchronize(end));
    OK(cudaEventElapsedTime(&milliseconds, start, end));
    HOLDS(milliseconds > 0);
    check(out);
    OK(cudaLaunchKernel_ptsz((void *)sine_stub, grid, block, parameters, 0, NULL));
    OK(cudaDeviceSynchronize());
    check(out);
    struct {
        dim3 grid, block;
        size_t shared;
        cudaStream_t stream;
        void *attributes;
        unsigned count;
    } configuration = {grid, block, 0, stream, NULL, 0};
    OK(cudaLaunchKernelExC(&configuration, (void *)sine_stub, parameters));
    OK(cudaStreamSynchronize(stream));
    check(out);
    OK(cudaLaunchCooperativeKernel((void *)sine_stub, grid, block, parameters, 0, stream));
    OK(cudaStreamSynchronize(stream));
    check(out);
    dim3 popped_grid, popped_block;
    size_t shared;
    cudaStream_t popped;
    void *kernel;
    HOLDS(__cudaPushCallConfiguration(grid, block, 0, stream) == 0);
    OK(__cudaPopCallConfiguration(&popped_grid, &popped_block, &shared, &popped));
    HOLDS(popped == stream && popped_grid.x == 4 && popped_block.x == 32 && shared == 0);
    EXPECT(52, __cudaPopCallConfiguration(&popped_grid, &popped_block, &shared, &popped));
    OK(__cudaGetKernel(&kernel, (void *)sine_stub));
    OK(__cudaLaunchKernel(kernel, popped_grid, popped_block, parameters, shared, popped));
    OK(cudaStreamSynchronize(stream));
    check(out);

    /* A graph. */
    cudaGraph_t graph;
    cudaGraphExec_t executable;
    OK(cudaStreamBeginCapture(stream, 0));
    OK(cudaLaunchKernel((void *)sine_stub, grid, block, parameters, 0, stream));
    OK(cudaStreamEndCapture(stream, &graph));
    OK(cudaGraphInstantiate(&executable, graph, 0));
    OK(cudaGraphLaunch(executable, stream));
    OK(cudaStreamSynchronize(stream));
    check(out);
    OK(cudaGraphExecDestroy(executable));
    OK(cudaGraphDestroy(graph));

    /* A variable. */
    float values[4] = {1, 2, 3, 4}, back[2];
    OK(cudaMemcpyToSymbol(variable, values, sizeof values, 0, HOST_TO_DEVICE));
    OK(cudaMemcpyFromSymbol(back, variable, sizeof back, 8, DEVICE_TO_HOST));
    HOLDS(back[0] == 3 && back[1] == 4);
    EXPECT(1, cudaMemcpyFromSymbol(back, variable, sizeof back, 12, DEVICE_TO_HOST));
    EXPECT(13, cudaMemcpyToSymbol(values, values, 4, 0, HOST_TO_DEVICE));

    /* Errors, and the last of them. */
    EXPECT(98, cudaLaunchKernel((void *)unregistered_stub, grid, block, NULL, 0, stream));
    HOLDS(cudaPeekAtLastError() == 98 && cudaGetLastError() == 98 && cudaGetLastError() == 0);
    EXPECT(9, cudaLaunchKernel((void *)sine_stub, (dim3){0, 1, 1}, block, parameters, 0, stream));
    EXPECT(21, cudaMemcpy(in, input, 4, 9));
    EXPECT(1, cudaMalloc(NULL, 4));
    EXPECT(2, cudaMalloc(&kernel, (size_t)1 << 50));
    HOLDS(strcmp(cudaGetErrorName(cudaGetLastError()), "cudaErrorMemoryAllocation") == 0);
    EXPECT(101, cudaSetDevice(2));

    /* The other device. */
    void *there, *pinned;
    OK(cudaSetDevice(1));
    OK(cudaMalloc(&there, BYTES));
    OK(cudaMemcpyPeer(there, 1, in, 0, BYTES));
    OK(cudaMallocHost(&pinned, BYTES));
    OK(cudaMemcpyAsync(pinned, there, BYTES, DEVICE_TO_HOST, NULL));
    OK(cudaDeviceSynchronize());
    HOLDS(memcmp(pinned, input, BYTES) == 0);
    OK(cudaFreeHost(pinned));
    OK(cudaFree(there));
    OK(cudaDeviceReset());
    OK(cudaSetDevice(0));
    OK(cudaFreeAsync(out, stream));
    OK(cudaStreamSynchronize(stream));
    OK(cudaStreamDestroy(stream));
    OK(cudaFree(in));
    OK(cudaFree(NULL));
    puts("ok");
    return 0;
}
