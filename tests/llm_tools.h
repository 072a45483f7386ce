/* For tests of language models: the tiny models of tests/data, what transformers and peft make of them
   (scripts/golden/make_llama_golden.py), and copies of them with something changed. */
#ifndef HONE_TEST_LLM_TOOLS_H
#define HONE_TEST_LLM_TOOLS_H

#include "graph_tools.h"

#include "hone/llm.h"

#include <jansson.h>
#include <math.h>

#define LLAMA HONE_TEST_DATA "/tiny-llama"
#define LLAMA_GGUF HONE_TEST_DATA "/tiny-llama.gguf"
#define QWEN_GGUF HONE_TEST_DATA "/tiny-qwen2.gguf"
#define GOLDEN HONE_TEST_DATA "/tiny-llama-golden"
#define ADAPTER GOLDEN "/adapter"
enum { VOCABULARY = 803, HIDDEN = 64 };

static hone_ctx *golden_ctx;
static hone_safetensors *golden; /* logits and gradients */
static json_t *numbers;          /* losses, token ids */

static inline int open_golden(void **state)
{
    golden_ctx = hone_ctx_new(.threads = 1);
    golden = hone_safetensors_open(golden_ctx, GOLDEN "/golden.safetensors");
    numbers = json_load_file(GOLDEN "/golden.json", 0, NULL);
    return golden && numbers ? scratch_make(state) : -1;
}
static inline int close_golden(void **state)
{
    hone_safetensors_close(golden);
    json_decref(numbers);
    hone_ctx_release(golden_ctx);
    return scratch_remove(state);
}

static inline double number(const char *name) { return json_number_value(json_object_get(numbers, name)); }
static inline double number_at(const char *name, size_t i)
{
    return json_number_value(json_array_get(json_object_get(numbers, name), i));
}

/* Integers of a JSON array into to[most]; how many. */
static inline int64_t integers(const json_t *array, int32_t *to, size_t most)
{
    size_t n = json_array_size(array);
    assert_true(n > 0 && n <= most);
    for (size_t i = 0; i < n; i++) to[i] = (int32_t)json_integer_value(json_array_get(array, i));
    return (int64_t)n;
}
static inline int64_t sequence(const char *name, int32_t *to, size_t most)
{
    return integers(json_object_get(json_object_get(numbers, "sequences"), name), to, most);
}

/* f32 values of a golden tensor, and how many. */
static inline const float *golden_values(const char *name, int64_t *count)
{
    const hone_tensor_info *info = hone_safetensors_find(golden, name);
    if (!info) fail_msg("no golden tensor '%s'", name);
    *count = hone_shape_count(info->shape);
    return info->data;
}

/* The largest |a - b|; infinite when something is not finite. */
static inline double distance(const float *a, const float *b, int64_t count)
{
    double most = 0;
    for (int64_t i = 0; i < count; i++) {
        double d = fabs((double)a[i] - (double)b[i]);
        most = isfinite(d) ? HONE_MAX(most, d) : INFINITY;
    }
    return most;
}

static inline hone_llm *open_llm(const char *path)
{
    hone_llm *llm = hone_llm_open(ctx, path);
    if (!llm) fail_msg("%s: %s", path, hone_error(ctx));
    return llm;
}

/* Logits of ids against a golden tensor's last rows. */
static inline void assert_logits(hone_llm *llm, const int32_t *ids, int64_t count, const char *name, double tolerance)
{
    int64_t want;
    const float *values = golden_values(name, &want);
    hone_tensor *logits = hone_llm_logits(llm, ids, count);
    if (!logits) fail_msg("%s: %s", name, hone_error(ctx));
    assert_int_equal(want % VOCABULARY, 0);
    double d = distance((float *)hone_tensor_data(logits) + count * VOCABULARY - want, values, want);
    hone_tensor_free(logits);
    if (!(d <= tolerance)) fail_msg("%s: %g away", name, d);
}

/* ---- copies with something changed, in the scratch folder -------------------------------------------------- */

static inline void copy_file(const char *from, const char *to)
{
    size_t size;
    char *data = hone__read_file(ctx, from, (size_t)1 << 24, &size);
    assert_non_null(data);
    assert_hone_ok(ctx, hone_write_file(ctx, to, data, size));
    hone__free(ctx, data);
}

/* A tensor of the copy: leave it out, give it other rows, poison it with NaN. */
typedef struct change {
    const char *tensor; /* NULL: none is changed */
    bool drop, poison;
    int64_t rows;
    const char *key; /* of config.json; NULL: none is changed */
    json_t *value;   /* taken over; NULL: the key is removed */
} change;

static inline void write_weights(const char *path, const change *c)
{
    hone_safetensors *from = hone_safetensors_open(ctx, LLAMA);
    hone_safetensors_writer *w = hone_safetensors_writer_new(ctx, path);
    for (int pass = 0; pass < 2; pass++)
        for (int64_t i = 0; i < hone_safetensors_count(from); i++) {
            const hone_tensor_info *t = hone_safetensors_at(from, i);
            bool it = c->tensor && !strcmp(c->tensor, t->name);
            hone_shape shape = t->shape;
            if (it && c->drop) continue;
            if (it && c->rows) shape.dim[0] = c->rows;
            size_t bytes = (size_t)hone_shape_count(shape) * sizeof(float);
            assert_true(bytes <= t->bytes);
            float *values = hone__alloc(ctx, bytes);
            memcpy(values, t->data, bytes);
            if (it && c->poison) values[5] = NAN;
            assert_int_equal(HONE_OK, pass ? hone_safetensors_write(w, t->name, values, bytes)
                                           : hone_safetensors_add_tensor(w, t->name, HONE_F32, shape));
            hone__free(ctx, values);
        }
    assert_hone_ok(ctx, hone_safetensors_writer_commit(w));
    hone_safetensors_close(from);
}

static inline const char *changed_llama(const char *name, change c)
{
    static const char *const files[] = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"};
    const char *folder = scratch(name);
    char path[600];
    assert_hone_ok(ctx, hone__make_folder(ctx, folder));
    for (size_t i = 0; i < HONE_ARRAY_LEN(files); i++) {
        char from[600];
        snprintf(from, sizeof from, "%s/%s", LLAMA, files[i]);
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        copy_file(from, path);
    }
    json_t *config = json_load_file(LLAMA "/config.json", 0, NULL);
    if (c.key && c.value) json_object_set_new(config, c.key, c.value);
    if (c.key && !c.value) json_object_del(config, c.key);
    snprintf(path, sizeof path, "%s/config.json", folder);
    assert_int_equal(json_dump_file(config, path, 0), 0);
    json_decref(config);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    write_weights(path, &c);
    return folder;
}

#endif
