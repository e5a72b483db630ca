/*
 * Tensors that lie. Each round calls look(tensor, case) once for each case below, in this order; the function looks at the
 * number only, so that only a probe is lied to.
 */
#include "rounds.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct tensor {
    int64_t rank;
    const int64_t *sizes;
    const char *name;
    const struct tensor *next;
    const void *data;
};

PROBED uint64_t look(const struct tensor *tensor, uint64_t number) {
    return (uint64_t)(uintptr_t)tensor * 0 + number * 5;
}

enum { CASES = 11 };
static const struct tensor *cases[CASES];

static uint64_t round_of_cases(void) {
    uint64_t sum = 0;
    for (uint64_t number = 0; number < CASES; number++)
        sum = sum * 1099511628211u + look(cases[number], number);
    return sum;
}

int main(void) {
    static const int64_t honest[3] = {2, 3, 4}, negative[3] = {2, -3, 4};
    static const int64_t huge[8] = {INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, 1, 1, 1, 1};
    static char unaligned[1 + sizeof honest], endless[8192];
    memcpy(unaligned + 1, honest, sizeof honest);
    memset(endless, 'x', sizeof endless);
    static struct tensor made[CASES];
    for (int number = 0; number < CASES; number++) {
        made[number] = (struct tensor){3, honest, "tensor", &made[number], &made[number]}; /* next: a cycle */
        cases[number] = &made[number];
    }
    made[1].rank = (int64_t)1 << 31;
    made[2].rank = -1;
    made[3].rank = INT64_MIN;
    made[4].sizes = negative;
    made[5].rank = 8;
    made[5].sizes = huge;
    made[6].sizes = NULL;
    made[7].sizes = (const int64_t *)(const void *)(unaligned + 1);
    made[8].name = endless;
    made[9].next = (const struct tensor *)(uintptr_t)0x5;
    long size = sysconf(_SC_PAGESIZE);
    cases[10] = mmap(NULL, (size_t)size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return cases[10] == MAP_FAILED ? 1 : rounds(round_of_cases);
}
