/* Any bytes as a CSV file: an error, or a table and a frame whose parts fit together. The first byte chooses options. */
#include "data/data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size) return 0;
    hone_csv_opts opts = {.struct_size = sizeof opts,
                          .delimiter = *data & 1 ? ';' : ',',
                          .no_header = *data & 2,
                          .no_target = *data & 4,
                          .target = *data & 8 ? "1" : NULL};
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    hone_table *t = hone__csv_read(ctx, "fuzz", (const char *)data + 1, size - 1, &opts);
    if (!t != (hone_ctx_status(ctx) != HONE_OK)) __builtin_trap();
    uint64_t sum = 0;
    if (t) {
        hone_shape x = hone_tensor_shape(t->x);
        if (x.dim[0] < 1 || x.dim[1] != (int64_t)t->n_features || !t->y != opts.no_target) __builtin_trap();
        sum += hone__hash(hone_tensor_data(t->x), hone_tensor_bytes(t->x), 0);
        for (size_t i = 0; i < t->n_features; i++) sum += strlen(t->features[i]);
        for (size_t i = 1; i < t->n_classes; i++)
            if (strcmp(t->classes[i - 1], t->classes[i]) >= 0) __builtin_trap();
        for (int64_t i = 0; t->classes && i < x.dim[0]; i++) {
            double c = hone_tensor_get(t->y, i);
            if (!(c >= 0 && c < (double)t->n_classes)) __builtin_trap();
        }
    }
    hone_table_free(t);
    hone_clear_error(ctx);
    hone_frame_opts frame_opts = {.struct_size = sizeof frame_opts, .delimiter = opts.delimiter, .no_header = opts.no_header};
    hone_frame *f = hone__frame_read(ctx, "fuzz", (const char *)data + 1, size - 1, &frame_opts);
    if (!f != (hone_ctx_status(ctx) != HONE_OK)) __builtin_trap();
    for (size_t i = 0; f && i < f->n_columns; i++)
        for (int64_t r = 0; r < f->rows; r++)
            if (f->columns[i].codes && f->columns[i].codes[r] >= (int64_t)f->columns[i].n_categories) __builtin_trap();
    if (f && hone_frame_drop_duplicates(f, NULL) != HONE_OK) __builtin_trap();
    hone_frame_free(f);
    if (ctx->bytes) __builtin_trap(); /* something leaked */
    hone_ctx_release(ctx);
    return sum == 42 ? -1 : 0; /* keeps the sum alive */
}
