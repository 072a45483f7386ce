/* Any bytes as a JSONL file: an error or records whose every text can be read; an error or a frame. */
#include "data/data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t touch(const char *text) { return text ? hone__hash(text, strlen(text), 0) : 0; }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    hone_records *records = hone__records_read(ctx, "fuzz", (const char *)data, size, false);
    if (!records != (hone_ctx_status(ctx) != HONE_OK)) __builtin_trap();
    uint64_t sum = 0;
    for (size_t i = 0; i < hone_records_count(records); i++) {
        const hone_record *r = hone_records_get(records, i);
        if ((r->kind == HONE_RECORD_TEXT) != (r->text != NULL) || (r->text == NULL) != (r->n_messages > 0))
            __builtin_trap();
        if (r->text && strlen(r->text) != r->text_length) __builtin_trap();
        sum += touch(r->text) + touch(r->label);
        for (size_t m = 0; m < r->n_messages; m++)
            sum += touch(r->messages[m].role) + touch(r->messages[m].content);
    }
    hone_records_free(records);
    hone_clear_error(ctx);
    hone_frame *frame = hone__frame_read_jsonl(ctx, "fuzz", (const char *)data, size, NULL);
    if (!frame != (hone_ctx_status(ctx) != HONE_OK)) __builtin_trap();
    for (size_t i = 0; frame && i < frame->n_columns; i++)
        for (int64_t r = 0; r < frame->rows; r++)
            if (frame->columns[i].codes && frame->columns[i].codes[r] >= (int64_t)frame->columns[i].n_categories) __builtin_trap();
    hone_frame_free(frame);
    if (ctx->bytes) __builtin_trap(); /* something leaked */
    hone_ctx_release(ctx);
    return sum == 42 ? -1 : 0; /* keeps the sum alive */
}
