/* 64 threads: half launch into a stream of their own, half into one shared stream; each adds its part to memory
 * through copies and checks it, and counts through host functions. */
#include "driver_api.h"
#include <pthread.h>

enum { THREADS = 64, ROUNDS = 200 };

static CUcontext context;
static CUstream shared;
static CUfunction unknown, sine;
static int shared_calls;

static void count_call(void *calls) { ++*(int *)calls; }

static void *work(void *argument) {
    long number = (long)argument;
    OK(cuCtxSetCurrent(context));
    CUstream stream = shared;
    if (number % 2)
        OK(cuStreamCreate(&stream, number % 4 == 1));
    CUdeviceptr in, out;
    OK(cuMemAlloc_v2(&in, 64));
    OK(cuMemAlloc_v2(&out, 64));
    int own_calls = 0, n = 16;
    void *parameters[] = {&out, &in, &n};
    for (int round = 0; round < ROUNDS; round++) {
        unsigned char bytes[64], back[64];
        memset(bytes, (int)(number + round), sizeof bytes);
        OK(cuMemcpyHtoDAsync_v2(in, bytes, sizeof bytes, stream));
        OK(cuLaunchKernel(round % 2 ? sine : unknown, 1, 1, 1, 16, 1, 1, 0, stream, parameters, NULL));
        OK(cuLaunchHostFunc(stream, count_call, number % 2 ? &own_calls : &shared_calls));
        OK(cuMemcpyDtoHAsync_v2(back, in, sizeof back, stream));
        OK(cuStreamSynchronize(stream));
        HOLDS(memcmp(bytes, back, sizeof back) == 0);
    }
    HOLDS(own_calls == (number % 2 ? ROUNDS : 0));
    if (number % 2)
        OK(cuStreamDestroy_v2(stream));
    OK(cuMemFree_v2(in));
    OK(cuMemFree_v2(out));
    return NULL;
}

int main(void) {
    const char *ptx = ".version 7.0\n.target sm_80\n.address_size 64\n"
                      ".visible .entry nobody_knows(.param .u64 a, .param .u64 b, .param .u32 c) { ret; }\n"
                      ".visible .entry sin_kernel(.param .u64 a, .param .u64 b, .param .u32 c) { ret; }\n";
    OK(cuInit(0));
    OK(cuDevicePrimaryCtxRetain(&context, 0));
    OK(cuCtxSetCurrent(context));
    CUmodule module;
    OK(cuModuleLoadData(&module, ptx));
    OK(cuModuleGetFunction(&unknown, module, "nobody_knows"));
    OK(cuModuleGetFunction(&sine, module, "sin_kernel"));
    OK(cuStreamCreate(&shared, 0));
    pthread_t threads[THREADS];
    for (long i = 0; i < THREADS; i++)
        HOLDS(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
    for (int i = 0; i < THREADS; i++)
        HOLDS(pthread_join(threads[i], NULL) == 0);
    OK(cuStreamSynchronize(shared));
    HOLDS(shared_calls == THREADS / 2 * ROUNDS);
    puts("ok");
    return 0;
}
