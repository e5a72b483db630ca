/*
 * What a program asks of libcuda: an auditing library (rtld-audit(7)) for programs that find the driver's functions with
 * dlsym, as cudarc's do.
 *
 * In: LD_AUDIT names this library, CUDA_CALLS a file. Out: in that file a line "FUNCTION BYTES STATUS" for each call
 * that makes work or memory, and "cuLaunchKernel NAME STATUS" for a launch. A function of that kind which is not known
 * here leaves "unknown FUNCTION". It knows nothing of CUPTI or the agent, and passes every call on.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int status;
typedef unsigned long long address;
typedef void *handle;

static void line(const char *function, const char *what, status result) {
    static int file = -1;
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    char text[256];
    int length = snprintf(text, sizeof text, "%s %s %d\n", function, what, result);
    pthread_mutex_lock(&lock);
    if (file < 0 && (file = open(getenv("CUDA_CALLS"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600)) < 0)
        _exit(99);
    if (write(file, text, (size_t)length) != length)
        _exit(99);
    pthread_mutex_unlock(&lock);
}

static void sized(const char *function, size_t bytes, status result) {
    char what[32];
    snprintf(what, sizeof what, "%zu", bytes);
    line(function, what, result);
}

/* A function with its address in the driver, and a stand-in that calls it and writes a line. */
#define SIZED(name, parameters, arguments, bytes)                                                                      \
    static status (*real_##name) parameters;                                                                           \
    static status name parameters {                                                                                    \
        status result = real_##name arguments;                                                                         \
        sized(#name, bytes, result);                                                                                   \
        return result;                                                                                                 \
    }

SIZED(cuMemAllocAsync, (address * to, size_t n, handle s), (to, n, s), n)
SIZED(cuMemAlloc_v2, (address * to, size_t n), (to, n), n)
SIZED(cuMemFreeAsync, (address at, handle s), (at, s), 0)
SIZED(cuMemFree_v2, (address at), (at), 0)
SIZED(cuMemsetD8Async, (address at, unsigned char value, size_t n, handle s), (at, value, n, s), n)
SIZED(cuMemcpyHtoDAsync_v2, (address to, const void *from, size_t n, handle s), (to, from, n, s), n)
SIZED(cuMemcpyDtoHAsync_v2, (void *to, address from, size_t n, handle s), (to, from, n, s), n)
SIZED(cuMemcpyDtoDAsync_v2, (address to, address from, size_t n, handle s), (to, from, n, s), n)
SIZED(cuMemcpyPeerAsync, (address to, handle to_context, address from, handle from_context, size_t n, handle s),
      (to, to_context, from, from_context, n, s), n)

/* Names of functions; a handle may come again once its module is unloaded, and the newest holds. */
static struct {
    handle function;
    char name[64];
} named[1024];
static unsigned names;
static pthread_mutex_t naming = PTHREAD_MUTEX_INITIALIZER;

static status (*real_cuModuleGetFunction)(handle *, handle, const char *);
static status cuModuleGetFunction(handle *function, handle module, const char *name) {
    status result = real_cuModuleGetFunction(function, module, name);
    if (result == 0) {
        pthread_mutex_lock(&naming);
        if (names == sizeof named / sizeof *named)
            _exit(99);
        named[names].function = *function;
        snprintf(named[names++].name, sizeof named->name, "%s", name);
        pthread_mutex_unlock(&naming);
    }
    return result;
}

static status (*real_cuLaunchKernel)(handle, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                                     handle, void **, void **);
static status cuLaunchKernel(handle function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                             unsigned bz, unsigned shared, handle stream, void **parameters, void **extra) {
    status result = real_cuLaunchKernel(function, gx, gy, gz, bx, by, bz, shared, stream, parameters, extra);
    char name[64] = "?";
    pthread_mutex_lock(&naming);
    for (unsigned at = 0; at < names; at++)
        if (named[at].function == function)
            memcpy(name, named[at].name, sizeof name);
    pthread_mutex_unlock(&naming);
    line("cuLaunchKernel", name, result);
    return result;
}

static const struct {
    const char *name;
    void **real;
    void *stand_in;
} known[] = {
#define KNOWN(name) {#name, (void **)&real_##name, (void *)name}
    KNOWN(cuMemAllocAsync),      KNOWN(cuMemAlloc_v2),        KNOWN(cuMemFreeAsync),       KNOWN(cuMemFree_v2),
    KNOWN(cuMemsetD8Async),      KNOWN(cuMemcpyHtoDAsync_v2), KNOWN(cuMemcpyDtoHAsync_v2), KNOWN(cuMemcpyDtoDAsync_v2),
    KNOWN(cuMemcpyPeerAsync),    KNOWN(cuModuleGetFunction),  KNOWN(cuLaunchKernel),
};

unsigned la_version(unsigned version) { return version < LAV_CURRENT ? version : LAV_CURRENT; }

unsigned la_objopen(struct link_map *map, Lmid_t space, uintptr_t *cookie) {
    (void)map, (void)space, (void)cookie;
    return LA_FLG_BINDTO | LA_FLG_BINDFROM;
}

uintptr_t la_symbind64(Elf64_Sym *symbol, unsigned index, uintptr_t *from, uintptr_t *to, unsigned *flags,
                       const char *name) {
    static const char *const work[] = {"cuMemAlloc", "cuMemHostAlloc", "cuMemFree", "cuMemcpy",
                                       "cuMemset",   "cuLaunch",       "cuGraph",   "cuMemPrefetch"};
    (void)index, (void)from, (void)to;
    if (!(*flags & LA_SYMB_DLSYM))
        return symbol->st_value;
    for (size_t at = 0; at < sizeof known / sizeof *known; at++)
        if (strcmp(name, known[at].name) == 0) {
            *known[at].real = (void *)symbol->st_value;
            return (uintptr_t)known[at].stand_in;
        }
    for (size_t at = 0; at < sizeof work / sizeof *work; at++)
        if (strncmp(name, work[at], strlen(work[at])) == 0)
            line("unknown", name, 0);
    return symbol->st_value;
}
