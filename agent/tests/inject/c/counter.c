/* A library that says to its process that it was loaded. Enters: a call of the injector. Leaves: a count. */
#include <dlfcn.h>

int InitializeInjection(void) {
    void (*injected)(void);
    *(void **)&injected = dlsym(RTLD_DEFAULT, "injected");
    if (injected) injected();
    return 1;
}
