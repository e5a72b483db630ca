/*
 * A program that calls its functions a known number of times.
 *
 * Enters: THREADS CALLS DEPTH as arguments; a line on stdin for each run. Leaves: a line "ready", then for each run a line
 * with a checksum over all that its functions returned, the same with probes and without. It ends with its stdin.
 *
 * Each thread calls leaf() CALLS times and nested() once for each depth from 0 to DEPTH: 1 + 2 + … + (DEPTH + 1) calls.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define PROBED __attribute__((noinline, noclone, visibility("default")))

struct thing {
    uint64_t value;
    const char *name;
    const int64_t *shape;
    uint64_t dims;
    const struct thing *next;
};

PROBED uint64_t leaf(uint64_t thread, uint64_t call, const struct thing *thing) {
    return thread * 1000003 + call * 7 + thing->value;
}

PROBED uint64_t nested(uint64_t thread, uint64_t depth) {
    if (depth == 0)
        return thread;
    uint64_t below = nested(thread, depth - 1);
    return below * 31 + depth;
}

static uint64_t threads, calls, depth;

static void *work(void *argument) {
    uint64_t thread = (uint64_t)(uintptr_t)argument, sum = 0;
    const int64_t shape[] = {(int64_t)thread + 1, 128, -1};
    const struct thing last = {.value = 4242};
    struct thing thing = {.name = "key_cache", .shape = shape, .dims = 3, .next = &last};
    for (uint64_t call = 0; call < calls; call++) {
        thing.value = call * call;
        sum = sum * 1099511628211u + leaf(thread, call, &thing);
    }
    for (uint64_t at = 0; at <= depth; at++)
        sum = sum * 1099511628211u + nested(thread, at);
    return (void *)(uintptr_t)sum;
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: %s THREADS CALLS DEPTH\n", argv[0]);
        return 2;
    }
    threads = strtoull(argv[1], NULL, 10);
    calls = strtoull(argv[2], NULL, 10);
    depth = strtoull(argv[3], NULL, 10);
    pthread_t *running = calloc(threads, sizeof *running);
    puts("ready");
    fflush(stdout);
    for (char line[16]; fgets(line, sizeof line, stdin);) {
        uint64_t checksum = 0;
        for (uint64_t thread = 0; thread < threads; thread++)
            pthread_create(&running[thread], NULL, work, (void *)(uintptr_t)thread);
        for (uint64_t thread = 0; thread < threads; thread++) {
            void *sum;
            pthread_join(running[thread], &sum);
            checksum ^= (uint64_t)(uintptr_t)sum;
        }
        printf("%016" PRIx64 "\n", checksum);
        fflush(stdout);
    }
    free(running);
    return 0;
}
