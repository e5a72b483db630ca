/* An injection library: it may use the driver at once. */
#include "driver_api.h"

int InitializeInjection(void) {
    int devices;
    OK(cuInit(0));
    OK(cuDeviceGetCount(&devices));
    printf("injected, %d devices\n", devices);
    fflush(stdout);
    return 1;
}
