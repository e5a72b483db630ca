/* The process that is probed. In: lines "FUNCTION CALLS WORK". Out: for each, the nanoseconds of a call, as far as this
 * thread was running: the kernel's work for a probe is this thread's, that of other processes is not. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#define PROBED __attribute__((noinline, noclone, noipa, used))

static volatile long sink;

PROBED static long inner(long n) { return n + 1; }

/* Begins as most functions of weight do: it saves registers. */
PROBED long framed(long a, long b, long c, long d, long e, long f) {
    long first = inner(a + b);
    return first + inner(c + d) + inner(e + f) + a + c + e;
}

/* Begins with another instruction. */
PROBED long leaf(long a, long b, long c, long d, long e, long f) { return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f; }

int main(void) {
    char function[16];
    long calls, work;
    for (puts("ready"), fflush(stdout); scanf("%15s %ld %ld", function, &calls, &work) == 3; fflush(stdout)) {
        long (*call)(long, long, long, long, long, long) = strcmp(function, "leaf") ? framed : leaf;
        struct timespec from, to;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
        for (long i = 0; i < calls; i++) {
            sink = call(i, 2, 3, 4, 5, 6);
            for (long w = 0; w < work; w++) {
                sink = w;
            }
        }
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
        printf("%.1f\n", ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) / (double)calls);
    }
    return 0;
}
