/*
 * A CUDA program in plain C on the driver API that makes one CUDA graph before it is ready, and knows nothing of us.
 *
 * Enters: one command a line on stdin. Leaves: "ready", then one line a command. Refuses: nothing.
 *
 *   make N      makes a graph of N launches, which is replayed from now on; answers "made N"
 *   replay N    N launches of the latest graph, and waits for them; answers "replayed N"
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
int cuStreamCreate(void **, unsigned);
int cuStreamBeginCapture_v2(void *, int);
int cuStreamEndCapture(void *, void **);
int cuGraphInstantiateWithFlags(void **, void *, unsigned long long);
int cuGraphLaunch(void *, void *);

static const char ptx[] = ".version 7.0\n.target sm_70\n.address_size 64\n.visible .entry in_a_graph() { ret; }\n";
static void *kernel, *stream, *executable;

static int make(long count) {
    const int thread_local_mode = 1;
    void *graph;
    if (cuStreamBeginCapture_v2(stream, thread_local_mode)) return 1;
    for (long i = 0; i < count; i++)
        if (cuLaunchKernel(kernel, 1, 1, 1, 32, 1, 1, 0, stream, 0, 0)) return 1;
    return cuStreamEndCapture(stream, &graph) || cuGraphInstantiateWithFlags(&executable, graph, 0);
}

int main(void) {
    void *context, *module;
    long count;
    int device;
    char what;
    if (cuInit(0) || cuDeviceGet(&device, 0) || cuDevicePrimaryCtxRetain(&context, device) || cuCtxSetCurrent(context) ||
        cuModuleLoadData(&module, ptx) || cuModuleGetFunction(&kernel, module, "in_a_graph") || cuStreamCreate(&stream, 0) ||
        make(3))
        return 2;
    puts("ready");
    fflush(stdout);
    while (scanf(" %c%*[a-z] %ld", &what, &count) == 2) {
        if (what == 'm' && make(count)) return 3;
        for (long i = 0; what == 'r' && i < count; i++)
            if (cuGraphLaunch(executable, stream)) return 4;
        if (cuCtxSynchronize()) return 5;
        printf(what == 'm' ? "made %ld\n" : "replayed %ld\n", count);
        fflush(stdout);
    }
    return 0;
}
