/* A library that says to its process that it was loaded. Enters: a call of the injector. Leaves: a count. Refuses: a thread
 * that blocks the C library's own signals, SIGCANCEL and SIGSETXID, for which setuid() waits. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

int InitializeInjection(void) {
    unsigned long blocked = 0;
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, 0, &blocked, sizeof blocked);
    if (blocked & (1UL << 31 | 1UL << 32)) return 0;
    void (*injected)(void);
    *(void **)&injected = dlsym(RTLD_DEFAULT, "injected");
    if (injected) injected();
    return 1;
}
