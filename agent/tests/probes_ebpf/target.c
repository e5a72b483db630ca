/* A process to be probed. In: the name of what it is to do, and a line on stdin for when. Out: a line when it is done. */
#include <stdio.h>
#include <string.h>

#define PROBED __attribute__((noinline, noclone, noipa))

PROBED long six(long a, long b, long c, long d, long e, long f) {
    return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f;
}

static void call_six(void) {
    long sum = 0;
    for (long i = 0; i < 1000; i++) {
        sum += six(i, -i, 3, 4, 5, 6);
    }
    printf("%ld\n", sum);
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*run)(void);
    } scenarios[] = {{"six", call_six}};
    char line[16];

    puts("ready");
    fflush(stdout);
    for (size_t i = 0; fgets(line, sizeof line, stdin) && i < 1; i++) {
        for (size_t s = 0; s < sizeof scenarios / sizeof *scenarios; s++) {
            if (argc == 2 && strcmp(argv[1], scenarios[s].name) == 0) {
                scenarios[s].run();
            }
        }
        puts("done");
        fflush(stdout);
        i = 0;
    }
    return 0;
}
