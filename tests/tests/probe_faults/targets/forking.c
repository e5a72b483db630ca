/*
 * Children of a probed process. Each round calls mine() 10 times; a forked child calls it 100 times; a child of vfork calls it
 * once and executes this program again, which calls it 1000 times. By round: 10 entries in this process.
 */
#include "rounds.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

PROBED uint64_t mine(uint64_t number) { return number * 2654435761u; }

static uint64_t many(uint64_t count) {
    uint64_t sum = 0;
    for (uint64_t number = 0; number < count; number++)
        sum = sum * 31 + mine(number);
    return sum;
}

/* What a child ended with, -1 if by a signal. */
static int ended(pid_t child) {
    int status;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static uint64_t round_of_children(void) {
    uint64_t volatile sum = many(10); /* in memory, out of the reach of the child of vfork */
    pid_t forked = fork();
    if (forked == 0)
        _exit((int)(many(100) & 0x7f));
    sum = sum * 257 + (uint64_t)ended(forked);
    pid_t executed = vfork();
    if (executed == 0) {
        mine(1);
        execl("/proc/self/exe", "forking", "child", (char *)NULL);
        _exit(127);
    }
    return sum * 257 + (uint64_t)ended(executed);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "child") == 0)
        return (int)(many(1000) & 0x7f);
    return rounds(round_of_children);
}
