/*
 * How a target talks to its test: it says "ready"; for each line on stdin it works one round and answers with a line, the
 * checksum of what it computed. It ends with its stdin.
 */
#ifndef ROUNDS_H
#define ROUNDS_H

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>

/* A function to be probed: whole, under its own name. */
#ifdef __cplusplus
#define PROBED extern "C" __attribute__((noinline, noclone, visibility("default")))
#else
#define PROBED __attribute__((noinline, noclone, visibility("default")))
#endif

static inline int rounds(uint64_t (*round)(void)) {
    puts("ready");
    fflush(stdout);
    for (char line[16]; fgets(line, sizeof line, stdin);) {
        printf("%016" PRIx64 "\n", round());
        fflush(stdout);
    }
    return 0;
}

#endif
