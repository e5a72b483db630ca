/* A whole program: a reference kernel from its PTX file (argument 1) on streams, with events, pinned memory, a graph
 * made by capture of two streams, two devices. Every result is checked against plain C. */
#include "driver_api.h"
#include <math.h>
#include <time.h>

enum { TOKENS = 7, HIDDEN = 96, COUNT = TOKENS * HIDDEN, BYTES = COUNT * 4 };

static float input[COUNT], weight[HIDDEN], want[COUNT];

static void reference(void) {
    for (int t = 0; t < TOKENS; t++) {
        double squares = 0;
        for (int i = 0; i < HIDDEN; i++) {
            input[t * HIDDEN + i] = (float)((t * 31 + i * 17) % 23) / 7.0f - 1.0f;
            weight[i] = 0.5f + (float)i / HIDDEN;
            squares += (double)input[t * HIDDEN + i] * input[t * HIDDEN + i];
        }
        for (int i = 0; i < HIDDEN; i++)
            want[t * HIDDEN + i] = (float)(input[t * HIDDEN + i] / sqrt(squares / HIDDEN + 1e-5) * weight[i]);
    }
}

static int is_right(const float *got) {
    for (int i = 0; i < COUNT; i++)
        if (fabsf(got[i] - want[i]) > 1e-5f)
            return 0;
    return 1;
}

static void count_call(void *calls) { ++*(int *)calls; }

static void take_a_while(void *unused) {
    (void)unused;
    nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
}

static void two_devices(void) {
    CUcontext first, second;
    OK(cuCtxCreate_v2(&first, 0, 0));
    OK(cuCtxCreate_v2(&second, 0, 1));
    CUdeviceptr a, b;
    OK(cuCtxSetCurrent(first));
    OK(cuMemAlloc_v2(&a, 4096));
    /* A copy between devices in a default stream waits for both devices, and both for it. */
    OK(cuLaunchHostFunc(NULL, take_a_while, NULL));
    OK(cuMemsetD8_v2(a, 0x5a, 4096));
    OK(cuCtxEnablePeerAccess(second, 0));
    OK(cuCtxPushCurrent_v2(second));
    OK(cuMemAlloc_v2(&b, 4096));
    EXPECT(INVALID_VALUE, cuMemcpyPeerAsync(b, first, a, first, 4096, NULL));
    OK(cuMemcpyPeerAsync(b, second, a, first, 4096, NULL));
    unsigned char bytes[4096];
    OK(cuMemcpyDtoH_v2(bytes, b, sizeof bytes));
    HOLDS(bytes[0] == 0x5a && bytes[4095] == 0x5a);
    CUdevice device;
    OK(cuCtxGetDevice(&device));
    HOLDS(device == 1);
    OK(cuCtxPopCurrent_v2(NULL));
    OK(cuCtxGetDevice(&device));
    HOLDS(device == 0);
    OK(cuCtxDestroy_v2(second));
    OK(cuCtxDestroy_v2(first));
    EXPECT(INVALID_CONTEXT, cuCtxDestroy_v2(first));
}

