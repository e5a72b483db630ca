/*
 * longjmp out of probed functions. Each round enters climb() 9 times for each of 16 tries: 8 of the tries jump from depth 0
 * past all frames, 8 return. By round: 144 entries, 72 returns, 72 frames unwound.
 */
#include "rounds.h"

#include <setjmp.h>

static jmp_buf above;

PROBED uint64_t climb(uint64_t depth, uint64_t attempt) {
    if (depth == 0) {
        if (attempt % 2 == 1)
            longjmp(above, 1);
        return attempt;
    }
    return climb(depth - 1, attempt) * 31 + depth;
}

static uint64_t round_of_tries(void) {
    uint64_t volatile sum = 0, attempt = 0;
    for (; attempt < 16; attempt++) {
        if (setjmp(above) == 0)
            sum = sum * 1099511628211u + climb(8, attempt);
        else
            sum = sum * 1099511628211u + 0xdead;
    }
    return sum;
}

int main(void) { return rounds(round_of_tries); }
