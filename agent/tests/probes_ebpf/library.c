/* A library to be probed. */
__attribute__((noipa, used)) long probed(long n) {
    return 3 * n + 1;
}
