#include "kernel/table.h"

typedef struct job {
    char *dst;
    const char *src;
    hone_dtype dst_type, src_type;
    int64_t unit; /* elements of the piece that ranges count: a multiple of every block */
    int64_t count;
} job;

static void piece(void *arg, int64_t begin, int64_t end)
{
    job *j = arg;
    int64_t from = begin * j->unit, to = HONE_MIN(end * j->unit, j->count);
    void *dst = j->dst + hone__dtype_bytes(j->dst_type, from);
    const void *src = j->src + hone__dtype_bytes(j->src_type, from);
    bool floats = (j->dst_type == HONE_F32 || j->dst_type == HONE_BF16) &&
                  (j->src_type == HONE_F32 || j->src_type == HONE_BF16);
    if (floats)
        hone__kernels_for(HONE_F32)->copy(dst, j->dst_type, src, j->src_type, 1, to - from);
    else
        hone__convert(dst, j->dst_type, src, j->src_type, to - from);
}

hone_status hone__convert_all(const hone_ctx *ctx, void *dst, hone_dtype dst_type, const void *src, hone_dtype src_type,
                              int64_t count)
{
    char probe[256];
    hone_status status = hone__convert(probe, dst_type, src, src_type, 0);
    if (status != HONE_OK) return status;
    job j = {dst, src, dst_type, src_type, 4096, count};
    hone__parallel_for(ctx, (count + j.unit - 1) / j.unit, 16, piece, &j);
    return HONE_OK;
}
