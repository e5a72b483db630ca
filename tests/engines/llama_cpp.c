/* In: a GGUF model, the folder with ggml's backends, a number of threads. Out: a line "ready", then, after a line on stdin, some
 * decoding and a JSON object that says what was done: the oracle of tests/tests/engines.rs.
 *
 * What it counts it learns from llama.cpp's public API: its own calls, and the evaluation callback, which the scheduler gives every
 * node of a graph before it is computed. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ggml-backend.h"
#include "ggml.h"
#include "llama.h"

enum { PROMPT = 37, STEPS = 16, MAX_KINDS = 64 };

/* How often a tensor of this shape and type had this part in an operation. */
struct kind {
    const char * part;
    enum ggml_type type;
    int64_t ne[GGML_MAX_DIMS];
    long count;
};

static struct kind kinds[MAX_KINDS];
static int known;

static void count(const char * part, const struct ggml_tensor * tensor) {
    struct kind * at = kinds;
    while (at < kinds + known && (at->part != part || at->type != tensor->type || memcmp(at->ne, tensor->ne, sizeof at->ne))) {
        at++;
    }
    if (at == kinds + known) {
        if (known++ == MAX_KINDS) abort();
        at->part = part;
        at->type = tensor->type;
        memcpy(at->ne, tensor->ne, sizeof at->ne);
    }
    at->count++;
}

/* Asks for no node's result, so that the scheduler computes each graph in one go, as it does without a callback. */
static bool planned(struct ggml_tensor * node, bool ask, void * user) {
    (void) user;
    if (ask && node->op == GGML_OP_FLASH_ATTN_EXT) {
        count("flash_attn_ext_cpu q", node->src[0]);
        count("flash_attn_ext_cpu k", node->src[1]);
        count("flash_attn_ext_cpu v", node->src[2]);
    }
    if (ask && node->op == GGML_OP_SET_ROWS) {
        count("set_rows_cpu cache", node);
        count("set_rows_cpu rows", node->src[0]);
    }
    return false;
}

/* FNV-1a: the same for the same bits. */
static uint64_t hash(uint64_t hash, const void * data, size_t bytes) {
    for (const unsigned char * at = data; bytes-- > 0; at++) hash = (hash ^ *at) * 0x100000001b3;
    return hash;
}

int main(int argc, char ** argv) {
    if (argc != 4) return 2;
    ggml_backend_load_all_from_path(argv[2]);
    puts("ready");
    fflush(stdout);
    if (getchar() == EOF) return 1;

    struct llama_model * model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (!model) return 1;
    struct llama_context_params settings = llama_context_default_params();
    settings.n_ctx = 256;
    settings.n_threads = settings.n_threads_batch = atoi(argv[3]);
    settings.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
    settings.cb_eval = planned;
    struct llama_context * context = llama_init_from_model(model, settings);
    if (!context) return 1;
    struct llama_sampler * sampler = llama_sampler_init_greedy();
    int words = llama_vocab_n_tokens(llama_model_get_vocab(model));

    llama_token prompt[PROMPT], next;
    for (int i = 0; i < PROMPT; i++) prompt[i] = 3 + i;
    struct llama_batch batch = llama_batch_get_one(prompt, PROMPT);
    long decodes = 0, tokens = 0, samples = 0;
    uint64_t result = 0xcbf29ce484222325;
    for (int step = 0; step < STEPS; step++) {
        if (llama_decode(context, batch)) return 1;
        decodes++;
        tokens += batch.n_tokens;
        result = hash(result, llama_get_logits_ith(context, -1), words * sizeof(float));
        next = llama_sampler_sample(sampler, context, -1);
        samples++;
        batch = llama_batch_get_one(&next, 1);
    }

    printf("{\"decodes\":%ld,\"tokens\":%ld,\"samples\":%ld,\"logits_bytes\":%ld", decodes, tokens, samples,
           decodes * words * (long) sizeof(float));
    printf(",\"result\":\"%016" PRIx64 "\",\"tensors\":{", result);
    for (const struct kind * at = kinds; at < kinds + known; at++) {
        const int64_t * ne = at->ne; /* innermost first */
        printf("%s\"%s [%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 "] %s\":%ld", at == kinds ? "" : ",", at->part, ne[3], ne[2], ne[1],
               ne[0], ggml_type_name(at->type), at->count);
    }
    puts("}}");
    llama_sampler_free(sampler);
    llama_free(context);
    llama_model_free(model);
    return 0;
}