int main(int count, char **arguments) {
    HOLDS(count == 2);
    reference();
    OK(cuInit(0));
    int devices, version;
    OK(cuDeviceGetCount(&devices));
    OK(cuDriverGetVersion(&version));
    HOLDS(devices == 2 && version == 12040);
    char name[64];
    OK(cuDeviceGetName(name, sizeof name, 0));
    HOLDS(strstr(name, "Simulated"));
    CUcontext context;
    OK(cuDevicePrimaryCtxRetain(&context, 0));
    OK(cuCtxSetCurrent(context));

    CUmodule module;
    CUfunction kernel;
    OK(cuModuleLoad(&module, arguments[1]));
    OK(cuModuleGetFunction(&kernel, module, "rms_norm_f32"));
    EXPECT(NOT_FOUND, cuModuleGetFunction(&kernel, module, "no_such_kernel"));
    CUstream one, two;
    OK(cuStreamCreate(&one, 1));
    OK(cuStreamCreate(&two, 1));
    CUdeviceptr in, weights, out;
    OK(cuMemAlloc_v2(&in, BYTES));
    OK(cuMemAlloc_v2(&weights, sizeof weight));
    OK(cuMemAllocAsync(&out, BYTES, one));
    float *pinned;
    OK(cuMemHostAlloc((void **)&pinned, BYTES, 0));
    OK(cuMemcpyHtoD_v2(weights, weight, sizeof weight));

    /* Copied on one stream, computed on the other after an event, copied back: in order through the event. */
    CUevent copied, start, end;
    OK(cuEventCreate(&copied, 2));
    OK(cuEventCreate(&start, 0));
    OK(cuEventCreate(&end, 0));
    int hidden = HIDDEN;
    float epsilon = 1e-5f;
    void *parameters[] = {&out, &in, &weights, &hidden, &epsilon};
    OK(cuMemcpyHtoDAsync_v2(in, input, BYTES, two));
    OK(cuEventRecord(copied, two));
    OK(cuStreamWaitEvent(one, copied, 0));
    OK(cuMemsetD32Async(out, 0x7fc00000, COUNT, one));
    OK(cuEventRecord(start, one));
    OK(cuLaunchKernel(kernel, TOKENS, 1, 1, 128, 1, 1, 0, one, parameters, NULL));
    /* Parameters were copied at the launch: changing them now has no effect. */
    hidden = 0;
    OK(cuEventRecord(end, one));
    OK(cuMemcpyDtoHAsync_v2(pinned, out, BYTES, one));
    int calls = 0;
    OK(cuLaunchHostFunc(one, count_call, &calls));
    OK(cuStreamSynchronize(one));
    HOLDS(calls == 1);
    HOLDS(is_right(pinned));
    float milliseconds = -1;
    OK(cuEventQuery(end));
    OK(cuEventElapsedTime(&milliseconds, start, end));
    HOLDS(milliseconds > 0 && milliseconds < 1000);
    EXPECT(INVALID_HANDLE, cuEventElapsedTime(&milliseconds, copied, end));

    /* The same as a graph: the second stream is drawn in through an event and joined again. */
    hidden = HIDDEN;
    CUevent fork, join;
    OK(cuEventCreate(&fork, 2));
    OK(cuEventCreate(&join, 2));
    CUgraph graph;
    CUgraphExec executable;
    int status;
    OK(cuStreamBeginCapture_v2(one, 0));
    OK(cuMemsetD32Async(out, 0, COUNT, one));
    OK(cuEventRecord(fork, one));
    OK(cuStreamWaitEvent(two, fork, 0));
    OK(cuStreamIsCapturing(two, &status));
    HOLDS(status == 1);
    OK(cuLaunchKernel(kernel, TOKENS, 1, 1, 128, 1, 1, 0, two, parameters, NULL));
    OK(cuEventRecord(join, two));
    OK(cuStreamWaitEvent(one, join, 0));
    OK(cuMemcpyDtoHAsync_v2(pinned, out, BYTES, one));
    OK(cuLaunchHostFunc(one, count_call, &calls));
    OK(cuStreamEndCapture(one, &graph));
    OK(cuStreamIsCapturing(two, &status));
    HOLDS(status == 0 && calls == 1);
    CUgraphNode nodes[8];
    size_t node_count = 8;
    OK(cuGraphGetNodes(graph, nodes, &node_count));
    HOLDS(node_count == 4);
    int types[4];
    for (int i = 0; i < 4; i++)
        OK(cuGraphNodeGetType(nodes[i], &types[i]));
    HOLDS(types[0] == 2 && types[1] == 0 && types[2] == 1 && types[3] == 3);
    OK(cuGraphInstantiateWithFlags(&executable, graph, 0));
    OK(cuGraphDestroy(graph));
    for (int replay = 0; replay < 100; replay++) {
        memset(pinned, 0, BYTES);
        OK(cuGraphLaunch(executable, two));
        OK(cuStreamSynchronize(two));
        HOLDS(is_right(pinned));
    }
    HOLDS(calls == 101);
    OK(cuGraphExecDestroy(executable));
    EXPECT(INVALID_HANDLE, cuGraphLaunch(executable, two));

    OK(cuMemFreeAsync(out, one));
    OK(cuStreamSynchronize(one));
    OK(cuMemFree_v2(in));
    OK(cuMemFree_v2(weights));
    OK(cuMemFreeHost(pinned));
    OK(cuModuleUnload(module));
    size_t unused, total;
    OK(cuMemGetInfo_v2(&unused, &total));
    HOLDS(unused == total && total == (size_t)16 << 30);
    OK(cuStreamDestroy_v2(one));
    OK(cuStreamDestroy_v2(two));
    EXPECT(INVALID_HANDLE, cuStreamSynchronize(two));
    OK(cuDevicePrimaryCtxRelease_v2(0));
    two_devices();
    puts("ok");
    return 0;
}
