/* A process to be probed. In: what it is to do, and a line on stdin for each time it is to do it. Out: what it computed,
 * and a line "done" each time. It computes the same with and without probes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define PROBED __attribute__((noinline, noclone, noipa, used))
enum { CALLS = 1000, THREADS = 64 };

/* Numbers. */

PROBED long six(long a, long b, long c, long d, long e, long f) {
    return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f;
}

PROBED long ten(long a, long b, long c, long d, long e, long f, long g, long h, long i, long j) {
    return a + b + c + d + e + f + 7 * g + 8 * h + 9 * i + 10 * j;
}

static void run_six(void) {
    long sum = 0;
    for (long i = 0; i < CALLS; i++) {
        sum += six(i, -i, i << 8, 0x1122334455667788, 5, 6);
    }
    printf("%ld\n", sum);
}

static void run_ten(void) {
    long sum = 0;
    for (long i = 0; i < CALLS; i++) {
        sum += ten(1, 2, 3, 4, 5, 6, i, i + 1, i + 2, i + 3);
    }
    printf("%ld\n", sum);
}

/* A function whose two return instructions have names. */

long two_returns(long n);
#if defined(__x86_64__)
__asm__(".text\n.globl two_returns, first_return, second_return\n.type two_returns, @function\n"
        "two_returns:\n  push %rbx\n  mov %rdi, %rax\n  test $1, %dil\n  jz 1f\n  add $100, %rax\n  pop %rbx\n"
        "first_return:\n  ret\n"
        "1: neg %rax\n  pop %rbx\n"
        "second_return:\n  ret\n.size two_returns, . - two_returns\n");
#elif defined(__aarch64__)
__asm__(".text\n.globl two_returns, first_return, second_return\n.type two_returns, %function\n"
        "two_returns:\n  tbz x0, #0, 1f\n  add x0, x0, #100\n"
        "first_return:\n  ret\n"
        "1: neg x0, x0\n"
        "second_return:\n  ret\n.size two_returns, . - two_returns\n");
#endif

static void run_returns(void) {
    long sum = 0;
    for (long i = 0; i < CALLS; i++) {
        sum += two_returns(i);
    }
    printf("%ld\n", sum);
}

/* Memory. */

struct link {
    struct link *next;
    uint8_t small;
    uint16_t middle;
    uint32_t large;
    uint64_t whole;
};

struct dims {
    int64_t rank;
    int32_t sizes[12];
};

PROBED long memory(struct link *chain, struct dims *dims, const char *text, long length, void *unreadable) {
    return (long)chain->whole + dims->rank + text[0] + length + (unreadable != 0);
}

static void run_memory(void) {
    static struct link links[7];
    static struct dims dims;
    static char text[200];
    for (int i = 0; i < 7; i++) {
        links[i] = (struct link){&links[(i + 1) % 7], 0xf0 + i, 0xfff0 + i, 0xfffffff0 + i, -16 + i};
    }
    long sum = 0;
    for (long i = 0; i < CALLS; i++) {
        dims.rank = i % 12;
        for (int d = 0; d < 12; d++) {
            dims.sizes[d] = (int32_t)(1000 * i + d);
        }
        long length = i % 100;
        memset(text, 'a' + (int)(i % 26), (size_t)length);
        text[length] = 0;
        sum += memory(&links[i % 7], &dims, text, length, (void *)(i % 2 ? 8L : 0L));
    }
    printf("%ld\n", sum);
}

/* Threads that call themselves. */

PROBED long nest(long depth, long of) {
    return depth == 0 ? of : nest(depth - 1, of) + nest(depth / 2 - 1 > 0 ? depth / 2 - 1 : 0, of) + depth;
}

static void *nest_often(void *of) {
    long sum = 0;
    for (long i = 0; i < 4; i++) {
        sum += nest(5, (long)of);
    }
    return (void *)sum;
}

static void run_nest(void) {
    pthread_t threads[THREADS];
    long sum = 0;
    for (long t = 0; t < THREADS; t++) {
        if (pthread_create(&threads[t], 0, nest_often, (void *)t)) {
            abort();
        }
    }
    for (long t = 0; t < THREADS; t++) {
        void *one;
        pthread_join(threads[t], &one);
        sum += (long)one;
    }
    printf("%ld\n", sum);
}

/* Libraries. */

static const char *library;

static void run_dlopen(void) {
    void *handle = dlopen(library, RTLD_NOW);
    if (!handle) {
        puts(dlerror());
        exit(1);
    }
    long (*probed)(long) = (long (*)(long))dlsym(handle, "probed");
    long sum = 0;
    for (long i = 0; i < CALLS; i++) {
        sum += probed(i);
    }
    printf("%ld\n", sum);
}

static void as_memfd(void) {
    static char path[64];
    int fd = memfd_create("library", 0);
    FILE *from = fopen(library, "r");
    char block[4096];
    size_t bytes;
    while ((bytes = fread(block, 1, sizeof block, from)) > 0) {
        if (write(fd, block, bytes) != (ssize_t)bytes) {
            abort();
        }
    }
    fclose(from);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    library = path;
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*run)(void);
    } scenarios[] = {
        {"six", run_six},   {"ten", run_ten},       {"returns", run_returns}, {"memory", run_memory},
        {"nest", run_nest}, {"dlopen", run_dlopen}, {"memfd", run_dlopen},
    };
    char line[4096];

    prctl(PR_SET_PDEATHSIG, 9);
    library = argc > 2 ? argv[2] : 0;
    if (strcmp(argv[1], "memfd") == 0) {
        as_memfd();
    }
    if (library) {
        run_dlopen();
    }
    for (puts("done"), fflush(stdout); fgets(line, sizeof line, stdin); puts("done"), fflush(stdout)) {
        if (strcmp(argv[1], "late") == 0) {
            line[strcspn(line, "\n")] = 0;
            library = line;
            run_dlopen();
        }
        for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
            if (strcmp(argv[1], scenarios[i].name) == 0) {
                scenarios[i].run();
            }
        }
    }
    return 0;
}
