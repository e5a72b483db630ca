/* The order that CUDA promises: within a stream, across events, and between the default stream and blocking streams. */
#include "driver_api.h"
#include <time.h>

static volatile int step, gate_is_open;

/* Lasts until the program opens the gate. */
static void slow_first(void *unused) {
    (void)unused;
    while (!gate_is_open)
        nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    HOLDS(step == 0);
    step = 1;
}

static void second(void *unused) {
    (void)unused;
    HOLDS(step == 1);
    step = 2;
}

static void third(void *unused) {
    (void)unused;
    HOLDS(step == 2);
    step = 3;
}

int main(void) {
    OK(cuInit(0));
    CUcontext context;
    OK(cuCtxCreate_v2(&context, 0, 0));
    CUstream blocking, other, free_running;
    OK(cuStreamCreate(&blocking, 0));
    OK(cuStreamCreate(&other, 0));
    OK(cuStreamCreate(&free_running, 1));
    /* blocking, then the default stream, then another blocking stream: one after the other. */
    OK(cuLaunchHostFunc(blocking, slow_first, NULL));
    OK(cuLaunchHostFunc(NULL, second, NULL));
    OK(cuLaunchHostFunc(other, third, NULL));
    EXPECT(NOT_READY, cuStreamQuery(other));
    /* A stream that does not block is not held up. */
    CUevent now;
    OK(cuEventCreate(&now, 0));
    OK(cuEventQuery(now));
    OK(cuEventRecord(now, free_running));
    OK(cuEventSynchronize(now));
    HOLDS(step == 0);
    gate_is_open = 1;
    OK(cuStreamSynchronize(other));
    HOLDS(step == 3);
    /* An event holds up the stream that waits for it, and no other. */
    step = gate_is_open = 0;
    OK(cuLaunchHostFunc(free_running, slow_first, NULL));
    OK(cuEventRecord(now, free_running));
    EXPECT(NOT_READY, cuEventQuery(now));
    OK(cuStreamWaitEvent(other, now, 0));
    OK(cuLaunchHostFunc(other, second, NULL));
    OK(cuStreamSynchronize(blocking));
    HOLDS(step == 0);
    /* Waiting is for the recording at the time of the call: a destroyed or recorded-again event changes nothing. */
    OK(cuEventDestroy_v2(now));
    OK(cuEventCreate(&now, 0));
    OK(cuEventRecord(now, blocking));
    OK(cuEventSynchronize(now));
    HOLDS(step == 0);
    gate_is_open = 1;
    OK(cuCtxSynchronize());
    HOLDS(step == 2);
    puts("ok");
    return 0;
}
