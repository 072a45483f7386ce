#include "base/base.h"

#include <stdarg.h>
#include <stdio.h>

static const struct {
    const char *name, *text;
} statuses[] = {
#define HONE_STATUS(name, text) {#name, text},
#include "hone/status.def"
#undef HONE_STATUS
};

const char *hone_status_name(hone_status status)
{
    return (unsigned)status < HONE_STATUS_COUNT ? statuses[status].name : "?";
}

const char *hone_status_text(hone_status status)
{
    return (unsigned)status < HONE_STATUS_COUNT ? statuses[status].text : "?";
}

#define HONE_TEXT_OF(x) #x
#define HONE_VERSION_TEXT(a, b, c) HONE_TEXT_OF(a) "." HONE_TEXT_OF(b) "." HONE_TEXT_OF(c)
const char *hone_version(void)
{
    return HONE_VERSION_TEXT(HONE_VERSION_MAJOR, HONE_VERSION_MINOR, HONE_VERSION_PATCH);
}

hone_status hone__fail(hone_ctx *ctx, hone_status status, const char *format, ...)
{
    if (ctx->status != HONE_OK) return ctx->status;
    ctx->status = status;
    va_list args;
    va_start(args, format);
    vsnprintf(ctx->error, sizeof ctx->error, format, args);
    va_end(args);
    return status;
}

hone_status hone__fail_run(hone_ctx *ctx, hone_status status, const char *format, ...)
{
    if (ctx->status != HONE_OK) return ctx->status; /* the building error is the cause: keep its text */
    va_list args;
    va_start(args, format);
    vsnprintf(ctx->error, sizeof ctx->error, format, args);
    va_end(args);
    return status;
}

void hone__error_prefix(hone_ctx *ctx, const char *format, ...)
{
    char prefix[256];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(prefix, sizeof prefix - 2, format, args);
    va_end(args);
    if (n < 0) return;
    strcat(prefix, ": ");
    size_t ahead = strlen(prefix), kept = HONE_MIN(strlen(ctx->error), sizeof ctx->error - 1 - ahead);
    memmove(ctx->error + ahead, ctx->error, kept);
    memcpy(ctx->error, prefix, ahead);
    ctx->error[ahead + kept] = 0;
}

hone_status hone_ctx_status(const hone_ctx *ctx) { return ctx ? ctx->status : HONE_MEMORY; }
const char *hone_error(const hone_ctx *ctx) { return ctx ? ctx->error : "memory ran out while making a context"; }

void hone_clear_error(hone_ctx *ctx)
{
    ctx->status = HONE_OK;
    ctx->error[0] = 0;
}

void hone__log(hone_ctx *ctx, hone_log_level level, const char *format, ...)
{
    if (!ctx->log) return;
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    ctx->log(ctx->log_user, level, text);
}
