/*
 * A process that does everything at once, and notices whatever happens to it. It uses no CUDA.
 *
 * Enters: names of what its threads shall do, as arguments (see main). Leaves: "ready" and its pid on stdout; at the end of
 * stdin one line of JSON: how much was done, what came out wrong, how often a call ended with EINTR. Refuses: nothing.
 *
 * A library that is loaded into it may call `injected`, which counts.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static atomic_int injections, stopping;
static atomic_ulong done, wrong, interrupted, handled;

void injected(void) { atomic_fetch_add(&injections, 1); }

static void complain(const char *what, long value) {
    atomic_fetch_add(&wrong, 1);
    fprintf(stderr, "wrong: %s: %ld (errno %d)\n", what, value, errno);
}

#define EXPECT(what, condition, value) do { if (condition) atomic_fetch_add(&done, 1); else complain(what, value); } while (0)

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Memory of all sizes, each block filled and looked at again. */
static void *allocate(void *unused) {
    unsigned seed = 7;
    (void)unused;
    while (!stopping) {
        size_t size = 16u + (unsigned)rand_r(&seed) % 200000u;
        unsigned char *block = malloc(size), value = (unsigned char)rand_r(&seed);
        memset(block, value, size);
        EXPECT("memory", block[0] == value && block[size - 1] == value, (long)size);
        free(block);
    }
    return 0;
}

/* The dynamic linker's lock, held most of the time; without a pause, who waits for it might wait for seconds. */
static void *load(void *unused) {
    (void)unused;
    while (!stopping) {
        void *library = dlopen("libresolv.so.2", RTLD_NOW);
        EXPECT("dlopen", library && dlsym(library, "res_query") && !dlclose(library), 0);
        usleep(100);
    }
    return 0;
}

static void *fork_children(void *unused) {
    (void)unused;
    while (!stopping) {
        int status = -1;
        pid_t child = fork();
        if (child == 0) {
            free(malloc(1000));
            _exit(42);
        }
        pid_t ended = waitpid(child, &status, 0);
        EXPECT("fork", ended == child && WEXITSTATUS(status) == 42, ended);
        usleep(500);
    }
    return 0;
}

static void *vfork_children(void *unused) {
    (void)unused;
    while (!stopping) {
        int status = -1;
        pid_t child = vfork();
        if (child == 0) {
            execl("/bin/true", "true", (char *)0);
            _exit(1);
        }
        pid_t ended = waitpid(child, &status, 0);
        EXPECT("vfork", ended == child && status == 0, status);
        usleep(500);
    }
    return 0;
}

static void on_signal(int number) { (void)number; atomic_fetch_add(&handled, 1); }

/* Signals for the whole process, which Linux gives to whichever thread it likes; all with SA_RESTART. */
static void *storm(void *unused) {
    (void)unused;
    while (!stopping) {
        kill(getpid(), SIGUSR1);
        kill(getpid(), SIGUSR2);
        usleep(200);
    }
    return 0;
}

/* Numbers through a pipe, each of which must arrive, once, in order. */
static int numbers[2];
static void *write_numbers(void *unused) {
    (void)unused;
    for (uint64_t i = 0; !stopping; i++) {
        if (write(numbers[1], &i, sizeof i) != sizeof i) complain("write", (long)i);
        usleep(300);
    }
    close(numbers[1]);
    return 0;
}
static void *read_numbers(void *unused) {
    uint64_t expected = 0, number;
    ssize_t length;
    (void)unused;
    while ((length = read(numbers[0], &number, sizeof number))) {
        if (length < 0 && errno == EINTR) { interrupted++; continue; }
        EXPECT("read", length == sizeof number && number == expected, (long)number);
        expected++;
    }
    return 0;
}

/* Sleeps of a known length. */
static void *sleep_often(void *unused) {
    (void)unused;
    while (!stopping) {
        uint64_t start = now_ns(), took;
        struct timespec wanted = {0, 20000000};
        int result = nanosleep(&wanted, 0);
        took = now_ns() - start;
        if (result && errno == EINTR) { interrupted++; continue; }
        EXPECT("nanosleep", !result && took >= 20000000, (long)took);
    }
    return 0;
}

/* Time-outs of poll, and of a futex. */
static void *time_out(void *unused) {
    static int word;
    (void)unused;
    while (!stopping) {
        uint64_t start = now_ns(), took;
        int result = poll(0, 0, 15);
        took = now_ns() - start;
        if (result < 0 && errno == EINTR) interrupted++;
        else EXPECT("poll", !result && took >= 15000000, result);
        struct timespec wanted = {0, 10000000};
        start = now_ns();
        long outcome = syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &wanted, 0, 0);
        took = now_ns() - start;
        if (outcome < 0 && errno == EINTR) interrupted++;
        else EXPECT("futex", outcome < 0 && errno == ETIMEDOUT && took >= 10000000, errno);
    }
    return 0;
}

