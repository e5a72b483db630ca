/* In: a GGUF model, a folder with ggml's backends, a number of threads. Out: a line "ready", then, after a byte on stdin, some
 * decoding and a JSON object that says what was done: the oracle of tests/tests/engines.rs.
 *
 * What it counts it learns from llama.cpp's public API: its own calls, and the evaluation callback, which the scheduler gives
 * every node of a graph before it is computed. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ggml-backend.h"
#include "ggml.h"
#include "llama.h"

enum { PROMPT = 37, TOKENS = 15, MAX_SHAPES = 64 };

/* How often tensors of these shapes met in one operation. */
struct shape_count {
    enum ggml_op op;
    int64_t first[GGML_MAX_DIMS], second[GGML_MAX_DIMS];
    long count;
};

static struct shape_count shapes[MAX_SHAPES];
static int known;

static void count(enum ggml_op op, const struct ggml_tensor * first, const struct ggml_tensor * second) {
    struct shape_count * at = shapes;
    for (; at < shapes + known; at++) {
        if (at->op == op && !memcmp(at->first, first->ne, sizeof at->first) && !memcmp(at->second, second->ne, sizeof at->second)) {
            break;
        }
    }
    if (at == shapes + known) {
        if (known++ == MAX_SHAPES) abort();
        at->op = op;
        memcpy(at->first, first->ne, sizeof at->first);
        memcpy(at->second, second->ne, sizeof at->second);
    }
    at->count++;
}

/* Asks for no node's result, so the scheduler computes each graph in one go, as without a callback. */
static bool seen(struct ggml_tensor * node, bool ask, void * user) {
    (void) user;
    if (ask && node->op == GGML_OP_FLASH_ATTN_EXT) count(node->op, node->src[0], node->src[1]); /* query, key */
    if (ask && node->op == GGML_OP_SET_ROWS) count(node->op, node, node->src[0]);              /* cache, new rows */
    return false;
}

static void print_shape(const int64_t * ne) { /* outermost first */
    printf("[%lld,%lld,%lld,%lld]", (long long) ne[3], (long long) ne[2], (long long) ne[1], (long long) ne[0]);
}

int main(int argc, char ** argv) {
    if (argc != 4) return 2;
    int threads = atoi(argv[3]);
    ggml_backend_load_all_from_path(argv[2]);
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("ready\n");
    if (getchar() == EOF) return 1;

    struct llama_model * model = llama_model_load_from_file(argv[1], llama_model_default_params());
    struct llama_context_params settings = llama_context_default_params();
    settings.n_ctx = 256;
    settings.n_threads = settings.n_threads_batch = threads;
    settings.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
    settings.cb_eval = seen;
    struct llama_context * context = model ? llama_init_from_model(model, settings) : NULL;
    if (!context) return 1;
    known = 0; /* Graphs were only planned until here. */
    struct llama_sampler * sampler = llama_sampler_init_greedy();

    llama_token prompt[PROMPT], next;
    for (int i = 0; i < PROMPT; i++) prompt[i] = 3 + i;
    struct llama_batch batch = llama_batch_get_one(prompt, PROMPT);
    long decodes = 0, tokens = 0, samples = 0;
    for (int step = 0; step <= TOKENS; step++) {
        if (llama_decode(context, batch)) return 1;
        decodes++;
        tokens += batch.n_tokens;
        next = llama_sampler_sample(sampler, context, -1);
        samples++;
        batch = llama_batch_get_one(&next, 1);
    }

    printf("{\"decodes\":%ld,\"tokens\":%ld,\"samples\":%ld,\"threads\":%d,\"shapes\":[", decodes, tokens, samples, threads);
    for (int i = 0; i < known; i++) {
        printf("%s{\"op\":\"%s\",\"first\":", i ? "," : "", ggml_op_name(shapes[i].op));
        print_shape(shapes[i].first);
        printf(",\"second\":");
        print_shape(shapes[i].second);
        printf(",\"count\":%ld}", shapes[i].count);
    }
    printf("]}\n");
    llama_sampler_free(sampler);
    llama_free(context);
    llama_model_free(model);
    return 0;
}
