#include "optim/optim.h"

#include <math.h>

static const double PI = 3.141592653589793;

static double choose(double given, double otherwise) { return given == 0 ? otherwise : given; }
static double half_cosine(double from, double to, double share) { return to + (from - to) * 0.5 * (1 + cos(PI * share)); }
static uint64_t every(const hone_schedule *s, uint64_t span) { return s->every ? s->every : HONE_MAX(span, (uint64_t)1); }

/* Each: t steps after the warm-up, of `span` (0: no end is known). */

static double constant(const hone_schedule *s, uint64_t t, uint64_t span)
{
    (void)t, (void)span;
    return s->peak;
}
static double polynomial(const hone_schedule *s, uint64_t t, uint64_t span)
{
    double power = s->kind == HONE_SCHEDULE_LINEAR ? 1 : choose(s->power, 1);
    return s->least + (s->peak - s->least) * pow(1 - (double)t / (double)span, power);
}
static double cosine(const hone_schedule *s, uint64_t t, uint64_t span)
{
    return half_cosine(s->peak, s->least, (double)t / (double)span);
}
static double step(const hone_schedule *s, uint64_t t, uint64_t span)
{
    return s->peak * pow(choose(s->factor, 0.1), (double)(t / every(s, span)));
}
static double multistep(const hone_schedule *s, uint64_t t, uint64_t span)
{
    (void)span;
    int passed = 0;
    for (size_t i = 0; i < s->n_milestones; i++) passed += t >= s->milestones[i];
    return s->peak * pow(choose(s->factor, 0.1), passed);
}
static double exponential(const hone_schedule *s, uint64_t t, uint64_t span)
{
    (void)span;
    return s->peak * pow(choose(s->factor, 0.99), (double)t);
}
static double restarts(const hone_schedule *s, uint64_t t, uint64_t span)
{
    uint64_t length = every(s, span);
    if (s->restart < 2) return cosine(s, t % length, length);
    for (; t >= length && length <= UINT64_MAX / s->restart; length *= s->restart) t -= length;
    return cosine(s, HONE_MIN(t, length), length);
}
static double one_cycle(const hone_schedule *s, uint64_t t, uint64_t span)
{
    double first = s->peak / choose(s->start_divisor, 25), last = first / choose(s->end_divisor, 1e4);
    double top = choose(s->rise, 0.3) * (double)span - 1, end = (double)span - 1, now = HONE_MIN((double)t, end);
    if (top > 0 && now <= top) return half_cosine(first, s->peak, now / top);
    top = HONE_MAX(top, 0.0);
    return end > top ? half_cosine(s->peak, last, (now - top) / (end - top)) : s->peak;
}
static double plateau(const hone_schedule *s, uint64_t t, uint64_t span)
{
    (void)t, (void)span;
    return s->reported.any ? s->reported.rate : s->peak;
}

static const struct kind {
    const char *name;
    bool ends; /* falls over the steps up to `total` */
    double (*at)(const hone_schedule *s, uint64_t t, uint64_t span);
} kinds[] = {
    [HONE_SCHEDULE_CONSTANT] = {"constant", false, constant},
    [HONE_SCHEDULE_LINEAR] = {"linear", true, polynomial},
    [HONE_SCHEDULE_COSINE] = {"cosine", true, cosine},
    [HONE_SCHEDULE_STEP] = {"step", false, step},
    [HONE_SCHEDULE_MULTISTEP] = {"multistep", false, multistep},
    [HONE_SCHEDULE_EXPONENTIAL] = {"exponential", false, exponential},
    [HONE_SCHEDULE_POLYNOMIAL] = {"polynomial", true, polynomial},
    [HONE_SCHEDULE_COSINE_WITH_RESTARTS] = {"cosine_with_restarts", false, restarts},
    [HONE_SCHEDULE_ONE_CYCLE] = {"one_cycle", true, one_cycle},
    [HONE_SCHEDULE_PLATEAU] = {"plateau", false, plateau},
};

bool hone_schedule_kind_from_name(const char *name, hone_schedule_kind *kind)
{
    for (size_t i = 0; i < HONE_ARRAY_LEN(kinds); i++)
        if (!strcmp(name, kinds[i].name)) return *kind = (hone_schedule_kind)i, true;
    return false;
}

double hone_schedule_at(const hone_schedule *s, uint64_t now)
{
    if (!s) return NAN;
    const struct kind *kind = &kinds[(size_t)s->kind < HONE_ARRAY_LEN(kinds) ? s->kind : HONE_SCHEDULE_CONSTANT];
    if (now < s->warmup) return s->peak * (double)(now + 1) / (double)s->warmup;
    bool room = s->total > s->warmup;
    if (kind->ends && !room) return s->peak;
    return kind->at(s, (room ? HONE_MIN(now, s->total) : now) - s->warmup, room ? s->total - s->warmup : 0);
}

bool hone__plateau_lasts(hone_schedule_reports *r, bool better, uint64_t patience)
{
    r->bad = better ? 0 : r->bad + 1;
    if (r->cooling) r->cooling--, r->bad = 0;
    return r->bad > patience;
}
void hone__plateau_cool(hone_schedule_reports *r, uint64_t cooldown)
{
    r->cooling = cooldown;
    r->bad = 0;
}

/* torch.optim.lr_scheduler.ReduceLROnPlateau, threshold_mode "rel". */
void hone_schedule_report(hone_schedule *s, double metric)
{
    if (!s || s->kind != HONE_SCHEDULE_PLATEAU) return;
    double threshold = choose(s->threshold, 1e-4), least_change = 1e-8;
    if (!s->reported.any) s->reported.rate = s->peak;
    bool better = s->maximize ? metric > s->reported.best * (1 + threshold) : metric < s->reported.best * (1 - threshold);
    if (!s->reported.any) better = !isnan(metric);
    if (better) s->reported.best = metric;
    if (!s->reported.any && !better) s->reported.best = s->maximize ? -INFINITY : INFINITY;
    s->reported.any = true;
    if (!hone__plateau_lasts(&s->reported, better, s->patience ? s->patience : 10)) return;
    double rate = HONE_MAX(s->reported.rate * choose(s->factor, 0.1), s->least);
    if (s->reported.rate - rate > least_change) s->reported.rate = rate;
    hone__plateau_cool(&s->reported, s->cooldown);
}
