/*
 * A CUDA program in plain C on the driver API, linked against the driver, that knows nothing of us.
 *
 * Enters: one command a line on stdin. Leaves: "ready", then one line a command. Refuses: nothing.
 *
 *   launch N    N launches of one kernel, and waits for them; answers "launched N"
 */
#include <stdio.h>

int cuInit(unsigned);
int cuDeviceGet(int *, int);
int cuDevicePrimaryCtxRetain(void **, int);
int cuCtxSetCurrent(void *);
int cuCtxSynchronize(void);
int cuModuleLoadData(void **, const void *);
int cuModuleGetFunction(void **, void *, const char *);
int cuLaunchKernel(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **, void **);

static const char ptx[] = ".version 7.0\n.target sm_70\n.address_size 64\n.visible .entry attached_late() { ret; }\n";

int main(void) {
    void *context, *module, *kernel;
    long count;
    int device;
    if (cuInit(0) || cuDeviceGet(&device, 0) || cuDevicePrimaryCtxRetain(&context, device) || cuCtxSetCurrent(context) ||
        cuModuleLoadData(&module, ptx) || cuModuleGetFunction(&kernel, module, "attached_late"))
        return 2;
    puts("ready");
    fflush(stdout);
    while (scanf(" launch %ld", &count) == 1) {
        for (long i = 0; i < count; i++)
            if (cuLaunchKernel(kernel, 1, 1, 1, 32, 1, 1, 0, 0, 0, 0)) return 3;
        if (cuCtxSynchronize()) return 4;
        printf("launched %ld\n", count);
        fflush(stdout);
    }
    return 0;
}
