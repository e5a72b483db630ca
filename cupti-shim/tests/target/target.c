/*
 * A CUDA program for the shim's tests, in plain C on the driver API.
 *
 * Enters: one command a line on stdin. Leaves: one line a command on stdout, "ok" and a number, or "failed" and why.
 * Refuses: nothing; what fails is told. At the end of stdin it returns from main, with whatever is in flight.
 *
 *   init                    cuInit, a context, a module
 *   launch N                N kernel launches; answers with their number
 *   copy N BYTES            N copies from host to device
 *   sync                    waits for the device
 *   graph N                 captures N launches, and makes an executable graph of them; answers with its number, from 0
 *   replay I N              N launches of graph I
 *   descriptors             answers with the number of memfds that are open
 *   threads T N             T threads at once, each launching N kernels
 *   load PATH               dlopen PATH, InitializeInjection if it has one, dlclose twice
 *   cupti-time              answers with cuptiGetTimestamp
 *   cupti-attribute N       answers with what cuptiActivityGetAttribute says of attribute N, a size
 *   cupti-set N VALUE       cuptiActivitySetAttribute of attribute N
 *   cupti-enable N          cuptiActivityEnable of kind N
 *   profile N               N kernel launches, recorded by this program's own use of CUPTI
 *   sleep MS                does nothing for a while
 *   getenv NAME             answers with the value
 *   reopen PATH             opens PATH in place of every memfd that is open; answers with their number
 *   check PATH              ends with status 1 unless those descriptors still lead to PATH
 *   fork COMMAND;...        the commands in a child made by fork; answers with its exit status
 *   clone COMMAND;...       the same in a child that the C library does not know of
 *   exec                    becomes a fresh copy of itself
 *   abort                   ends by SIGKILL
 *   quit                    ends by _exit
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int (*cuInit)(unsigned);
static int (*cuDeviceGet)(int *, int);
static int (*cuDevicePrimaryCtxRetain)(void **, int);
static int (*cuCtxSetCurrent)(void *);
static int (*cuCtxSynchronize)(void);
static int (*cuModuleLoadData)(void **, const void *);
static int (*cuModuleGetFunction)(void **, void *, const char *);
static int (*cuLaunchKernel)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *,
                             void **, void **);
static int (*cuMemAlloc_v2)(unsigned long long *, size_t);
static int (*cuMemcpyHtoD_v2)(unsigned long long, const void *, size_t);
static int (*cuStreamCreate)(void **, unsigned);
static int (*cuStreamBeginCapture_v2)(void *, int);
static int (*cuStreamEndCapture)(void *, void **);
static int (*cuGraphInstantiateWithFlags)(void **, void *, unsigned long long);
static int (*cuGraphLaunch)(void *, void *);

static void *context, *kernel, *stream, *graphs[64];
static int graph_count;
static unsigned long long device_memory;
static char host_memory[1 << 20];

static const char ptx[] = ".version 7.0\n.target sm_70\n.address_size 64\n.visible .entry shim_test_kernel() { ret; }\n";

static int look_up(void) {
    void *driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
    if (!driver) return 0;
#define FIND(name) if (!(*(void **)&name = dlsym(driver, #name))) return 0
    FIND(cuInit); FIND(cuDeviceGet); FIND(cuDevicePrimaryCtxRetain); FIND(cuCtxSetCurrent); FIND(cuCtxSynchronize);
    FIND(cuModuleLoadData); FIND(cuModuleGetFunction); FIND(cuLaunchKernel); FIND(cuMemAlloc_v2);
    FIND(cuMemcpyHtoD_v2); FIND(cuStreamCreate); FIND(cuStreamBeginCapture_v2); FIND(cuStreamEndCapture);
    FIND(cuGraphInstantiateWithFlags); FIND(cuGraphLaunch);
    return 1;
}

static int start(void) {
    void *module;
    int device, status;
    if (!look_up()) return -1;
    if ((status = cuInit(0)) || (status = cuDeviceGet(&device, 0)) ||
        (status = cuDevicePrimaryCtxRetain(&context, device)) || (status = cuCtxSetCurrent(context)) ||
        (status = cuModuleLoadData(&module, ptx)) ||
        (status = cuModuleGetFunction(&kernel, module, "shim_test_kernel")) ||
        (status = cuMemAlloc_v2(&device_memory, sizeof host_memory)) || (status = cuStreamCreate(&stream, 0)))
        return status;
    return 0;
}

static int launch_in(void *queue, long count) {
    for (long i = 0; i < count; i++) {
        int status = cuLaunchKernel(kernel, 3, 2, 1, 32, 4, 1, 64, queue, 0, 0);
        if (status) return status;
    }
    return 0;
}

static int launch(long count) {
    return launch_in(0, count);
}

static int make_graph(long count) {
    void *graph;
    const int thread_local_mode = 1;
    int status;
    if (graph_count == 64) return -1;
    if ((status = cuStreamBeginCapture_v2(stream, thread_local_mode)) || (status = launch_in(stream, count)) ||
        (status = cuStreamEndCapture(stream, &graph)) ||
        (status = cuGraphInstantiateWithFlags(&graphs[graph_count], graph, 0)))
        return status;
    graph_count++;
    return 0;
}

static int replay(long index, long count) {
    int status = index < graph_count ? 0 : -1;
    for (long i = 0; i < count && !status; i++) status = cuGraphLaunch(graphs[index], stream);
    return status;
}

static void *launching_thread(void *count) {
    int status = cuCtxSetCurrent(context);
    return (void *)(long)(status ? status : launch((long)count));
}

static int launch_in_threads(long threads, long count) {
    pthread_t *ids = calloc((size_t)threads, sizeof *ids);
    pthread_attr_t attributes;
    int status = 0;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 256 * 1024);
    for (long i = 0; i < threads; i++)
        if (pthread_create(&ids[i], &attributes, launching_thread, (void *)count)) return -1;
    for (long i = 0; i < threads; i++) {
        void *outcome;
        pthread_join(ids[i], &outcome);
        if (outcome) status = (int)(long)outcome;
    }
    free(ids);
    return status;
}

static int load(const char *path) {
    void *library = dlopen(path, RTLD_NOW);
    if (!library) return -1;
    int (*initialise)(void);
    *(void **)&initialise = dlsym(library, "InitializeInjection");
    if (initialise) initialise();
    return dlclose(library) || dlclose(library);
}

static void *in_cupti(const char *function) {
    void *cupti = dlopen("libcupti.so.12", RTLD_NOW);
    return cupti ? dlsym(cupti, function) : 0;
}

static void tell_cupti_time(void) {
    int (*cuptiGetTimestamp)(unsigned long long *) = 0;
    unsigned long long now_ns = 0;
    *(void **)&cuptiGetTimestamp = in_cupti("cuptiGetTimestamp");
    int status = cuptiGetTimestamp ? cuptiGetTimestamp(&now_ns) : -1;
    if (status) printf("failed %d\n", status);
    else printf("ok %llu\n", now_ns);
    fflush(stdout);
}

static int enable_kind(unsigned kind) {
    int (*cuptiActivityEnable)(unsigned);
    *(void **)&cuptiActivityEnable = in_cupti("cuptiActivityEnable");
    return cuptiActivityEnable ? cuptiActivityEnable(kind) : -1;
}

static int attribute(const char *function, unsigned number, size_t *value) {
    int (*get_or_set)(unsigned, size_t *, void *);
    size_t size = sizeof *value;
    *(void **)&get_or_set = in_cupti(function);
    return get_or_set ? get_or_set(number, &size, value) : -1;
}

static void give_buffer(unsigned char **buffer, size_t *size, size_t *records) {
    *size = 1 << 16;
    *records = 0;
    *buffer = aligned_alloc(8, *size);
}

static void take_buffer(void *of_context, unsigned stream, unsigned char *buffer, size_t size, size_t valid) {
    (void)of_context, (void)stream, (void)size, (void)valid;
    free(buffer);
}

static int profile(long count) {
    int (*cuptiActivityRegisterCallbacks)(void *, void *), (*cuptiActivityEnable)(unsigned);
    int (*cuptiActivityDisable)(unsigned), (*cuptiActivityFlushAll)(unsigned), status;
    *(void **)&cuptiActivityRegisterCallbacks = in_cupti("cuptiActivityRegisterCallbacks");
    *(void **)&cuptiActivityEnable = in_cupti("cuptiActivityEnable");
    *(void **)&cuptiActivityDisable = in_cupti("cuptiActivityDisable");
    *(void **)&cuptiActivityFlushAll = in_cupti("cuptiActivityFlushAll");
    const unsigned concurrent_kernel = 10, forced = 1;
    if ((status = cuptiActivityRegisterCallbacks((void *)give_buffer, (void *)take_buffer)) ||
        (status = cuptiActivityEnable(concurrent_kernel)) || (status = launch(count)) || (status = cuCtxSynchronize()) ||
        (status = cuptiActivityDisable(concurrent_kernel)))
        return status;
    return cuptiActivityFlushAll(forced);
}

static int reopened[64], reopened_count;

static int leads_to(int descriptor, const char *start) {
    char link[64], file[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, file, sizeof file - 1);
    if (length < 0) return 0;
    file[length] = 0;
    return !strncmp(file, start, strlen(start));
}

static int count_descriptors(void) {
    int count = 0;
    for (int descriptor = 3; descriptor < 1024; descriptor++) count += leads_to(descriptor, "/memfd:");
    return count;
}

static int reopen(const char *path) {
    for (int descriptor = 3; descriptor < 1024 && reopened_count < 64; descriptor++) {
        if (!leads_to(descriptor, "/memfd:")) continue;
        int file = open(path, O_RDWR);
        if (file < 0 || dup2(file, descriptor) < 0) return -1;
        close(file);
        reopened[reopened_count++] = descriptor;
    }
    return reopened_count == 2 ? 0 : -1;
}

static int check(const char *path) {
    for (int i = 0; i < reopened_count; i++)
        if (!leads_to(reopened[i], path)) return -1;
    return reopened_count == 2 ? 0 : -1;
}

static void answer(int status, long number) {
    if (status) printf("failed %d\n", status);
    else printf("ok %ld\n", number);
    fflush(stdout);
}

static void obey(char *line, char **argv);

static int in_child(pid_t child, char *commands, char **argv) {
    if (child < 0) return -1;
    if (child == 0) {
        char *rest = commands, *command;
        if (!freopen("/dev/null", "w", stdout)) _exit(1);
        while ((command = strsep(&rest, ";"))) obey(command, argv);
        exit(7);
    }
    int status;
    if (waitpid(child, &status, 0) != child) return -1;
    return WIFEXITED(status) && WEXITSTATUS(status) == 7 ? 0 : 1000 + status;
}

static void obey(char *line, char **argv) {
    long a = 0, b = 0;
    char text[4096];
    if (!strcmp(line, "init")) answer(start(), 0);
    else if (sscanf(line, "launch %ld", &a) == 1) answer(launch(a), a);
    else if (sscanf(line, "copy %ld %ld", &a, &b) == 2) {
        int status = 0;
        for (long i = 0; i < a && !status; i++) status = cuMemcpyHtoD_v2(device_memory, host_memory, (size_t)b);
        answer(status, a);
    } else if (!strcmp(line, "sync")) answer(cuCtxSynchronize(), 0);
    else if (sscanf(line, "graph %ld", &a) == 1) answer(make_graph(a), graph_count - 1);
    else if (sscanf(line, "replay %ld %ld", &a, &b) == 2) answer(replay(a, b), b);
    else if (!strcmp(line, "descriptors")) answer(0, count_descriptors());
    else if (sscanf(line, "threads %ld %ld", &a, &b) == 2) answer(launch_in_threads(a, b), a * b);
    else if (!strcmp(line, "cupti-time")) tell_cupti_time();
    else if (sscanf(line, "cupti-enable %ld", &a) == 1) answer(enable_kind((unsigned)a), 0);
    else if (sscanf(line, "profile %ld", &a) == 1) answer(profile(a), a);
    else if (sscanf(line, "cupti-attribute %ld", &a) == 1) {
        size_t value = 0;
        int status = attribute("cuptiActivityGetAttribute", (unsigned)a, &value);
        answer(status, (long)value);
    } else if (sscanf(line, "cupti-set %ld %ld", &a, &b) == 2) {
        size_t value = (size_t)b;
        answer(attribute("cuptiActivitySetAttribute", (unsigned)a, &value), 0);
    } else if (sscanf(line, "sleep %ld", &a) == 1) answer(usleep((useconds_t)a * 1000), 0);
    else if (sscanf(line, "load %4095s", text) == 1) answer(load(text), 0);
    else if (sscanf(line, "getenv %4095s", text) == 1) {
        const char *value = getenv(text);
        printf("ok %s\n", value ? value : "");
        fflush(stdout);
    } else if (sscanf(line, "reopen %4095s", text) == 1) answer(reopen(text), reopened_count);
    else if (sscanf(line, "check %4095s", text) == 1) {
        if (check(text)) exit(1);
        answer(0, 0);
    } else if (!strncmp(line, "fork ", 5)) answer(in_child(fork(), line + 5, argv), 0);
    else if (!strncmp(line, "clone ", 6))
        answer(in_child((pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0), line + 6, argv), 0);
    else if (!strcmp(line, "exec")) {
        answer(0, 0);
        execv("/proc/self/exe", argv);
        _exit(127);
    } else if (!strcmp(line, "abort")) kill(getpid(), SIGKILL);
    else if (!strcmp(line, "quit")) _exit(0);
    else answer(-2, 0);
}

int main(int argc, char **argv) {
    char line[8192];
    (void)argc;
    /* Unbuffered, so that exec leaves the next command to the next program. */
    setvbuf(stdin, NULL, _IONBF, 0);
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        obey(line, argv);
    }
    return 0;
}
