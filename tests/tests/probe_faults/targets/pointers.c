/*
 * Pointers that lead nowhere. Each round calls take(pointer, case) once for each case below, in this order; the function
 * looks at none of them, so that only a probe does.
 */
#include "rounds.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

PROBED uint64_t take(const void *pointer, uint64_t number) { return (uint64_t)(uintptr_t)pointer * 0 + number; }

static char *page(int protection) {
    char *made = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (made == MAP_FAILED)
        abort();
    return made;
}

/* The first of two pages, filled with 'a'; nothing can be read from the second one. */
static char *before_a_hole(size_t size) {
    char *pages = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED || mprotect(pages + size, size, PROT_NONE) != 0)
        abort();
    memset(pages, 'a', size);
    return pages;
}

static const void *cases[10];

static uint64_t round_of_cases(void) {
    uint64_t sum = 0;
    for (uint64_t number = 0; number < sizeof cases / sizeof *cases; number++)
        sum = sum * 1099511628211u + take(cases[number], number);
    return sum;
}

int main(void) {
    static const uint64_t plain[8] = {0x6867666564636261, 0}; /* "abcdefgh" */
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    char *hole = before_a_hole(size);
    char *unmapped = page(PROT_READ);
    munmap(unmapped, size);
    cases[0] = plain;                             /* as it should be */
    cases[1] = NULL;                              /* no object */
    cases[2] = page(PROT_NONE);                   /* not readable */
    cases[3] = page(PROT_READ);                   /* never touched: not present */
    cases[4] = unmapped;                          /* not mapped */
    cases[5] = hole + size - 4;                   /* begins in one page and ends in none */
    cases[6] = hole + 1;                          /* not aligned, readable */
    cases[7] = hole + size - 16;                  /* a string that does not end before the hole */
    cases[8] = (void *)(uintptr_t)0x8000000000000001; /* not canonical */
    cases[9] = (void *)(uintptr_t)0xffffffff81000000; /* Linux's own */
    return rounds(round_of_cases);
}
