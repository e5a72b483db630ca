/* A libcuda.so.1 for the loader: it has the names that vLLM's libraries import, and each says that there is no driver. */
enum { CUDA_ERROR_NOT_INITIALIZED = 3 };

int cuGetProcAddress_v2(void) { return CUDA_ERROR_NOT_INITIALIZED; }
int cuPointerGetAttribute(void) { return CUDA_ERROR_NOT_INITIALIZED; }
int cuTensorMapEncodeTiled(void) { return CUDA_ERROR_NOT_INITIALIZED; }
