#include "optim/optim.h"

#include <math.h>

static const char *const names[] = {"constant", "linear", "cosine"};

bool hone_schedule_kind_from_name(const char *name, hone_schedule_kind *kind)
{
    for (size_t i = 0; i < HONE_ARRAY_LEN(names); i++)
        if (!strcmp(name, names[i])) return *kind = (hone_schedule_kind)i, true;
    return false;
}

double hone_schedule_at(const hone_schedule *s, uint64_t step)
{
    if (step < s->warmup) return s->peak * (double)(step + 1) / (double)s->warmup;
    if (s->kind == HONE_SCHEDULE_CONSTANT || s->total <= s->warmup) return s->peak;
    double share = (double)(HONE_MIN(step, s->total) - s->warmup) / (double)(s->total - s->warmup);
    double left = s->kind == HONE_SCHEDULE_LINEAR ? 1 - share : 0.5 * (1 + cos(3.141592653589793 * share));
    return s->least + (s->peak - s->least) * left;
}