/* Events through epoll, each of which must arrive. */
static int events[2];
static void *send_events(void *unused) {
    (void)unused;
    while (!stopping) {
        if (write(events[1], "x", 1) != 1) complain("event", errno);
        usleep(2000);
    }
    close(events[1]);
    return 0;
}
static void *await_events(void *unused) {
    int epoll = epoll_create1(EPOLL_CLOEXEC), ended = 0;
    struct epoll_event event = {.events = EPOLLIN};
    (void)unused;
    epoll_ctl(epoll, EPOLL_CTL_ADD, events[0], &event);
    while (!ended) {
        int count = epoll_wait(epoll, &event, 1, -1);
        char byte;
        if (count < 0 && errno == EINTR) { interrupted++; continue; }
        ended = read(events[0], &byte, 1) == 0;
        EXPECT("epoll_wait", count == 1 && (ended || byte == 'x'), count);
    }
    return 0;
}

/* A condition that is signalled now and then; spurious ends are allowed, lost ones are not. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static long wished, seen;
static void *signal_condition(void *unused) {
    (void)unused;
    while (!stopping) {
        usleep(3000);
        pthread_mutex_lock(&mutex);
        wished++;
        pthread_cond_signal(&condition);
        pthread_mutex_unlock(&mutex);
    }
    pthread_mutex_lock(&mutex);
    wished = -1;
    pthread_cond_signal(&condition);
    pthread_mutex_unlock(&mutex);
    return 0;
}
static void *await_condition(void *unused) {
    (void)unused;
    pthread_mutex_lock(&mutex);
    while (wished >= 0) {
        while (wished == seen) pthread_cond_wait(&condition, &mutex);
        EXPECT("condition", wished < 0 || wished > seen, wished);
        seen = wished;
    }
    pthread_mutex_unlock(&mutex);
    return 0;
}

/* io_uring_enter that waits for a completion; a bare ring, without liburing. */
static void *wait_for_ring(void *unused) {
    unsigned char parameters[120] = {0};
    long ring = syscall(425 /* io_uring_setup */, 4, parameters);
    (void)unused;
    if (ring < 0) { fprintf(stderr, "no io_uring: %s\n", strerror(errno)); return 0; }
    /* Nothing is ever submitted, so only a signal or the end of the process ends it. */
    while (!stopping) {
        long outcome = syscall(426 /* io_uring_enter */, ring, 0, 1, 1 /* GETEVENTS */, 0, 0);
        if (outcome < 0 && errno == EINTR) { interrupted++; continue; }
        complain("io_uring_enter", outcome);
    }
    return 0;
}

