/* Wrong use: every call answers with the code of the real driver, and nothing brings the process down. */
#include "driver_api.h"
#include <sys/wait.h>
#include <unistd.h>

static void refuses_before_init(void) {
    int number;
    CUdeviceptr address;
    EXPECT(NOT_INITIALIZED, cuDeviceGetCount(&number));
    EXPECT(NOT_INITIALIZED, cuMemAlloc_v2(&address, 16));
    EXPECT(INVALID_VALUE, cuInit(1));
    EXPECT(INVALID_VALUE, cuDriverGetVersion(NULL));
    OK(cuDriverGetVersion(&number));
    const char *text;
    OK(cuGetErrorName(700, &text));
    HOLDS(strcmp(text, "CUDA_ERROR_ILLEGAL_ADDRESS") == 0);
    EXPECT(INVALID_VALUE, cuGetErrorString(12345, &text));
}

static void refuses_in_a_forked_child(void) {
    pid_t child = fork();
    if (child == 0) {
        int number;
        EXPECT(NOT_INITIALIZED, cuInit(0));
        EXPECT(NOT_INITIALIZED, cuDeviceGetCount(&number));
        EXPECT(NOT_INITIALIZED, cuCtxSynchronize());
        _exit(0);
    }
    int status;
    HOLDS(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void refuses_bad_memory(void) {
    CUdeviceptr address;
    char bytes[64] = {0};
    EXPECT(INVALID_VALUE, cuMemAlloc_v2(NULL, 16));
    EXPECT(INVALID_VALUE, cuMemAlloc_v2(&address, 0));
    EXPECT(OUT_OF_MEMORY, cuMemAlloc_v2(&address, (size_t)17 << 30));
    EXPECT(OUT_OF_MEMORY, cuMemAlloc_v2(&address, SIZE_MAX));
    OK(cuMemAlloc_v2(&address, 64));
    EXPECT(INVALID_VALUE, cuMemcpyHtoD_v2(address, bytes, 65));
    EXPECT(INVALID_VALUE, cuMemcpyHtoD_v2(address + 1, bytes, 64));
    EXPECT(INVALID_VALUE, cuMemcpyHtoD_v2((CUdeviceptr)bytes, bytes, 1));
    EXPECT(INVALID_VALUE, cuMemcpyHtoD_v2(address, NULL, 1));
    EXPECT(INVALID_VALUE, cuMemcpyDtoH_v2(bytes, 0xdead0000beef, 1));
    EXPECT(INVALID_VALUE, cuMemcpyDtoH_v2(bytes, address, SIZE_MAX));
    EXPECT(INVALID_VALUE, cuMemsetD8_v2(address, 0, 65));
    EXPECT(INVALID_VALUE, cuMemsetD16Async(address + 1, 0, 1, NULL));
    EXPECT(INVALID_VALUE, cuMemFree_v2(address + 8));
    OK(cuMemcpyHtoD_v2(address, bytes, 0));
    OK(cuMemFree_v2(address));
    EXPECT(INVALID_VALUE, cuMemFree_v2(address));
    OK(cuMemFree_v2(0));
    EXPECT(INVALID_VALUE, cuMemFreeHost(bytes));
    OK(cuMemHostRegister_v2(bytes, sizeof bytes, 0));
    EXPECT(712, cuMemHostRegister_v2(bytes + 8, 8, 0));
    OK(cuMemHostUnregister(bytes));
    EXPECT(713, cuMemHostUnregister(bytes));
}

static void refuses_bad_handles(void) {
    CUstream forged[] = {(CUstream)3, (CUstream)16, (CUstream)0x123456789, (CUstream)-1L};
    for (int i = 0; i < 4; i++) {
        EXPECT(INVALID_HANDLE, cuStreamSynchronize(forged[i]));
        EXPECT(INVALID_HANDLE, cuEventRecord((CUevent)forged[i], NULL));
        EXPECT(INVALID_HANDLE, cuLaunchKernel((CUfunction)forged[i], 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL));
        EXPECT(INVALID_HANDLE, cuGraphDestroy((CUgraph)forged[i]));
        EXPECT(INVALID_HANDLE, cuModuleUnload((CUmodule)forged[i]));
        EXPECT(INVALID_CONTEXT, cuCtxSetCurrent((CUcontext)forged[i]));
    }
    CUstream stream;
    EXPECT(INVALID_VALUE, cuStreamCreate(NULL, 0));
    EXPECT(INVALID_VALUE, cuStreamCreate(&stream, 8));
    OK(cuStreamCreate(&stream, 0));
    EXPECT(INVALID_HANDLE, cuEventRecord((CUevent)stream, stream));
    OK(cuStreamDestroy_v2(stream));
    EXPECT(INVALID_HANDLE, cuStreamDestroy_v2(stream));
}

static void refuses_bad_modules(void) {
    CUmodule module;
    CUdeviceptr address;
    EXPECT(INVALID_VALUE, cuModuleLoadData(&module, NULL));
    EXPECT(INVALID_IMAGE, cuModuleLoadData(&module, "no image"));
    EXPECT(INVALID_IMAGE, cuModuleLoadData(&module, ""));
    EXPECT(INVALID_PTX, cuModuleLoadData(&module, "// nothing\n"));
    EXPECT(301, cuModuleLoad(&module, "/no/such/file.ptx"));
    OK(cuModuleLoadData(&module, "\177ELF and whatever"));
    EXPECT(NOT_FOUND, cuModuleGetGlobal_v2(&address, NULL, module, "variable"));
    OK(cuModuleUnload(module));
}

static void refuses_bad_launches(CUfunction kernel, CUfunction sine) {
    CUdeviceptr a = 0, b = 0;
    int n = 1, value;
    void *parameters[] = {&a, &b, &n}, *hole[] = {&a, NULL, &n};
    EXPECT(INVALID_VALUE, cuLaunchKernel(kernel, 0, 1, 1, 1, 1, 1, 0, NULL, parameters, NULL));
    EXPECT(INVALID_VALUE, cuLaunchKernel(kernel, 1, 1, 1, 1025, 1, 1, 0, NULL, parameters, NULL));
    EXPECT(INVALID_VALUE, cuLaunchKernel(kernel, 1, 1, 1, 65536, 65536, 1, 0, NULL, parameters, NULL));
    EXPECT(INVALID_VALUE, cuLaunchKernel(kernel, 1, 65536, 1, 1, 1, 1, 0, NULL, parameters, NULL));
    EXPECT(INVALID_VALUE, cuLaunchKernel(kernel, 1, 1, 1, 1, 1, 1, 1 << 20, NULL, parameters, NULL));
    EXPECT(INVALID_VALUE, cuLaunchKernel(kernel, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL));
    EXPECT(INVALID_VALUE, cuLaunchKernel(kernel, 1, 1, 1, 1, 1, 1, 0, NULL, hole, NULL));
    EXPECT(INVALID_VALUE, cuFuncGetAttribute(&value, 99, kernel));
    OK(cuFuncGetAttribute(&value, 1, kernel));
    HOLDS(value == 256);
    /* Parameters packed in one block. */
    struct {
        CUdeviceptr a, b;
        int n;
    } block = {0, 0, 0};
    size_t bytes = sizeof block;
    void *extra[] = {(void *)1, &block, (void *)2, &bytes, NULL};
    OK(cuLaunchKernel(kernel, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, extra));
    OK(cuCtxSynchronize());
    /* A computed kernel with an address that is none: the context is lost, the process is not. */
    a = 0x7fff12345678;
    OK(cuLaunchKernel(sine, 1, 1, 1, 1, 1, 1, 0, NULL, parameters, NULL));
    EXPECT(ILLEGAL_ADDRESS, cuCtxSynchronize());
    EXPECT(ILLEGAL_ADDRESS, cuMemAlloc_v2(&a, 16));
}

static void refuses_in_a_capture(CUfunction kernel) {
    CUstream stream;
    CUgraph graph;
    CUevent outside;
    CUdeviceptr address;
    char bytes[16];
    OK(cuStreamCreate(&stream, 1));
    OK(cuMemAlloc_v2(&address, 16));
    OK(cuEventCreate(&outside, 0));
    OK(cuEventRecord(outside, NULL));
    EXPECT(CAPTURE_UNSUPPORTED, cuStreamBeginCapture_v2(NULL, 0));
    EXPECT(401, cuStreamEndCapture(stream, &graph));
    OK(cuStreamBeginCapture_v2(stream, 0));
    EXPECT(401, cuStreamBeginCapture_v2(stream, 0));
    EXPECT(CAPTURE_UNSUPPORTED, cuStreamSynchronize(stream));
    EXPECT(CAPTURE_INVALIDATED, cuMemcpyDtoHAsync_v2(bytes, address, 16, stream));
    EXPECT(CAPTURE_INVALIDATED, cuStreamEndCapture(stream, &graph));
    HOLDS(graph == NULL);
    OK(cuStreamBeginCapture_v2(stream, 0));
    EXPECT(905, cuStreamWaitEvent(stream, outside, 0));
    EXPECT(CAPTURE_INVALIDATED, cuStreamEndCapture(stream, &graph));
    CUdeviceptr none = 0;
    int n = 0;
    void *parameters[] = {&none, &none, &n};
    OK(cuLaunchKernel(kernel, 1, 1, 1, 1, 1, 1, 0, stream, parameters, NULL));
    OK(cuStreamSynchronize(stream));
}

static void finds_functions_by_name(void) {
    void *address;
    unsigned status;
    OK(cuGetProcAddress_v2("cuMemAlloc", &address, 12040, 0, &status));
    HOLDS(address == (void *)cuMemAlloc_v2 && status == 0);
    OK(cuGetProcAddress_v2("cuCtxCreate", &address, 11000, 0, &status));
    HOLDS(address == (void *)cuCtxCreate_v2);
    EXPECT(NOT_FOUND, cuGetProcAddress_v2("cuNoSuchFunction", &address, 12040, 0, &status));
    HOLDS(address == NULL && status == 1);
    const void *table;
    EXPECT(NOT_FOUND, cuGetExportTable(&table, "sixteen bytes..."));
}

int main(void) {
    const char *ptx = ".version 7.0\n.target sm_80\n.address_size 64\n"
                      ".visible .entry nobody_knows(.param .u64 a, .param .u64 b, .param .u32 c)\n"
                      "{ .shared .align 4 .b8 tile[256]; ret; }\n"
                      ".visible .entry sin_kernel(.param .u64 a, .param .u64 b, .param .u32 c) { ret; }\n";
    refuses_before_init();
    OK(cuInit(0));
    OK(cuInit(0));
    CUdevice device;
    CUdeviceptr address;
    EXPECT(INVALID_DEVICE, cuDeviceGet(&device, 2));
    EXPECT(INVALID_DEVICE, cuDeviceGet(&device, -1));
    EXPECT(INVALID_VALUE, cuDeviceGet(NULL, 0));
    EXPECT(INVALID_CONTEXT, cuMemAlloc_v2(&address, 16));
    EXPECT(INVALID_CONTEXT, cuCtxSynchronize());
    CUcontext context;
    OK(cuCtxCreate_v2(&context, 0, 0));
    refuses_bad_memory();
    refuses_bad_handles();
    refuses_bad_modules();
    finds_functions_by_name();
    CUmodule module;
    CUfunction kernel, sine;
    OK(cuModuleLoadData(&module, ptx));
    OK(cuModuleGetFunction(&kernel, module, "nobody_knows"));
    OK(cuModuleGetFunction(&sine, module, "sin_kernel"));
    refuses_in_a_capture(kernel);
    refuses_in_a_forked_child();
    refuses_bad_launches(kernel, sine);
    OK(cuCtxDestroy_v2(context));
    EXPECT(INVALID_CONTEXT, cuCtxSynchronize());
    puts("ok");
    return 0;
}
