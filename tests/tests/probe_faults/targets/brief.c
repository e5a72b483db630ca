/* A process that is gone at once: calls brief() 3 times. */
#include "rounds.h"

PROBED uint64_t brief(uint64_t number) { return number + 1; }

int main(void) {
    uint64_t sum = 0;
    for (uint64_t number = 0; number < 3; number++)
        sum += brief(number);
    return sum == 6 ? 0 : 1;
}
