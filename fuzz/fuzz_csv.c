/* Any bytes as a CSV file: an error, or a frame, and tensors whose parts fit together. The first byte chooses options. */
#include "data/data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t check_tensors(const hone_frame *f, const char *target)
{
    hone_tensor *x, *y = NULL;
    hone_status status = hone_frame_to_tensors(f, target, &x, target ? &y : NULL);
    if ((status == HONE_OK) != (x != NULL) || (x && !y != !target) || (!x && y)) __builtin_trap();
    if (!x) return 0;
    const hone_column *column = hone_frame_find(f, target);
    hone_shape shape = hone_tensor_shape(x);
    if (shape.dim[0] != f->rows || shape.dim[1] != (int64_t)f->n_columns - (column != NULL)) __builtin_trap();
    uint64_t sum = hone__hash(hone_tensor_data(x), hone_tensor_bytes(x), 0);
    for (int64_t i = 0; y && i < f->rows; i++) {
        double v = hone_tensor_get(y, i);
        if (column->codes ? !(v >= 0 && v < (double)column->n_categories) : (v != column->numbers[i] && v != (float)column->numbers[i])) __builtin_trap();
    }
    hone_tensor_free(x), hone_tensor_free(y);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size) return 0;
    hone_frame_opts opts = {.struct_size = sizeof opts,
                            .delimiter = *data & 1 ? ';' : ',',
                            .no_header = *data & 2,
                            .missing = *data & 16 ? HONE_COLUMNS("?") : NULL};
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    hone_frame *f = hone__frame_read(ctx, "fuzz", (const char *)data + 1, size - 1, &opts);
    if (!f != (hone_ctx_status(ctx) != HONE_OK)) __builtin_trap();
    uint64_t sum = 0;
    for (size_t i = 0; f && i < f->n_columns; i++) {
        const hone_column *c = &f->columns[i];
        sum += strlen(c->name);
        for (size_t k = 1; k < c->n_categories; k++)
            if (strcmp(c->categories[k - 1], c->categories[k]) >= 0) __builtin_trap();
        for (int64_t r = 0; r < f->rows; r++)
            if (c->codes && c->codes[r] >= (int64_t)c->n_categories) __builtin_trap();
    }
    if (f && f->rows < 1) __builtin_trap();
    if (f) sum += check_tensors(f, *data & 4 ? NULL : *data & 8 ? "1" : f->columns[f->n_columns - 1].name);
    if (f && hone_frame_drop_duplicates(f, NULL) != HONE_OK) __builtin_trap();
    hone_frame_free(f);
    if (ctx->bytes) __builtin_trap(); /* something leaked */
    hone_ctx_release(ctx);
    return sum == 42 ? -1 : 0; /* keeps the sum alive */
}
