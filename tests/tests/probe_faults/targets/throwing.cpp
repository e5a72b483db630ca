// Exceptions out of probed functions. Each round enters climb() 9 times for each of 16 tries: 8 of the tries throw at depth 0
// and are caught above all frames, 8 return. By round: 144 entries, 72 returns, 72 frames unwound.
#include "rounds.h"

#include <stdexcept>

PROBED uint64_t climb(uint64_t depth, uint64_t attempt) {
    if (depth == 0) {
        if (attempt % 2 == 1)
            throw std::runtime_error("from the depth");
        return attempt;
    }
    return climb(depth - 1, attempt) * 31 + depth;
}

static uint64_t round_of_tries() {
    uint64_t sum = 0;
    for (uint64_t attempt = 0; attempt < 16; attempt++) {
        try {
            sum = sum * 1099511628211u + climb(8, attempt);
        } catch (const std::exception &) {
            sum = sum * 1099511628211u + 0xdead;
        }
    }
    return sum;
}

int main() { return rounds(round_of_tries); }
