// A process that maps what it is told to, and does things to it. It says "ready", and then one letter for each that it reads.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/prctl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char **files;
static int count;

static void *map(const char *path) {
    int file = open(path, O_RDWR);
    void *at = file < 0 ? MAP_FAILED : mmap(0, 1 << 16, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0);
    if (at == MAP_FAILED) perror(path), exit(2);
    close(file);
    return at;
}

// Maps and unmaps all files, for ever.
static void *change(void *unused) {
    for (;;)
        for (int i = 0; i < count; i++) munmap(map(files[i]), 1 << 16);
    return unused;
}

// Cuts all files to nothing and puts their content back, for ever.
static void *cut(void *unused) {
    for (int i = 0;; i = (i + 1) % count) {
        int file = open(files[i], O_RDWR);
        struct stat status;
        if (file < 0 || fstat(file, &status)) exit(3);
        char *content = malloc(status.st_size);
        if (pread(file, content, status.st_size, 0) != status.st_size) exit(4);
        for (int j = 0; j < 1000; j++)
            if (ftruncate(file, 0) || pwrite(file, content, status.st_size, 0) != status.st_size) exit(5);
        free(content), close(file);
    }
    return unused;
}

// As many mappings as Linux gives: every other page can be executed.
static void many(long pages) {
    int file = open("/proc/self/exe", O_RDONLY);
    for (long i = 0; i < pages; i++)
        if (mmap(0, 4096, i % 2 ? PROT_READ : PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0) == MAP_FAILED) exit(6);
}

// An environment of 1 TiB, as the process says.
static void environment(void) {
    uint64_t size = 1ul << 40;
    char *at = mmap(0, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) exit(7);
    struct prctl_mm_map mm = {0};
    // Fields of /proc/self/stat, by their numbers in proc(5).
    uint64_t field[53] = {0};
    char text[4096] = {0};
    int stat = open("/proc/self/stat", O_RDONLY);
    if (read(stat, text, sizeof text - 1) <= 0) exit(8);
    char *next = strrchr(text, ')') + 4;
    for (int i = 4; i < 53; i++) field[i] = strtoull(next, &next, 10);
    mm.start_code = field[26], mm.end_code = field[27], mm.start_stack = field[28];
    mm.start_data = field[45], mm.end_data = field[46], mm.start_brk = field[47], mm.brk = (uint64_t)sbrk(0);
    mm.arg_start = field[48], mm.arg_end = field[49];
    mm.env_start = (uint64_t)at, mm.env_end = (uint64_t)at + size, mm.exe_fd = -1;
    if (prctl(PR_SET_MM, PR_SET_MM_MAP, &mm, sizeof mm, 0)) perror("PR_SET_MM_MAP"), exit(9);
}

int main(int number, char **arguments) {
    pthread_t thread;
    files = arguments + 2, count = number - 2;
    for (int i = 0; i < count; i++) map(files[i]);
    if (!strcmp(arguments[1], "change")) pthread_create(&thread, 0, change, 0);
    if (!strcmp(arguments[1], "cut")) pthread_create(&thread, 0, cut, 0);
    if (!strcmp(arguments[1], "many")) many(60000);
    if (!strcmp(arguments[1], "environment")) environment();
    puts("ready"), fflush(stdout);
    for (char letter; read(0, &letter, 1) == 1;) putchar(letter), fflush(stdout);
    return 0;
}
