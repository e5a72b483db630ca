/*
 * Signal handlers on alternate stacks, in the middle of a probed function. Each round calls interrupted() 16 times; each call
 * raises a signal whose handler calls handled() twice. The alternate stack lies below the thread's stack in odd rounds, and
 * above the frames of interrupted() in even ones. By round: 16 and 32 entries, as many returns, nothing unwound.
 */
#include "rounds.h"

#include <signal.h>
#include <stdlib.h>

#define STACK 65536

static volatile uint64_t seen;

PROBED uint64_t handled(uint64_t number, uint64_t which) { return number * 17 + which; }

PROBED uint64_t interrupted(uint64_t number) {
    raise(SIGUSR1);
    return number + seen;
}

static void handler(int number) { seen = handled((uint64_t)number, 0) + handled((uint64_t)number, 1); }

static void *alternate[2];

static uint64_t round_of_signals(void) {
    static unsigned which;
    stack_t stack = {.ss_sp = alternate[which++ % 2], .ss_size = STACK};
    if (sigaltstack(&stack, NULL) != 0)
        abort();
    uint64_t sum = 0;
    for (uint64_t number = 0; number < 16; number++)
        sum = sum * 1099511628211u + interrupted(number);
    return sum;
}

int main(void) {
    static char below[STACK];
    char above[STACK];
    alternate[0] = below;
    alternate[1] = above;
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    sigaction(SIGUSR1, &action, NULL);
    return rounds(round_of_signals);
}