#if defined(__x86_64__)
/* Every register with a known value while the thread waits in read; whatever differs afterwards is told. */
static void *keep_registers(void *unused) {
    static int pipes[2];
    static char in[512] __attribute__((aligned(64))), out[512] __attribute__((aligned(64)));
    (void)unused;
    if (pipe(pipes)) return 0;
    for (int i = 0; i < 256; i++) in[i] = (char)(i * 7 + 1);
    while (!stopping) {
        char byte;
        uint64_t general[12] = {0};
        long result;
        pid_t child = fork();
        if (!child) { usleep(4000); _exit(write(pipes[1], "r", 1) != 1); }
        __asm__ volatile(
            "push %%rbp\n\tpush %[general]\n\tpush %[out]\n\t"
            "movaps (%[in]), %%xmm0\n\tmovaps 16(%[in]), %%xmm1\n\tmovaps 32(%[in]), %%xmm2\n\tmovaps 48(%[in]), %%xmm3\n\t"
            "movaps 64(%[in]), %%xmm4\n\tmovaps 80(%[in]), %%xmm5\n\tmovaps 96(%[in]), %%xmm6\n\tmovaps 112(%[in]), %%xmm7\n\t"
            "movaps 128(%[in]), %%xmm8\n\tmovaps 144(%[in]), %%xmm9\n\tmovaps 160(%[in]), %%xmm10\n\tmovaps 176(%[in]), %%xmm11\n\t"
            "movaps 192(%[in]), %%xmm12\n\tmovaps 208(%[in]), %%xmm13\n\tmovaps 224(%[in]), %%xmm14\n\tmovaps 240(%[in]), %%xmm15\n\t"
            "mov $0x1111111111111111, %%rbx\n\tmov $0x2222222222222222, %%rbp\n\tmov $0x3333333333333333, %%r12\n\t"
            "mov $0x4444444444444444, %%r13\n\tmov $0x5555555555555555, %%r14\n\tmov $0x6666666666666666, %%r15\n\t"
            "mov $0x7777777777777777, %%r8\n\tmov $0x8888888888888888, %%r9\n\tmov $0x9999999999999999, %%r10\n\t"
            "xor %%eax, %%eax\n\tsyscall\n\t"
            "mov (%%rsp), %%rcx\n\tmov 8(%%rsp), %%r11\n\t"
            "mov %%rbx, (%%r11)\n\tmov %%rbp, 8(%%r11)\n\tmov %%r12, 16(%%r11)\n\tmov %%r13, 24(%%r11)\n\t"
            "mov %%r14, 32(%%r11)\n\tmov %%r15, 40(%%r11)\n\tmov %%r8, 48(%%r11)\n\tmov %%r9, 56(%%r11)\n\tmov %%r10, 64(%%r11)\n\t"
            "movaps %%xmm0, (%%rcx)\n\tmovaps %%xmm1, 16(%%rcx)\n\tmovaps %%xmm2, 32(%%rcx)\n\tmovaps %%xmm3, 48(%%rcx)\n\t"
            "movaps %%xmm4, 64(%%rcx)\n\tmovaps %%xmm5, 80(%%rcx)\n\tmovaps %%xmm6, 96(%%rcx)\n\tmovaps %%xmm7, 112(%%rcx)\n\t"
            "movaps %%xmm8, 128(%%rcx)\n\tmovaps %%xmm9, 144(%%rcx)\n\tmovaps %%xmm10, 160(%%rcx)\n\tmovaps %%xmm11, 176(%%rcx)\n\t"
            "movaps %%xmm12, 192(%%rcx)\n\tmovaps %%xmm13, 208(%%rcx)\n\tmovaps %%xmm14, 224(%%rcx)\n\tmovaps %%xmm15, 240(%%rcx)\n\t"
            "add $16, %%rsp\n\tpop %%rbp\n\t"
            : "=a"(result)
            : "D"((long)pipes[0]), "S"(&byte), "d"(1L), [in] "r"(in), [out] "r"(out), [general] "c"(general)
            : "rbx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4",
              "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
        waitpid(child, 0, 0);
        if (result == -EINTR) { interrupted++; if (read(pipes[0], &byte, 1) != 1) complain("late", 0); }
        else EXPECT("result", result == 1 && byte == 'r', result);
        for (uint64_t i = 0; i < 9; i++) EXPECT("register", general[i] == (i + 1) * 0x1111111111111111u, (long)i);
        EXPECT("vector", !memcmp(in, out, 256), 0);
    }
    return 0;
}
#else
static void *keep_registers(void *unused) { return unused; }
#endif

/* The C library reaches every thread for this, and waits until each has answered. */
static void *change_user(void *unused) {
    (void)unused;
    while (!stopping) {
        EXPECT("setuid", !setuid(getuid()), errno);
        usleep(200);
    }
    return 0;
}

/* For ever in a system call that could be borrowed, but for what surrounds it. */
static void rest(void) {
    int ends[2];
    char byte;
    if (pipe(ends) || read(ends[0], &byte, 1) != 1) complain("rest", errno);
}

/* Descriptors of its own, of which the first free one is a file of all the others. */
static int data = -1;
static void *keep_files_apart(void *unused) {
    int ends[2];
    char byte;
    if (unshare(CLONE_FILES) || pipe(ends) || close(data) || read(ends[0], &byte, 1) != 1) complain("unshare", errno);
    return unused;
}

static int forbid(long call, unsigned verdict);
static void *be_filtered(void *unused) {
    if (forbid(SYS_memfd_create, SECCOMP_RET_KILL_PROCESS)) complain("seccomp", errno);
    rest();
    return unused;
}

/* In a handler, which interrupted who knows what. */
static void rest_in_handler(int number) { (void)number; rest(); }
static void *be_handled(void *unused) {
    signal(SIGURG, rest_in_handler);
    pthread_kill(pthread_self(), SIGURG);
    return unused;
}

static void *spin(void *unused) {
    volatile unsigned long sum = 0;
    while (!stopping) sum++;
    return unused;
}

static const struct { const char *name; void *(*run[2])(void *); } work[] = {
    {"allocate", {allocate, 0}}, {"dlopen", {load, 0}}, {"fork", {fork_children, 0}}, {"vfork", {vfork_children, 0}},
    {"signals", {storm, 0}}, {"read", {write_numbers, read_numbers}}, {"nanosleep", {sleep_often, 0}},
    {"timeouts", {time_out, 0}}, {"epoll", {send_events, await_events}}, {"condition", {signal_condition, await_condition}},
    {"io_uring", {wait_for_ring, 0}}, {"registers", {keep_registers, 0}}, {"setuid", {change_user, 0}}, {"spin", {spin, 0}}, {"files", {keep_files_apart, 0}}, {"filtered", {be_filtered, 0}},
    {"handler", {be_handled, 0}},
};

/* From here on, this system call fails, or ends the process. */
static int forbid(long call, unsigned verdict) {
    struct sock_filter filter[] = {
        {BPF_LD | BPF_W | BPF_ABS, 0, 0, 0},
        {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, (unsigned)call},
        {BPF_RET | BPF_K, 0, 0, verdict},
        {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
    };
    struct sock_fprog program = {4, filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

int main(int count, char **names) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    pthread_t threads[64];
    size_t started = 0;
    char byte;
    if (count == 3 && !strcmp(names[1], "exec")) {
        /* Another program every 3 ms, until its number is 0; the last one is busy with nothing. */
        int left = atoi(names[2]);
        char number[16];
        snprintf(number, sizeof number, "%d", left - 1);
        if (left == 200) printf("ready %d\n", getpid()), fflush(stdout);
        usleep(3000);
        if (left > 0) execl("/proc/self/exe", names[0], "exec", number, (char *)0);
    }
    if (count > 1 && !strcmp(names[1], "memfd-fails") && forbid(SYS_memfd_create, SECCOMP_RET_ERRNO | EPERM)) return 4;
    if (count > 1 && !strcmp(names[1], "mprotect-kills") && forbid(SYS_mprotect, SECCOMP_RET_KILL_PROCESS)) return 4;
    if (count > 1 && !strcmp(names[1], "reboot-kills") && forbid(SYS_reboot, SECCOMP_RET_KILL_PROCESS)) return 4;
    sigaction(SIGUSR1, &action, 0);
    sigaction(SIGUSR2, &action, 0);
    if (count > 1 && !strcmp(names[1], "faults")) sigaction(SIGSEGV, &action, 0);
    if (pipe(numbers) || pipe(events)) return 2;
    if (count > 2 && !strcmp(names[2], "files") && ((data = memfd_create("data", 0)) < 0 || write(data, "data", 4) != 4)) return 5;
    for (int i = 1; i < count; i++)
        for (size_t j = 0; j < sizeof work / sizeof *work; j++)
            if (!strcmp(names[i], work[j].name))
                for (int k = 0; k < 2; k++)
                    if (work[j].run[k] && pthread_create(&threads[started++], 0, work[j].run[k], 0)) return 3;
    if (count < 2 || strcmp(names[1], "exec")) printf("ready %d\n", getpid()), fflush(stdout);
    /* The first thread never rests. */
    if (count > 1 && !strcmp(names[1], "restless")) {
        fcntl(0, F_SETFL, O_NONBLOCK);
        while (read(0, &byte, 1) < 0) sched_yield();
        stopping = 2;
    }
    if (count > 1 && !strcmp(names[1], "epoll-alone")) {
        struct epoll_event event = {.events = EPOLLIN};
        int epoll = epoll_create1(EPOLL_CLOEXEC);
        epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &event);
        while (epoll_wait(epoll, &event, 1, -1) < 0 && errno == EINTR) interrupted++;
    }
    while (!stopping && read(0, &byte, 1) < 0 && errno == EINTR) interrupted++;
    if (data >= 0) EXPECT("a file of the program", lseek(data, 0, SEEK_END) == 4, lseek(data, 0, SEEK_END));
    if (stopping == 2) goto end;
    stopping = 1;
    /* A thread that waits for its ring without end is left to the end of the process. */
    for (size_t i = 0; i < started; i++) {
        struct timespec limit;
        clock_gettime(CLOCK_REALTIME, &limit);
        limit.tv_sec += 2;
        if (pthread_timedjoin_np(threads[i], 0, &limit)) continue;
    }
end:
    printf("{\"done\":%lu,\"wrong\":%lu,\"interrupted\":%lu,\"injections\":%d,\"signals\":%lu}\n", done, wrong, interrupted,
           injections, handled);
    fflush(stdout);
    _exit(wrong ? 1 : 0);
}
